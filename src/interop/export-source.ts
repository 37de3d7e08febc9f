import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readCompleteCheckpoint } from "../checkpoint/checkpoint-folders.js";
import { type HfConfig, hfConfigJson, TWO_TOWER_MODEL_TYPE } from "../checkpoint/hf-config.js";
import type { HalfName } from "../checkpoint/hf-layout.js";
import { FINETUNING_FILE } from "../checkpoint/model-folder.js";
import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import { ElectraError } from "../errors.js";
import { type FinetunedFile, parseFinetunedFile } from "../finetuning/finetuned-file.js";
import { findFinetunedModel } from "../inference/finetuned-folder.js";
import { readModelTokenizer } from "../inference/model-tokenizer.js";
import type { ExportHead } from "./export-head.js";
import { type ExportWeights, weightsOfPart } from "./export-weights.js";
import type { TokenizerSettings } from "./tokenizer-json.js";

/** Which part of a model is exported: a half with its head, the tasks that it was fine-tuned for, or an encoder alone. */
export type ExportPart = HalfName | "encoder";

export interface ExportChoice {
  /** Default: of a pre-trained model the discriminator, else the generator; of a fine-tuned one its task. */
  readonly part?: ExportPart;
  /** Of a fine-tuned model that knows several; of a pre-trained run, the one fine-tuned model that lies in it. */
  readonly task?: string;
  /** The model's vocabulary, where it does not lie beside its weights as `vocab.txt`. */
  readonly vocabFile?: string;
}

/** A model that is to be exported: what it says, and the files that it is made of. */
export interface ExportSource {
  /** Folder that the weights come from. */
  readonly folder: string;
  /** Step of the checkpoint, if it lies in one. */
  readonly step: number | undefined;
  readonly head: ExportHead;
  readonly config: HfConfig;
  /** `config.json` with all its fields; of a TensorFlow checkpoint made from the shapes. */
  readonly configFields: Readonly<Record<string, unknown>>;
  readonly vocabText: string;
  readonly tokenizer: TokenizerSettings;
  /** Tokens that the model read at once when it was trained, if that is known; else as many as it has positions. */
  readonly maxLength: number;
  readonly weights: ExportWeights;
  close(): Promise<void>;
}

/**
 * Finds what is to be exported in a run's folder, a checkpoint, a Hugging Face folder, a TensorFlow checkpoint or a fine-tuned
 * model.
 *
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, `ERR_ELECTRA_MODEL_HALF`, `ERR_ELECTRA_MODEL_FORMAT`, `ERR_ELECTRA_TASK`,
 *   `ERR_ELECTRA_FINETUNED_FILE`
 */
