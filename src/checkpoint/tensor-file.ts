import type { Dtype } from "./safetensors-header.js";

/** A tensor as a file describes it. */
export interface StoredTensor {
  readonly dtype: Dtype | "STRING";
  readonly shape: readonly number[];
}

/** Tensors by name, whatever the format of the file or files that hold them. */
export interface TensorFile {
  /** The file, or the first of several; named in messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The values of a floating-point tensor as float32, row-major. Other dtypes are an error. */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** The values of a tensor of integers or booleans. */
  readIntegers(name: string): Promise<number[]>;
  /** The raw bytes, row-major and little-endian, in pieces, checked against check sums where the format has them. */
  chunks(name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** Floating-point values of a file's bytes as float32; undefined for other dtypes. The bytes begin their buffer. */
export function widenToFloat32(
  dtype: StoredTensor["dtype"],
  bytes: Uint8Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> | undefined {
  switch (dtype) {
    case "F32":
      return new Float32Array(bytes.buffer);
    case "F64":
      return Float32Array.from(new Float64Array(bytes.buffer));
    case "BF16":
      return widenBfloat16(new Uint16Array(bytes.buffer));
    case "F16":
      return widenFloat16(new Uint16Array(bytes.buffer));
    default:
      return undefined;
  }
}

/** Whole numbers of a file's bytes; undefined for other dtypes. The bytes begin their buffer. */
export function toIntegers(
  dtype: StoredTensor["dtype"],
  { buffer }: Uint8Array<ArrayBuffer>,
): number[] | undefined {
  switch (dtype) {
    case "I64":
      return Array.from(new BigInt64Array(buffer), Number);
    case "U64":
      return Array.from(new BigUint64Array(buffer), Number);
    case "I32":
      return Array.from(new Int32Array(buffer));
    case "U32":
      return Array.from(new Uint32Array(buffer));
    case "I16":
      return Array.from(new Int16Array(buffer));
    case "U16":
      return Array.from(new Uint16Array(buffer));
    case "I8":
      return Array.from(new Int8Array(buffer));
    case "U8":
    case "BOOL":
      return Array.from(new Uint8Array(buffer));
    default:
      return undefined;
  }
}

function widenBfloat16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

function widenFloat16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) values[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) values[i] = fraction === 0 ? sign * Infinity : Number.NaN;
    else values[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}
