import type { Kernels } from "../engine/kernels.js";

/** Shapes of one model and batch, as the operators meet them. */
export interface KernelShapes {
  readonly rows: number;
  readonly length: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly embedding: number;
  readonly vocabulary: number;
  /** Masked positions of a row. */
  readonly slots: number;
}

/** The operators of `Kernels` that take one object and give times. */
export type KernelName = {
  [Name in keyof Kernels]: Kernels[Name] extends (
    values: never,
  ) => Promise<{ readonly seconds: Float32Array }>
    ? Name
    : never;
}[keyof Kernels];

/** One operator at one shape. */
export interface KernelCase {
  readonly name: KernelName;
  /** "2048 x 256 to 1024, gelu" */
  readonly shape: string;
  /** Made when it is the operator's turn, and dropped after it. */
  readonly make: (kernels: Kernels) => object | Promise<object>;
  /** Multiplications and additions of its matrix products; undefined where it has none. */
  readonly flop?: number;
  /** What must be read and written once, however it is done. */
  readonly bytes: number;
  /** The CPU's alone. */
  readonly cpuOnly?: boolean;
}

/**
 * Every operator of `Kernels` at the shapes of a model.
 *
 * @param activation bytes of an activation, 4 or 2; parameters and their gradients have 4, but products read them in the
 * type of the activations
 */
