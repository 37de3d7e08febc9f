import { readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { DurableFiles } from "../checkpoint/durable-files.js";
import { checkConfig } from "../checkpoint/hf-config.js";
import { type HalfName, hfLayout } from "../checkpoint/hf-layout.js";
import type { CheckpointTokenizer } from "../checkpoint/hf-tokenizer.js";
import { FINETUNING_FILE } from "../checkpoint/model-folder.js";
import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import { variableSource } from "../checkpoint/parameter-sources.js";
import { formatCheckpointState, writeTensorBundle } from "../checkpoint/tensorflow/write-tensor-bundle.js";
import { isModelVariable } from "../checkpoint/variable-names.js";
import { writePart } from "../checkpoint/write-part.js";
import { ElectraError } from "../errors.js";
import { readModelTokenizer } from "../inference/model-tokenizer.js";
import { packageVersion } from "../package-root.js";
import { compareExported, type ExportComparison } from "./compare-exported.js";
import { modelCard } from "./model-card.js";
import { jsonText } from "./model-texts.js";
import { EXPORT_FILE, writeOutputFolder } from "./output-folder.js";
import { sizesBeside } from "./sizes-beside.js";
import { tokenizerJson } from "./tokenizer-json.js";

/** `hf`: a Hugging Face folder for each part; `tf`: a TensorFlow checkpoint with the reference's names. */
export type ExportFormat = "hf" | "tf";

export interface ExportModelOptions {
  /** Run, checkpoint, Hugging Face folder or TensorFlow checkpoint. */
  readonly model: string;
  readonly format: ExportFormat;
  /** Must not exist, or be empty, or with `overwrite` be an export. */
  readonly outputDir: string;
  readonly overwrite?: boolean;
  /** Of `hf`: this part alone, straight in the folder. Default: every part in a folder of its name. */
  readonly part?: HalfName;
  /** Of `tf`: write Adam's moments where the model has them. Default true. */
  readonly moments?: boolean;
  /** The model's vocabulary, if it is not the `vocab.txt` beside its weights. */
  readonly vocabFile?: string;
  /** The disk; tests give one that fails. */
  readonly files?: DurableFiles;
}

export interface ExportResult extends ExportComparison {
  readonly format: ExportFormat;
  readonly outputDir: string;
  readonly parts: readonly HalfName[];
  readonly bytes: number;
  readonly moments: boolean;
  /** Weights that have no place in the format, with the reason. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * Writes a model in another format, reads it again and compares every value. It is written under a temporary name first,
 * so that a folder of the asked-for name is always whole.
 *
 * @throws ElectraError `ERR_ELECTRA_OUTPUT_FOLDER`, `ERR_ELECTRA_MODEL_HALF`, `ERR_ELECTRA_EXPORT` when what was written
 *   differs, and those of reading the model
 *
 * @example
 * await exportModel({ model: "data/models/electra_small", format: "tf", outputDir: "for-google" });
 */
export async function exportModel(options: ExportModelOptions): Promise<ExportResult> {
  const { model, format, outputDir, overwrite = false, files = new DurableFiles() } = options;
  const weights = await readModelWeights(model);
  try {
    return await writeOutputFolder({ path: outputDir, model, overwrite, files }, async (folder) => {
      const written =
        format === "hf"
          ? await writeHf(weights, folder, options, files)
          : await writeTf(weights, folder, options, files);
      const record = {
        format: 1,
        "electra-native": packageVersion(),
        target: format,
        parts: written.parts,
        step: weights.step ?? null,
      };
      await files.createTextFile(join(folder, EXPORT_FILE), jsonText(record));
      const comparison = await compareExported(weights, folder, written.variables, written.moments);
      const exported = new Set(written.variables);
      const leftOut = [...weights.tensors.keys()]
        .filter((name) => !exported.has(name))
        .map((name) => ({
          name,
          reason: isModelVariable(name) ? "of another part" : "a head that this format has no place for",
        }));
      const { parts, bytes, moments } = written;
      return { format, outputDir, parts, bytes, moments, leftOut, ...comparison };
    });
  } finally {
    await weights.close();
  }
}

interface Written {
  readonly parts: readonly HalfName[];
  readonly bytes: number;
  readonly moments: boolean;
  /** Those of the model that were written. */
  readonly variables: readonly string[];
}

async function writeHf(
  weights: ModelWeights,
  folder: string,
  options: ExportModelOptions,
  files: DurableFiles,
): Promise<Written> {
  const store = weights.asParameterStore([...weights.tensors.keys()].filter(isModelVariable));
  const layout = hfLayout(store.names());
  const wanted = (Object.keys(layout) as HalfName[]).filter(
    (part) => options.part === undefined || part === options.part,
  );
  if (wanted.length === 0) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_HALF",
      `${weights.model.path} holds no ${options.part ?? "part that can be exported"}, only ${Object.keys(layout).join(" and ")}`,
      { hint: "Leave --part out to export what is there.", exitCode: 2 },
    );
  }
  let bytes = 0;
  for (const part of wanted) {
    const half = layout[part]!;
    const config = weights.configs[part]!;
    checkConfig(config, half);
    const tokenizer = await tokenizerOf(weights, part, options.vocabFile);
    const texts = {
      "README.md": modelCard(half, config, weights),
      // Tasks of a fine-tuned model may cut words in different ways, which one file cannot say.
      ...(part === "finetuned" ? await finetuningText(weights, part) : { "tokenizer.json": tokenizer.json }),
    };
    // One part straight into the folder: `from_pretrained` then takes the folder itself.
    const target = options.part === undefined ? join(folder, part) : folder;
    if (options.part !== undefined) await rmdir(folder);
    const sizes = await writePart(target, { half, config, tokenizer, texts }, store, files);
    bytes += Object.values(sizes).reduce((sum, size) => sum + size, 0);
  }
  const variables = wanted.flatMap((part) => layout[part]!.entries.map(({ variable }) => variable));
  return { parts: wanted, bytes, moments: false, variables: [...new Set(variables)] };
}

