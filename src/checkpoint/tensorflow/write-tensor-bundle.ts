import { basename } from "node:path";
import { crc32c, maskCrc32c } from "../../data/crc32c.js";
import { ElectraError } from "../../errors.js";
import type { DurableFiles } from "../durable-files.js";
import type { TensorSource } from "../safetensors.js";
import { DTYPE_BYTES, elementCount } from "../safetensors-header.js";
import { type BundleEntry, formatBundleEntry, formatBundleHeader, tensorflowDtype } from "./bundle-entry.js";
import type { TableEntry } from "./sorted-table.js";
import { formatSortedTable } from "./sorted-table-writer.js";
import { dataFile } from "./tensor-bundle.js";

/**
 * Writes a TensorFlow V2 checkpoint of one data file, as `tf.train.Saver` does: `<prefix>.data-00000-of-00001` and, when
 * that is on the disk, `<prefix>.index`. Neither may exist yet. Tensors are streamed, one at a time.
 *
 * @returns the sizes of both files in bytes
 * @throws ElectraError ERR_ELECTRA_TENSOR_NAME, ERR_ELECTRA_TENSOR_SIZE
 */
export async function writeTensorBundle(
  prefix: string,
  tensors: readonly TensorSource[],
  files: DurableFiles,
): Promise<number> {
  const encoder = new TextEncoder();
  const ordered = tensors
    .map((tensor) => ({ tensor, key: encoder.encode(tensor.name) }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const path = dataFile(prefix, 0, 1);
  ordered.forEach(({ tensor, key }, index) => {
    const twice = index > 0 && Buffer.compare(key, ordered[index - 1]!.key) === 0;
    if (key.length === 0 || twice) {
      throw new ElectraError(
        "ERR_ELECTRA_TENSOR_NAME",
        `${path}: the name "${tensor.name}" is ${twice ? "used twice" : "the header's"}`,
      );
    }
    if (tensorflowDtype(tensor.dtype) === undefined) {
      throw new ElectraError(
        "ERR_ELECTRA_TENSOR_SIZE",
        `${path}: "${tensor.name}" is ${tensor.dtype}, which has no place in a TensorFlow checkpoint`,
      );
    }
  });

  const entries: TableEntry[] = [{ key: new Uint8Array(0), value: formatBundleHeader({ shards: 1 }) }];
  async function* contents(): AsyncGenerator<Uint8Array> {
    let offset = 0;
    for (const { tensor, key } of ordered) {
      const { name, dtype, shape } = tensor;
      const size = elementCount(shape) * DTYPE_BYTES[dtype];
      let [written, crc] = [0, 0];
      for await (const piece of tensor.data()) {
        written += piece.byteLength;
        if (written > size) break;
        crc = crc32c(piece, 0, piece.byteLength, crc);
        yield piece;
      }
      if (written !== size) {
        throw new ElectraError(
          "ERR_ELECTRA_TENSOR_SIZE",
          `${path}: tensor "${name}" ${dtype} [${shape.join(", ")}] needs ${size} bytes, got ${written > size ? "more" : written}`,
        );
      }
      const entry: BundleEntry = { dtype, shape, shard: 0, offset, size, crc: maskCrc32c(crc) };
      entries.push({ key, value: formatBundleEntry(entry) });
      offset += size;
    }
  }
  const dataBytes = await files.createFile(path, contents());
  return dataBytes + (await files.createFile(`${prefix}.index`, [formatSortedTable(entries)]));
}

/** Contents of the file `checkpoint`, which names a folder's newest checkpoint. */
export function formatCheckpointState(prefix: string): string {
  const name = JSON.stringify(basename(prefix));
  return `model_checkpoint_path: ${name}\nall_model_checkpoint_paths: ${name}\n`;
}
