import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import type { HfConfig } from "../checkpoint/hf-config.js";
import { loadWeights } from "../checkpoint/load-checkpoint.js";
import { FINETUNING_FILE, readModelConfig } from "../checkpoint/model-folder.js";
import { SafetensorsReader } from "../checkpoint/safetensors.js";
import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type { FinetuningModelConfig } from "../engine/finetuning-types.js";
import { ElectraError } from "../errors.js";
import { type FinetunedFile, type FinetunedTask, parseFinetunedFile } from "../finetuning/finetuned-file.js";
import { engineHead } from "../finetuning/heads/engine-head.js";
import type { FinetuningHparams } from "../hparams/finetuning-hparams.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import { findFinetunedModel } from "./finetuned-folder.js";
import type { FinetunedParts, OpenFinetunedOptions } from "./finetuned-model.js";
import { readModelTokenizer } from "./model-tokenizer.js";

/** The work of `FinetunedModel.open`, which see. */
export async function openFinetuned(path: string, options: OpenFinetunedOptions): Promise<FinetunedParts> {
  const { createEngine = (wanted) => FinetuningEngine.create(wanted), vocabFile, ...machine } = options;
  const { folder, step } = await findFinetunedModel(path);
  const config = await readModelConfig(folder);
  const file = await readFinetunedFile(folder);
  const { tasks, hparams, results } = file;
  const tokenizer = await readModelTokenizer(folder, config.vocab_size, vocabFile);
  tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
  checkSettings(config, file, tokenizer, folder);
  await checkLabels(tasks, folder);
  const engine = await createEngine({ ...machine, model: modelConfig(config, tasks, hparams) });
  try {
    await loadWeights({ folders: { finetuned: folder }, parameters: engineParameterStore(engine) });
  } catch (error) {
    await engine.dispose();
    throw error;
  }
  return { engine, tokenizer, config, tasks, hparams, results, folder, step };
}

async function readFinetunedFile(folder: string): Promise<FinetunedFile> {
  const path = join(folder, FINETUNING_FILE);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new ElectraError("ERR_ELECTRA_FINETUNED_FILE", `${path} cannot be read`, {
      hint: "It says what the model's heads mean and is written with the weights: copy the whole folder.",
      cause: error,
      exitCode: 2,
    });
  });
  return parseFinetunedFile(text, path);
}

/** Whatever would silently give other numbers than the training saw is refused. */
function checkSettings(
  config: HfConfig,
  { hparams }: FinetunedFile,
  { basic }: Tokenizer,
  folder: string,
): void {
  const refuse = (message: string, hint: string): never => {
    throw new ElectraError("ERR_ELECTRA_CHECKPOINT_MISMATCH", `${folder}: ${message}`, { hint, exitCode: 2 });
  };
  if (config.layer_norm_eps !== 1e-12) {
    refuse(
      `layer_norm_eps is ${config.layer_norm_eps}, the engine computes with 1e-12`,
      "ELECTRA models have 1e-12.",
    );
  }
  const restore = "A file was exchanged after the training: restore it, or fine-tune again.";
  if (hparams.max_seq_length > config.max_position_embeddings) {
    refuse(
      `it was fine-tuned with ${hparams.max_seq_length} tokens (${FINETUNING_FILE}), but has ${config.max_position_embeddings} positions (config.json)`,
      restore,
    );
  }
  if (hparams.do_lower_case !== basic.lowerCase) {
    const words = (lowerCase: boolean) => (lowerCase ? "lower-cased" : "cased");
    refuse(
      `it was fine-tuned on ${words(hparams.do_lower_case)} text (${FINETUNING_FILE}), but its tokenizer is ${words(basic.lowerCase)} (tokenizer_config.json)`,
      restore,
    );
  }
}

/** Labels are names for the columns of a head: as many of the one as of the other. */
async function checkLabels(tasks: readonly FinetunedTask[], folder: string): Promise<void> {
  const reader = await SafetensorsReader.open(join(folder, "model.safetensors"));
  try {
    for (const { name, head } of tasks) {
      if (!("labels" in head)) continue;
      const classes = reader.tensors.get(`task_specific.${name}.dense.bias`)?.shape[0];
      if (classes === undefined || classes === head.labels.length) continue;
      throw new ElectraError(
        "ERR_ELECTRA_CHECKPOINT_MISMATCH",
        `${folder}: the task ${name} has ${head.labels.length} labels (${FINETUNING_FILE}), but its head tells ${classes} classes apart (model.safetensors)`,
        { hint: "A file was exchanged after the training: restore it, or fine-tune again.", exitCode: 2 },
      );
    }
  } finally {
    await reader.close();
  }
}

function modelConfig(
  config: HfConfig,
  tasks: readonly FinetunedTask[],
  hparams: FinetuningHparams,
): FinetuningModelConfig {
  const { model_type, architectures, layer_norm_eps, pad_token_id, ...encoder } = config;
  return {
    encoder,
    tasks: tasks.map(({ name, head }) => ({ name, head: engineHead(head) })),
    max_seq_length: hparams.max_seq_length,
  };
}
