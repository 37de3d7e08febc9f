import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readCompleteCheckpoint } from "../checkpoint/checkpoint-folders.js";
import { type ModelFolder, resolveModelFolder } from "../checkpoint/model-folder.js";
import { ElectraError } from "../errors.js";

/** Where a fine-tuned model lies. */
export interface FinetunedFolder {
  /** Holds `config.json`, `model.safetensors`, `vocab.txt`, `tokenizer_config.json` and `finetuning.json`. */
  readonly folder: string;
  /** Step of its checkpoint, where it lies in one. */
  readonly step: number | undefined;
}

/** Folder of a pre-trained model that its fine-tuned ones lie in by default. */
const MODELS = "finetuning_models";

/**
 * Finds a fine-tuned model: a trial's folder (`…_model_1`, its newest complete checkpoint), a checkpoint, its `finetuned`
 * folder, or the pre-trained run that exactly one was made from.
 *
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, with the models to choose from if there are several
 */
export async function findFinetunedModel(path: string): Promise<FinetunedFolder> {
  const made = await trialsIn(join(path, MODELS));
  const trials = made.length > 0 ? made : await trialsIn(path);
  if (trials.length > 1) {
    throw new ElectraError(
      "ERR_ELECTRA_NO_MODEL",
      `there are ${trials.length} fine-tuned models in ${path}`,
      {
        hint: `Give one of them:\n${trials.map(({ path: trial }) => `  ${trial}`).join("\n")}`,
        exitCode: 2,
      },
    );
  }
  const found = trials[0] ?? (await resolveModelFolder(path));
  const folder = found.halves.finetuned;
  if (folder !== undefined) return { folder, step: await stepOf(found, folder) };
  throw new ElectraError(
    "ERR_ELECTRA_NO_MODEL",
    `${path} is a pre-trained model: it knows no task, and no fine-tuned model lies in it`,
    { hint: "Make one with `electra-native finetune`, and give its folder.", exitCode: 2 },
  );
}

/** The trials in a folder that have a complete checkpoint. */
async function trialsIn(folder: string): Promise<ModelFolder[]> {
  const names = await readdir(folder).catch(() => []);
  const found = await Promise.all(
    names
      .filter((name) => /_\d+$/.test(name))
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
      .map((name) => resolveModelFolder(join(folder, name)).catch(() => undefined)),
  );
  return found.filter((model) => model?.halves.finetuned !== undefined) as ModelFolder[];
}

async function stepOf(found: ModelFolder, folder: string): Promise<number | undefined> {
  if (found.checkpoint !== undefined) return found.checkpoint.step;
  // The folder itself was given; the checkpoint around it says the step, if it still lies in one.
  return (await readCompleteCheckpoint(dirname(folder)).catch(() => undefined))?.step;
}
