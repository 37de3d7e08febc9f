import type { ByteSource } from "../byte-source.js";
import { DTYPE_BYTES, type Dtype } from "../safetensors-header.js";
import { PickleCutError, PickleError, type PickleValue } from "./pickle-values.js";
import { tensorsOf } from "./state-dict.js";
import { unpickle } from "./unpickler.js";

/** The bytes of the storages that tensors lie in. */
export interface LegacyStorages {
  /** Bytes of a storage; undefined when there is none of this key. */
  size(key: string): number | undefined;
  read(key: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** First number of a file that `torch.save` wrote before version 1.6, or later without its ZIP format. */
const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

const FIRST_WINDOW = 1 << 20;
/** No list of names and shapes is longer. */
const LARGEST_WINDOW = 1 << 26;

/**
 * Reads the format before PyTorch 1.6 (torch/serialization.py, `_legacy_save`): the pickles of a magic number, a protocol
 * number, the machine's sizes, the object, and the keys of its storages; then, in that order, each storage as a 64-bit
 * number of elements and its bytes. There are no check sums.
 *
 * @throws PickleError
 */
export async function readLegacyFile(
  source: ByteSource,
): Promise<{ readonly value: PickleValue; readonly storages: LegacyStorages }> {
  const { value, keys, end } = await readPickles(source);
  const dtypes = new Map<string, Dtype>();
  for (const { storage } of tensorsOf(value).values()) dtypes.set(storage.key, storage.dtype);

  const places = new Map<string, { readonly start: number; readonly size: number }>();
  let at = end;
  for (const key of keys) {
    const dtype = dtypes.get(key);
    // Without a tensor in it, its type and so its size are unknown.
    if (dtype === undefined) throw new PickleError(`no tensor lies in the storage ${JSON.stringify(key)}`);
    if (at > source.size - 8) throw new PickleError("it is cut off before a storage");
    const count = new DataView((await source.read(at, 8)).buffer).getBigUint64(0, true);
    if (count > BigInt(source.size))
      throw new PickleError(`a storage of ${count} elements does not fit into the file`);
    const size = Number(count) * DTYPE_BYTES[dtype];
    if (size > source.size - at - 8) throw new PickleError(`it is cut off within the storage at byte ${at}`);
    places.set(key, { start: at + 8, size });
    at += 8 + size;
  }
  if (at !== source.size) throw new PickleError(`it ends at byte ${at}, but has ${source.size} bytes`);
  return {
    value,
    storages: {
      size: (key) => places.get(key)?.size,
      read: async (key) => {
        const { start, size } = places.get(key)!;
        return await source.read(start, size);
      },
    },
  };
}

/** The pickles stand in front of all tensors; how long they are shows in the reading. */
async function readPickles(
  source: ByteSource,
): Promise<{ readonly value: PickleValue; readonly keys: readonly string[]; readonly end: number }> {
  for (let window = FIRST_WINDOW; ; window *= 4) {
    const bytes = await source.read(0, Math.min(window, source.size));
    try {
      return parsePickles(bytes);
    } catch (error) {
      if (!(error instanceof PickleCutError) || window >= source.size || window >= LARGEST_WINDOW)
        throw error;
    }
  }
}

function parsePickles(bytes: Uint8Array): { value: PickleValue; keys: readonly string[]; end: number } {
  let end = 0;
  const next = (): PickleValue => {
    const read = unpickle(bytes, end);
    end = read.end;
    return read.value;
  };
  if (next() !== MAGIC) throw new PickleError("it is a pickle, but not one of torch.save");
  const protocol = next();
  if (protocol !== PROTOCOL)
    throw new PickleError(`its protocol is ${String(protocol).slice(0, 20)}, not ${PROTOCOL}`);
  const system = next();
  if (system instanceof Map && system.get("little_endian") === false)
    throw new PickleError("it is big-endian");
  const value = next();
  const keys = next();
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === "string")) {
    throw new PickleError("it has no list of storages");
  }
  if (new Set(keys).size !== keys.length) throw new PickleError("a storage is listed twice");
  return { value, keys, end };
}
