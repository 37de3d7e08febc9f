import { PytorchReader } from "../../checkpoint/pytorch/pytorch-reader.js";
import { SafetensorsReader } from "../../checkpoint/safetensors.js";
import { DTYPE_BYTES, elementCount } from "../../checkpoint/safetensors-header.js";
import type { TensorFile } from "../../checkpoint/tensor-file.js";
import { dataFile, TensorBundleReader } from "../../checkpoint/tensorflow/tensor-bundle.js";
import type { ListingRow } from "../output.js";
import type { Inspection } from "./inspection.js";

/** A safetensors file. The format has no check sums; its header accounts for every byte, and that is checked. */
export async function inspectSafetensors(path: string): Promise<Inspection> {
  const reader = await SafetensorsReader.open(path);
  try {
    return tensorsInspection("safetensors", path, reader, {
      metadata: reader.metadata,
      checksums: "none in this format; the header accounts for every byte",
    });
  } finally {
    await reader.close();
  }
}

/** A file of `torch.save`: every tensor is read, and with it the check sums of the archive. */
export async function inspectPytorch(path: string): Promise<Inspection> {
  const reader = await PytorchReader.open(path);
  try {
    for (const name of reader.tensors.keys()) for await (const _ of reader.chunks(name));
    const checksums =
      reader.format === "zip" ? `${reader.tensors.size} tensors verified` : "none before PyTorch 1.6";
    return tensorsInspection("pytorch", path, reader, { format: reader.format, checksums });
  } finally {
    await reader.close();
  }
}

/** A TensorFlow checkpoint: every byte is read and compared with its check sum. */
export async function inspectBundle(prefix: string): Promise<Inspection> {
  const reader = await TensorBundleReader.open(prefix);
  try {
    for (const name of reader.tensors.keys()) await reader.verify(name);
    const step =
      reader.tensors.get("global_step")?.dtype === "I64"
        ? (await reader.readIntegers("global_step"))[0]
        : undefined;
    return tensorsInspection("tensorflow", prefix, reader, {
      ...(step === undefined ? {} : { global_step: step }),
      data_files: Array.from({ length: reader.shards }, (_, shard) => dataFile(prefix, shard, reader.shards)),
      checksums: `${reader.tensors.size} tensors verified`,
    });
  } finally {
    await reader.close();
  }
}

const KINDS = {
  safetensors: "tensor file",
  pytorch: "PyTorch file",
  tensorflow: "TensorFlow checkpoint",
} as const;

function tensorsInspection(
  kind: keyof typeof KINDS,
  path: string,
  file: TensorFile,
  facts: Readonly<Record<string, unknown>>,
): Inspection {
  const tensors = [...file.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const values = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const bytes = tensors.reduce(
    (sum, { dtype, shape }) => sum + elementCount(shape) * (dtype === "STRING" ? 0 : DTYPE_BYTES[dtype]),
    0,
  );
  const said = Object.entries(facts)
    .filter(([, value]) => typeof value !== "object" || (Array.isArray(value) && value.length > 0))
    .map(
      ([name, value]): ListingRow => [
        name.replaceAll("_", " "),
        Array.isArray(value) ? value.join(", ") : String(value),
      ],
    );
  return {
    document: { kind, path, ...facts, values, bytes, tensors },
    listing: [
      [KINDS[kind], path],
      ["values", `${values} in ${tensors.length} tensors, ${(bytes / 2 ** 20).toFixed(1)} MiB`],
      ...said,
      ...tensors.map(({ name, dtype, shape }): ListingRow => [name, `${dtype} [${shape.join(", ")}]`]),
    ],
    next: ["doctor"],
  };
}
