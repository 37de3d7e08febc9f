import { open, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { listCheckpoints } from "../../checkpoint/checkpoint-folders.js";
import type { HalfName } from "../../checkpoint/hf-layout.js";
import { type ModelFolder, resolveModelFolder } from "../../checkpoint/model-folder.js";
import { readModelWeights } from "../../checkpoint/model-weights.js";
import { elementCount } from "../../checkpoint/safetensors-header.js";
import { findTensorBundle } from "../../checkpoint/tensorflow/find-bundle.js";
import { readManifest } from "../../data/dataset-manifest.js";
import { ElectraError } from "../../errors.js";
import type { ListingRow } from "../output.js";
import { inspectOnnx, ONNX_MODEL } from "./inspect-onnx.js";
import { inspectRecords } from "./inspect-records.js";
import { inspectBundle, inspectPytorch, inspectSafetensors } from "./inspect-tensors.js";
import { inspectVocabulary } from "./inspect-vocabulary.js";
import type { Inspection } from "./inspection.js";

/**
 * Says what a path holds. Of a folder headers and small files are read; a single file or a TensorFlow checkpoint is read
 * through, and its check sums are verified.
 */
export async function inspectPath(path: string): Promise<Inspection> {
  const info = await stat(path).catch(async (error: unknown) => {
    if ((await findTensorBundle(path)) !== undefined) return undefined;
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
  if (info === undefined || info.isFile()) return await inspectFile(path);
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
  const exported = join(path, ONNX_MODEL);
  if (await isFile(exported)) return await inspectOnnx(exported, path);
  return await inspectModel(await resolveModelFolder(path));
}

async function inspectModel(model: ModelFolder): Promise<Inspection> {
  const { kind, path, checkpoint } = model;
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
  const weights = await readModelWeights(path);
  try {
    for (const [name, config] of Object.entries(weights.configs)) {
      const part = name as keyof typeof weights.configs;
      const folder = weights.folderOf(part);
      const alone = Object.keys(weights.configs).length === 1;
      const own = [...weights.tensors].filter(([variable]) => alone || belongsTo(part, variable));
      const parameters = own.reduce((sum, [, { shape }]) => sum + elementCount(shape), 0);
      document[name] = { path: folder, parameters, tensors: own.length, config };
      listing.push([
        name,
        `${config.num_hidden_layers} layers of width ${config.hidden_size}, ${config.num_attention_heads} head${config.num_attention_heads === 1 ? "" : "s"}, ` +
          `embeddings ${config.vocab_size} x ${config.embedding_size}, ${config.max_position_embeddings} positions, ` +
          `${config.hidden_act}; ${parameters} parameters`,
      ]);
    }
    if (kind === "tf") {
      document["global_step"] = weights.step ?? null;
      if (weights.step !== undefined) listing.push(["step", String(weights.step)]);
    }
    const ignored = new Map<string, number>();
    for (const { reason } of weights.ignored) ignored.set(reason, (ignored.get(reason) ?? 0) + 1);
    document["ignored"] = Object.fromEntries(ignored);
    for (const [reason, count] of ignored) listing.push(["ignored", `${count} x ${reason}`]);
    document["weights"] = [...weights.tensors].map(([variable, { shape, dtype, file, stored }]) => ({
      variable,
      shape,
      dtype,
      file,
      stored,
    }));
    const first = weights.tensors.values().next().value?.file;
    return { document, listing, next: ["inspect", model.bundle ?? first ?? path] };
  } finally {
    await weights.close();
  }
}

/** Whether a part uses a variable; the embeddings are counted with each part that shares them. */
function belongsTo(part: HalfName, variable: string): boolean {
  if (variable.startsWith("electra/embeddings/")) return true;
  const generators = /^(?:generator|cloze)(?:_|\/)/.test(variable);
  return part === "generator" ? generators : !generators;
}

const KINDS = {
  run: "training run",
  checkpoint: "checkpoint",
  hf: "Hugging Face model",
  tf: "TensorFlow checkpoint",
} as const;

/** Finds out by name and first bytes what a file is. */
async function inspectFile(path: string): Promise<Inspection> {
  const name = basename(path);
  const bundle = await findTensorBundle(path);
  if (bundle !== undefined) return await inspectBundle(bundle);
  if (name.endsWith(".onnx")) return await inspectOnnx(path);
  if (name.endsWith(".safetensors")) return await inspectSafetensors(path);
  if (/\.tfrecords?\b/.test(name)) return await inspectRecords(path);
  const head = await firstBytes(path);
  // "PK" begins an archive, 0x80 a pickle.
  if (/\.(?:bin|pt|pth|ckpt)$/.test(name) || (head[0] === 0x50 && head[1] === 0x4b) || head[0] === 0x80) {
    return await inspectPytorch(path);
  }
  if (name.endsWith(".txt") && head.every((byte) => byte !== 0)) return await inspectVocabulary(path);
  throw new ElectraError("ERR_ELECTRA_FILE_KIND", `${path} is none of the files that can be inspected`, {
    hint: "These are *.safetensors, pytorch_model.bin, a TensorFlow checkpoint's .index, *.tfrecord*, *.onnx and vocab.txt, besides folders of models and data.",
    exitCode: 2,
  });
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
}

async function firstBytes(path: string): Promise<Uint8Array> {
  const handle = await open(path, "r");
  try {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(64), 0, 64, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