export function kernelCases(shapes: KernelShapes, activation: 2 | 4): KernelCase[] {
  const { rows, length, hidden, intermediate, heads, embedding, vocabulary, slots } = shapes;
  const fill = new Filler();
  const tokens = rows * length;
  const lmRows = rows * slots;
  /** Elements of the optimizer's stretch: far more than any cache holds. */
  const parameters = 1 << 22;
  const batch = { lengths: new Int32Array(rows).fill(length), pitch: length };
  const dropout = { dropout: 0.1, seed: 1, site: 3 };
  const ids = () => Int32Array.from({ length: tokens }, (_, i) => 1000 + ((i * 997) % (vocabulary - 1000)));
  const stream = activation * tokens;

  const gemms = [
    [128, hidden, hidden],
    [128, intermediate, hidden],
    [128, hidden, intermediate],
  ] as const;
  const linears = [
    [hidden, 3 * hidden, "identity"],
    [hidden, hidden, "identity"],
    [hidden, intermediate, "gelu"],
    [intermediate, hidden, "identity"],
  ] as const;
  return [
    ...gemms.map(
      ([m, n, k]): KernelCase => ({
        name: "gemm",
        shape: `${m} x ${n} x ${k}`,
        make: () => ({ m, n, k, a: fill.floats(m * k), b: fill.floats(k * n) }),
        flop: 2 * m * n * k,
        bytes: 4 * (m * k + k * n + m * n),
        cpuOnly: true,
      }),
    ),
    ...linears.map(
      ([from, to, kind]): KernelCase => ({
        name: "linear",
        shape: `${tokens} x ${from} to ${to}${kind === "identity" ? "" : `, ${kind}`}`,
        make: () => ({
          ...{ tokens, in: from, out: to, activation: kind },
          x: fill.floats(tokens * from),
          weight: fill.floats(from * to, 0.05),
          bias: fill.floats(to),
        }),
        flop: 2 * tokens * from * to,
        // What the activation's derivative needs is kept beside the result.
        bytes: activation * (tokens * from + from * to + tokens * to * (kind === "identity" ? 1 : 2)),
      }),
    ),
    {
      name: "linearBackwardData",
      shape: `${tokens} x ${intermediate} to ${hidden}`,
      make: () => ({
        ...{ tokens, in: hidden, out: intermediate },
        weight: fill.floats(hidden * intermediate, 0.05),
        dy: fill.floats(tokens * intermediate),
      }),
      flop: 2 * tokens * hidden * intermediate,
      bytes: activation * (tokens * (hidden + intermediate) + hidden * intermediate),
    },
    {
      name: "linearBackwardWeight",
      shape: `${hidden} x ${intermediate} over ${tokens}`,
      make: () => ({
        ...{ tokens, in: hidden, out: intermediate },
        x: fill.floats(tokens * hidden),
        dy: fill.floats(tokens * intermediate),
      }),
      flop: 2 * tokens * hidden * intermediate,
      // The gradient is added to.
      bytes: activation * tokens * (hidden + intermediate) + 8 * hidden * intermediate,
    },
    {
      // Reads x, writes y and the derivative.
      name: "gelu",
      shape: `${tokens} x ${intermediate}`,
      make: () => ({ x: fill.floats(tokens * intermediate, 3) }),
      bytes: 3 * stream * intermediate,
    },
    {
      name: "geluBackward",
      shape: `${tokens} x ${intermediate}`,
      make: () => ({ dy: fill.floats(tokens * intermediate), aux: fill.floats(tokens * intermediate) }),
      bytes: 3 * stream * intermediate,
    },
    {
      // Reads x, writes y and the normalized x.
      name: "layerNorm",
      shape: `${tokens} x ${hidden}`,
      make: () => ({
        ...{ tokens, width: hidden },
        x: fill.floats(tokens * hidden),
        gamma: ones(hidden),
        beta: fill.floats(hidden),
      }),
      bytes: 3 * stream * hidden,
    },
    {
      name: "layerNormBackward",
      shape: `${tokens} x ${hidden}`,
      make: () => ({
        ...{ tokens, width: hidden },
        dy: fill.floats(tokens * hidden),
        gamma: ones(hidden),
        normalized: fill.floats(tokens * hidden),
        rstd: ones(tokens),
      }),
      bytes: 3 * stream * hidden,
    },
    {
      // Reads x and the residual, writes y and the normalized sum.
      name: "dropoutResidualLayerNorm",
      shape: `${tokens} x ${hidden}`,
      make: () => ({
        ...{ ...batch, ...dropout, width: hidden },
        x: fill.floats(tokens * hidden),
        bias: fill.floats(hidden),
        residual: fill.floats(tokens * hidden),
        gamma: ones(hidden),
        beta: fill.floats(hidden),
      }),
      bytes: 4 * stream * hidden,
    },
    {
      // Reads dy and the normalized sum, writes both gradients.
      name: "dropoutResidualLayerNormBackward",
      shape: `${tokens} x ${hidden}`,
      make: () => ({
        ...{ ...batch, ...dropout, width: hidden },
        dy: fill.floats(tokens * hidden),
        gamma: ones(hidden),
        normalized: fill.floats(tokens * hidden),
        rstd: ones(tokens),
      }),
      bytes: 4 * stream * hidden,
    },
    {
      // Two products of [length, length] with a head's columns.
      name: "attention",
      shape: `${rows} x ${length}, ${heads} heads`,
      make: () => ({ ...batch, ...dropout, heads, width: hidden, qkv: fill.floats(tokens * 3 * hidden) }),
      flop: 4 * rows * length * length * hidden,
      bytes: 4 * stream * hidden,
    },
    {
      // Five of them: the probabilities again, and four gradients.
      name: "attentionBackward",
      shape: `${rows} x ${length}, ${heads} heads`,
      make: async (kernels) => {
        const forward = {
          ...{ ...batch, ...dropout, heads, width: hidden },
          qkv: fill.floats(tokens * 3 * hidden),
        };
        const { context, logSumExp } = await kernels.attention(forward);
        return { ...forward, context, logSumExp, dContext: fill.floats(tokens * hidden) };
      },
      flop: 10 * rows * length * length * hidden,
      bytes: 8 * stream * hidden,
    },
    {
      // Reads the ids' rows, writes y and the normalized sum.
      name: "embedding",
      shape: `${tokens} of ${vocabulary} x ${embedding}`,
      make: () => ({
        ...{ ...batch, ...dropout, width: embedding, vocabulary, types: 2, positions: length },
        ids: ids(),
        segments: new Int32Array(tokens),
        word: fill.floats(vocabulary * embedding),
        tokenType: fill.floats(2 * embedding),
        position: fill.floats(length * embedding),
        gamma: ones(embedding),
        beta: fill.floats(embedding),
      }),
      bytes: (4 * tokens + 2 * stream) * embedding,
    },
    {
      // Reads dy and the normalized sum, adds to the rows of the ids.
      name: "embeddingBackward",
      shape: `${tokens} of ${vocabulary} x ${embedding}`,
      make: () => ({
        ...{ ...batch, ...dropout, width: embedding, vocabulary, types: 2, positions: length },
        ids: ids(),
        segments: new Int32Array(tokens),
        gamma: ones(embedding),
        dy: fill.floats(tokens * embedding),
        normalized: fill.floats(tokens * embedding),
        rstd: ones(tokens),
      }),
      bytes: (8 * tokens + 2 * stream) * embedding,
    },
    {
      // Reads the ids, writes them with masks, and four numbers a slot.
      name: "maskTokens",
      shape: `${rows} x ${length}, ${slots} slots`,
      make: () => ({
        ...{ ...batch, seed: 1, ids: ids(), slotsPerRow: slots, clsId: 101, sepId: 102, maskId: 103 },
        slotCounts: new Int32Array(rows).fill(slots),
      }),
      bytes: 4 * (2 * tokens + 4 * lmRows),
    },
    {
      // Reads ids and samples, writes ids and labels.
      name: "replaceTokens",
      shape: `${rows} x ${length}, ${slots} slots`,
      make: () => ({
        ...{ ...batch, ids: ids(), slotCounts: new Int32Array(rows).fill(slots) },
        slotToken: Int32Array.from(
          { length: lmRows },
          (_, s) => Math.floor(s / slots) * length + (((s % slots) * 5) % length),
        ),
        sampled: new Int32Array(lmRows).fill(7),
      }),
      bytes: 4 * (3 * tokens + 2 * lmRows),
    },
    ...[false, true].map(
      (training): KernelCase => ({
        // Training: logits, both gradients, and a sample of each row.
        name: "languageModelHead",
        shape: `${lmRows} x ${embedding} x ${vocabulary}${training ? ", training" : ""}`,
        make: () => ({
          ...{ rows: lmRows, width: embedding, vocabulary },
          x: fill.floats(lmRows * embedding),
          table: fill.floats(vocabulary * embedding, 0.05),
          bias: fill.floats(vocabulary, 0.1),
          targets: Int32Array.from({ length: lmRows }, (_, i) => (i * 997) % vocabulary),
          ...{ backward: training, sample: training, scale: 1 / lmRows },
        }),
        flop: (training ? 6 : 2) * lmRows * embedding * vocabulary,
        bytes: (activation * (lmRows + vocabulary) + (training ? 8 * vocabulary : 0)) * embedding,
      }),
    ),
    {
      name: "binaryCrossEntropy",
      shape: `${tokens}`,
      make: () => ({ tokens, logits: fill.floats(tokens, 3), labels: new Float32Array(tokens) }),
      bytes: 4 * 5 * tokens,
    },
    {
      // The norm reads the gradient; Adam reads four arrays and writes three.
      name: "adam",
      shape: `${parameters}`,
      make: () => ({
        ...{ size: parameters, learningRate: 1e-4, decay: 0.01 },
        parameters: fill.floats(parameters, 0.02),
        gradient: fill.floats(parameters, 0.01),
        m: fill.floats(parameters, 0.01),
        v: ones(parameters),
      }),
      bytes: 8 * 4 * parameters,
    },
  ];
}

/** Values around 0 of a size that activations have; the same in every run. */
class Filler {
  #state = 1;

  floats(count: number, scale = 1): Float32Array {
    const array = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      array[i] = scale * (this.#state / 2 ** 31 - 1);
    }
    return array;
  }
}

function ones(count: number): Float32Array {
  return new Float32Array(count).fill(1);
}