export async function openExportSource(path: string, choice: ExportChoice = {}): Promise<ExportSource> {
  const { task, vocabFile } = choice;
  const model = await readModelWeights(task === undefined ? path : (await findFinetunedModel(path)).folder);
  try {
    const part = partOf(model, choice);
    const config = model.configs[part]!;
    const folder = model.folderOf(part);
    if (config.model_type === TWO_TOWER_MODEL_TYPE) {
      throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${folder} is a generator of two towers`, {
        hint: "No other program computes one; its discriminator can be exported.",
        exitCode: 2,
      });
    }
    const weights = weightsOfPart(model, part);
    const finetuned = part === "finetuned" ? await readFinetunedFile(folder, choice) : undefined;
    const fields = await configFields(model, config, folder);
    const head =
      finetuned === undefined
        ? headOfWeights(part, config, fields, weights, choice)
        : taskHead(folder, finetuned, choice);
    const { vocabulary, basic } = await readModelTokenizer(folder, config.vocab_size, vocabFile);
    const training =
      model.model.checkpoint?.training ??
      (await readCompleteCheckpoint(dirname(folder)).catch(() => undefined));
    const trained = finetuned?.hparams.max_seq_length ?? training?.hparams["max_seq_length"];
    const positions = config.max_position_embeddings;
    return {
      folder,
      step: model.step ?? training?.step,
      head,
      config,
      configFields: fields,
      vocabText: await readFile(vocabFile ?? join(folder, "vocab.txt"), "utf8"),
      tokenizer: { vocabulary, ...normalization(basic, head, finetuned) },
      maxLength: typeof trained === "number" ? Math.min(trained, positions) : positions,
      weights,
      close: () => model.close(),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

async function configFields(
  { model }: ModelWeights,
  config: HfConfig,
  folder: string,
): Promise<Readonly<Record<string, unknown>>> {
  const text =
    model.bundle === undefined
      ? await readFile(join(folder, "config.json"), "utf8")
      : hfConfigJson(config, { architecture: "ElectraModel", entries: [] });
  return JSON.parse(text) as Record<string, unknown>;
}

function partOf({ model, configs }: ModelWeights, { part }: ExportChoice): HalfName {
  const wanted: readonly HalfName[] =
    part === undefined || part === "encoder" ? ["finetuned", "discriminator", "generator"] : [part];
  const found = wanted.find((name) => configs[name] !== undefined);
  if (found === undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_HALF",
      `${model.path} holds no ${part}, only: ${Object.keys(configs).join(", ")}`,
      { hint: "Leave --part out, or give another model.", exitCode: 2 },
    );
  }
  return found;
}

/** A TensorFlow checkpoint of a fine-tuned model has none: what its heads mean cannot be told, but its encoder can be had. */
async function readFinetunedFile(folder: string, { part }: ExportChoice): Promise<FinetunedFile | undefined> {
  if (part === "encoder") return undefined;
  const path = join(folder, FINETUNING_FILE);
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_FORMAT",
      `${path} cannot be read: what the heads mean is not known`,
      {
        hint: "Export the encoder alone with --part encoder.",
        cause,
        exitCode: 2,
      },
    );
  });
  return parseFinetunedFile(text, path);
}

function taskHead(folder: string, { tasks }: FinetunedFile, { task }: ExportChoice): ExportHead {
  const chosen = task === undefined ? tasks : tasks.filter(({ name }) => name === task);
  if (chosen.length !== 1) {
    const what = task === undefined ? `knows ${tasks.length} tasks` : `knows no task "${task}"`;
    throw new ElectraError("ERR_ELECTRA_TASK", `${folder} ${what}`, {
      hint: `Choose one with --task: ${tasks.map(({ name }) => name).join(", ")}.`,
      exitCode: 2,
    });
  }
  return { kind: "task", task: chosen[0]!.name, head: chosen[0]!.head };
}

/** The head of a part without `finetuning.json`, by its variables: Hugging Face's classes have heads of their own. */
function headOfWeights(
  half: HalfName,
  config: HfConfig,
  fields: Readonly<Record<string, unknown>>,
  weights: ExportWeights,
  { part }: ExportChoice,
): ExportHead {
  if (part === "encoder") return { kind: "encoder" };
  const outputs = (layer: string): number | undefined => weights.shapeOf(`${layer}/kernel`)?.[1];
  if (half === "generator") {
    if (outputs("generator_predictions/dense") !== undefined) return { kind: "masked-lm" };
  } else {
    const sequenceLabels = outputs("classifier/out_proj");
    if (sequenceLabels !== undefined) {
      const type = fields["problem_type"];
      return {
        kind: "hf-sequence",
        labels: labelNames(fields, sequenceLabels),
        problemType: typeof type === "string" ? type : undefined,
      };
    }
    const tokenLabels = outputs("classifier");
    if (tokenLabels !== undefined) return { kind: "hf-token", labels: labelNames(fields, tokenLabels) };
    if (outputs("qa_outputs") !== undefined) return { kind: "hf-span" };
    if (outputs("discriminator_predictions/dense") !== undefined) return { kind: "replaced-tokens" };
  }
  if (part === undefined) return { kind: "encoder" };
  throw new ElectraError(
    "ERR_ELECTRA_MODEL_HALF",
    `${weights.path} has no head of a ${part} (${config.architectures.join(", ") || "no class named"})`,
    { hint: "Leave --part out to export the encoder.", exitCode: 2 },
  );
}

function labelNames(fields: Readonly<Record<string, unknown>>, count: number): readonly string[] {
  const named = (fields["id2label"] ?? {}) as Readonly<Record<string, unknown>>;
  return Array.from({ length: count }, (_, id) => String(named[String(id)] ?? `LABEL_${id}`));
}

/** The words of tagging tasks are always lower-cased, unless a quirk is off, and their ideographs stay together. */
function normalization(
  { lowerCase, stripAccents }: { readonly lowerCase: boolean; readonly stripAccents: boolean },
  head: ExportHead,
  finetuned: FinetunedFile | undefined,
): Omit<TokenizerSettings, "vocabulary"> {
  if (head.kind !== "task" || head.head.kind !== "tagging") return { lowerCase, stripAccents };
  const follows = finetuned?.hparams.tagging_follows_case === true;
  return {
    lowerCase: follows ? lowerCase : true,
    stripAccents: follows ? stripAccents : true,
    splitIdeographs: false,
  };
}
