import { ElectraError } from "../errors.js";

/**
 * Element types of a safetensors file and their sizes in bytes. The format's sub-byte types are left out on
 * purpose: no ELECTRA model uses them, and an unknown name is reported instead of guessed.
 */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/** Where one tensor lies: `begin` and `end` are byte offsets from the start of the data section. */
export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The limit of the format's own reader: a longer header is an attack or a damaged file. */
export const MAX_HEADER_BYTES = 100_000_000;

/** An error about the contents of a safetensors file, with the file's name in front. */
export function malformed(path: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_SAFETENSORS", `${path}: ${message}`, {
    hint: "The file is damaged or not a safetensors file: copy or download it again.",
    cause,
  });
}

/** Number of elements of a shape. Throws when it leaves the range of exact integers. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(count)) throw new RangeError(`shape [${shape.join(", ")}] is too large`);
  }
  return count;
}

/**
 * Parses and checks the JSON header against the size of the data section that follows it. Everything is
 * checked before anything is read: offsets inside the file, dtype x shape = bytes, no overlap, no hole and no
 * tail (the same rules as the format's Rust implementation, so a file accepted here is accepted there).
 *
 * @param bytes the header, without the eight length bytes
 * @param dataBytes size of the file minus header and length bytes
 * @param path name used in messages
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw malformed(path, `the header is not valid UTF-8 JSON (${(error as Error).message})`, error);
  }
  if (!isRecord(parsed)) throw malformed(path, "the header is not a JSON object");

  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(parsed)) {
    if (name === "__metadata__") metadata = parseMetadata(value, path);
    else tensors.set(name, parseTensor(name, value, dataBytes, path));
  }
  checkCoverage(tensors, dataBytes, path);
  return { tensors, metadata };
}

/** Writes the header for tensors laid out one after another in the given order, padded to 8 bytes. */
export function formatHeader(
  tensors: readonly { readonly name: string; readonly dtype: Dtype; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const entries: [string, unknown][] = [["__metadata__", metadata]];
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const end = offset + elementCount(shape) * DTYPE_BYTES[dtype];
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Not one object literal: a tensor called "__proto__" or "1" would lose its place in it.
  const json = `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
  const text = new TextEncoder().encode(json);
  const padded = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  return padded;
}

function parseMetadata(value: unknown, path: string): Record<string, string> {
  if (!isRecord(value)) throw malformed(path, "__metadata__ is not a JSON object");
  const metadata: Record<string, string> = {};
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw malformed(path, `__metadata__ entry "${key}" is not a string`);
    metadata[key] = text;
  }
  return metadata;
}

function parseTensor(name: string, value: unknown, dataBytes: number, path: string): TensorInfo {
  const fail = (message: string): never => {
    throw malformed(path, `tensor "${name}": ${message}`);
  };
  if (!isRecord(value)) return fail("its entry is not a JSON object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    return fail(`unknown dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`shape ${JSON.stringify(shape)} is not a list of sizes`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`data_offsets ${JSON.stringify(offsets)} is not a pair of byte offsets`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    return fail(`data_offsets [${begin}, ${end}] leave the ${dataBytes} data bytes of the file`);
  }
  let bytes: number;
  try {
    bytes = elementCount(shape as number[]) * DTYPE_BYTES[dtype as Dtype];
  } catch (error) {
    return fail((error as Error).message);
  }
  if (bytes !== end - begin) {
    return fail(`${dtype} [${shape.join(", ")}] takes ${bytes} bytes, data_offsets give ${end - begin}`);
  }
  return { dtype: dtype as Dtype, shape: shape as number[], begin, end };
}

function checkCoverage(tensors: ReadonlyMap<string, TensorInfo>, dataBytes: number, path: string): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin !== covered) {
      const what = begin < covered ? "overlaps the tensor before it" : "leaves a hole before it";
      throw malformed(path, `tensor "${name}": data_offsets [${begin}, ${end}] ${what} (ends at ${covered})`);
    }
    covered = end;
  }
  if (covered !== dataBytes) {
    throw malformed(
      path,
      `the tensors end at byte ${covered} of the data, but ${dataBytes} bytes follow the header`,
    );
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
