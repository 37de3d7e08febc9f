import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { listCheckpoints } from "../checkpoint/checkpoint-folders.js";
import { type ModelFolder, readModelConfig, resolveModelFolder } from "../checkpoint/model-folder.js";
import { SafetensorsReader } from "../checkpoint/safetensors.js";
import { elementCount } from "../checkpoint/safetensors-header.js";
import { readManifest } from "../data/dataset-manifest.js";
import { ElectraError } from "../errors.js";
import type { ListingRow } from "./output.js";

export interface Inspection {
  readonly document: Readonly<Record<string, unknown>>;
  readonly listing: readonly ListingRow[];
  /** Arguments of the command to type next. */
  readonly next: readonly string[];
}

/** Says what a path holds, from headers and small files alone: no tensor is read. */
export async function inspectPath(path: string): Promise<Inspection> {
  const info = await stat(path).catch((error: unknown) => {
    throw new ElectraError(
      "ERR_ELECTRA_FILE_NOT_FOUND",
      `${path} cannot be read: ${(error as Error).message}`,
      {
        hint: "Check the path.",
        cause: error,
        exitCode: 2,
      },
    );
  });
  if (info.isFile()) return await inspectTensors(path);
  const manifest = await readManifest(path);
  if (manifest !== undefined) {
    const { status, counts = {}, fingerprint } = manifest;
    return {
      document: { kind: "dataset", path, ...manifest },
      listing: [
        ["dataset", path],
        ["status", status],
        ...Object.entries(counts).map(([name, count]) => [name, String(count)] as const),
        ...(fingerprint === undefined
          ? []
          : ([
              ["records", `${fingerprint.records} in ${fingerprint.files} files, hash ${fingerprint.hash}`],
            ] as const)),
      ],
      next: ["pretrain", "--data-dir", join(resolve(path), ".."), "--model-name", "electra-small"],
    };
  }
  return await inspectModel(await resolveModelFolder(path));
}

async function inspectModel(model: ModelFolder): Promise<Inspection> {
  const { kind, path, checkpoint, halves } = model;
  const listing: ListingRow[] = [[KINDS[kind], path]];
  const document: Record<string, unknown> = { kind, path };
  if (kind === "run") {
    const { complete, broken } = await listCheckpoints(path);
    document["checkpoints"] = complete.map(({ step }) => step);
    document["broken"] = broken;
    listing.push(["checkpoints", complete.map(({ step }) => step).join(", ")]);
    for (const { path: folder, reason } of broken) listing.push(["not complete", `${folder}: ${reason}`]);
  }
  if (checkpoint !== undefined) {
    const { step, seed, cursor, versions, fingerprints, hparams } = checkpoint.training;
    document["checkpoint"] = { path: checkpoint.path, step, seed, cursor, versions, fingerprints, hparams };
    listing.push(["checkpoint", checkpoint.path], ["step", String(step)], ["seed", String(seed)]);
    listing.push(["position", JSON.stringify(cursor)]);
    for (const [name, value] of Object.entries(fingerprints)) {
      listing.push([`trained: ${name}`, typeof value === "string" ? value : JSON.stringify(value)]);
    }
  }
  for (const [name, folder] of Object.entries(halves)) {
    const config = await readModelConfig(folder);
    const { parameters, tensors } = await countParameters(join(folder, "model.safetensors"));
    document[name] = { path: folder, parameters, tensors, config };
    listing.push([
      name,
      `${config.num_hidden_layers} layers of width ${config.hidden_size}, ${config.num_attention_heads} head${config.num_attention_heads === 1 ? "" : "s"}, ` +
        `embeddings ${config.vocab_size} x ${config.embedding_size}, ${config.max_position_embeddings} positions, ` +
        `${config.hidden_act}; ${parameters} parameters`,
    ]);
  }
  const next =
    kind === "tf" ? ["doctor"] : ["inspect", join(Object.values(halves)[0] ?? path, "model.safetensors")];
  return { document, listing, next };
}

const KINDS = {
  run: "training run",
  checkpoint: "checkpoint",
  hf: "Hugging Face model",
  tf: "TensorFlow checkpoint",
} as const;

async function inspectTensors(path: string): Promise<Inspection> {
  const reader = await SafetensorsReader.open(path);
  try {
    const tensors = [...reader.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
    const values = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    return {
      document: { kind: "safetensors", path, metadata: reader.metadata, values, tensors },
      listing: [
        ["tensor file", path],
        ["values", `${values} in ${tensors.length} tensors`],
        ...tensors.map(({ name, dtype, shape }) => [name, `${dtype} [${shape.join(", ")}]`] as const),
      ],
      next: ["doctor"],
    };
  } finally {
    await reader.close();
  }
}

async function countParameters(path: string): Promise<{ parameters: number; tensors: number }> {
  const reader = await SafetensorsReader.open(path);
  try {
    const shapes = [...reader.tensors.values()].map(({ shape }) => elementCount(shape));
    return { parameters: shapes.reduce((sum, count) => sum + count, 0), tensors: shapes.length };
  } finally {
    await reader.close();
  }
}