async function writeTf(
  weights: ModelWeights,
  folder: string,
  options: ExportModelOptions,
  files: DurableFiles,
): Promise<Written> {
  const variables = [...weights.tensors.keys()].filter(isModelVariable);
  const store = weights.asParameterStore(variables);
  const moments = options.moments !== false && weights.moments !== undefined;
  const kinds = moments ? (["value", "adam_m", "adam_v"] as const) : (["value"] as const);
  const tensors = store.names().flatMap((info) => kinds.map((kind) => variableSource(info, kind, store)));
  const step = new Uint8Array(BigInt64Array.of(BigInt(weights.step ?? 0)).buffer);
  const prefix = join(folder, `model.ckpt-${weights.step ?? 0}`);
  let bytes = await writeTensorBundle(
    prefix,
    [...tensors, { name: "global_step", dtype: "I64", shape: [], data: () => [step] }],
    files,
  );
  const parts = Object.keys(weights.configs) as HalfName[];
  const { vocabText } = await tokenizerOf(weights, parts[0]!, options.vocabFile);
  const beside = sizesBeside(weights);
  const texts = {
    checkpoint: formatCheckpointState(prefix),
    "vocab.txt": vocabText,
    ...(beside === undefined ? {} : { "config.json": beside }),
  };
  for (const [name, text] of Object.entries(texts))
    bytes += await files.createTextFile(join(folder, name), text);
  return { parts, bytes, moments, variables };
}

async function tokenizerOf(
  weights: ModelWeights,
  part: HalfName,
  vocabFile: string | undefined,
): Promise<CheckpointTokenizer & { readonly json: string }> {
  const folder = weights.folderOf(part);
  const { basic, vocabulary } = await readModelTokenizer(
    folder,
    weights.configs[part]!.vocab_size,
    vocabFile,
  );
  return {
    vocabText: await readFile(vocabulary.source, "utf8"),
    doLowerCase: basic.lowerCase,
    stripAccents: basic.stripAccents,
    json: tokenizerJson({ vocabulary, lowerCase: basic.lowerCase, stripAccents: basic.stripAccents }),
  };
}

/** What the heads of a fine-tuned model mean. */
async function finetuningText(
  weights: ModelWeights,
  part: HalfName,
): Promise<Readonly<Record<string, string>>> {
  if (part !== "finetuned") return {};
  const text = await readFile(join(weights.folderOf(part), FINETUNING_FILE), "utf8").catch(() => undefined);
  return text === undefined ? {} : { [FINETUNING_FILE]: text };
}
