import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { TaskSettings } from "../../../src/finetuning/tasks/task-settings.js";
import { resolveFinetuningHparams } from "../../../src/hparams/finetuning-hparams.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

/** `[PAD]` 0, `[UNK]` 1, `[CLS]` 2, `[SEP]` 3, then words and pieces. */
export const toyVocabulary = Vocabulary.fromTokens(
  "[PAD] [UNK] [CLS] [SEP] [MASK] the old bridge is red blue boat ##s who when where ? . , ! zoe 18 ##93".split(
    " ",
  ),
);

export interface TaskFolder {
  /** Where the files lie. */
  readonly dataDir: string;
  readonly settings: TaskSettings;
}

/** A data folder with these files under `finetuning_data`, removed after the test, and settings that point there. */
export function taskFolder(
  files: Readonly<Record<string, string | Uint8Array>>,
  hparams: Readonly<Record<string, unknown>> = {},
): TaskFolder {
  const dataDir = mkdtempSync(join(tmpdir(), "electra-task-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true }));
  for (const [file, content] of Object.entries(files)) {
    const path = join(dataDir, "finetuning_data", file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  const resolved = resolveFinetuningHparams({ dataDir, modelName: "m", hparams });
  return {
    dataDir,
    settings: { hparams: resolved.hparams, tokenizer: new Tokenizer({ vocabulary: toyVocabulary }) },
  };
}
