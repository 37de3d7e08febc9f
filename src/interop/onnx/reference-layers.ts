import { ElectraError } from "../../errors.js";
import type { ExportWeights } from "../export-weights.js";

/** Numbers of one token or one text. */
export type Vector = Float64Array | Float32Array;

/** y = x·K + b with K [in, out], in float64. */
export class Dense {
  readonly #kernel: Float32Array;
  readonly #bias: Float32Array;

  constructor(kernel: Float32Array, bias: Float32Array) {
    this.#kernel = kernel;
    this.#bias = bias;
  }

  /** `<layer>/kernel` and `<layer>/bias` */
  static async read(weights: ExportWeights, layer: string): Promise<Dense> {
    return new Dense(await weights.read(`${layer}/kernel`), await weights.read(`${layer}/bias`));
  }

  apply(x: Vector): Float64Array {
    const sums = Float64Array.from(this.#bias);
    const kernel = this.#kernel;
    for (let i = 0, at = 0; i < x.length; i++) {
      for (let out = 0; out < sums.length; out++, at++) sums[out]! += x[i]! * kernel[at]!;
    }
    return sums;
  }
}

/** x·Tᵀ + b: the products of a vector with the rows of a table [rows, width]. */
export function rowProducts(table: Float32Array, bias: Float32Array, x: Vector): Float64Array {
  return Float64Array.from(bias, (start, row) => {
    let sum = start;
    for (let i = 0, at = row * x.length; i < x.length; i++, at++) sum += table[at]! * x[i]!;
    return sum;
  });
}

/** `hidden_act` of each number, see `activation` of the graph. */
export function activate(x: Float64Array, name: string): Float64Array {
  switch (name) {
    case "gelu":
      return x.map((value) => (value / 2) * (1 + erf(value / Math.SQRT2)));
    case "gelu_new":
    case "gelu_tanh":
      return x.map(
        (value) => (value / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3))),
      );
    case "relu":
      return x.map((value) => Math.max(0, value));
    default:
      throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `hidden_act is "${name}", which is not known`);
  }
}

/** LayerNorm of one vector. */
export function normalize(x: Float64Array, scale: Vector, shift: Vector, epsilon: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const factor = 1 / Math.sqrt(variance + epsilon);
  return x.map((value, i) => (value - mean) * factor * scale[i]! + shift[i]!);
}

/** log(softmax(x)) */
export function logSoftmax(x: readonly number[]): number[] {
  const highest = Math.max(...x);
  const log = Math.log(x.reduce((sum, value) => sum + Math.exp(value - highest), 0));
  return x.map((value) => value - highest - log);
}

/**
 * The error function to 1e-15: its series below 3 (Abramowitz & Stegun 7.1.6), beyond that the continued fraction of its
 * complement (7.1.14).
 */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 3) {
    let term = (2 * z * Math.exp(-z * z)) / Math.sqrt(Math.PI);
    let sum = 0;
    for (let n = 1; term > 1e-17; n++) {
      sum += term;
      term *= (2 * z * z) / (2 * n + 1);
    }
    return Math.sign(x) * sum;
  }
  let fraction = z;
  for (let n = 60; n >= 1; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (fraction * Math.sqrt(Math.PI)));
}
