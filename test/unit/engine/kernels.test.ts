import { afterAll, beforeAll, expect, it } from "vitest";
import { Kernels } from "../../../src/engine/kernels.js";
import { describeWithAddon } from "./describe-with-addon.js";

/** Small, reproducible values around zero. */
function values(count: number, salt = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(1 + i * 1.7 + salt * 3.1));
}

/** A product in double precision; `b` is [k, n]. */
function product(a: Float32Array, b: Float32Array, m: number, n: number, k: number): number[] {
  return Array.from({ length: m * n }, (_, at) => {
    const row = Math.floor(at / n);
    let sum = 0;
    for (let i = 0; i < k; i++) sum += (a[row * k + i] ?? 0) * (b[i * n + (at % n)] ?? 0);
    return sum;
  });
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? 0));
    if (!(difference <= tolerance * (1 + Math.abs(expected[i] ?? 0)))) {
      expect.fail(`[${i}] is ${actual[i]}, wanted ${expected[i]}`);
    }
  }
}

/** erf to double precision by its Taylor series; enough below |x| = 4. */
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
const gelu = (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2));

describeWithAddon("Kernels", () => {
  let kernels: Kernels;
  beforeAll(async () => {
    kernels = await Kernels.create({ threads: 2 });
  });
  afterAll(() => kernels?.dispose());

  it("gemm multiplies, transposes and adds", async () => {
    const [m, n, k] = [5, 7, 9];
    const a = values(m * k);
    const b = values(k * n, 2);
    const expected = product(a, b, m, n, k);
    expectClose((await kernels.gemm({ m, n, k, a, b })).c, expected);
    const transposed = Float32Array.from(
      { length: n * k },
      (_, i) => b[(i % k) * n + Math.floor(i / k)] ?? 0,
    );
    const c = values(m * n, 3);
    const result = await kernels.gemm({
      m,
      n,
      k,
      a,
      b: transposed,
      transposeB: true,
      c,
      beta: 2,
      alpha: 0.5,
    });
    expectClose(
      result.c,
      expected.map((value, i) => 0.5 * value + 2 * (c[i] ?? 0)),
    );
  });

  it("linear applies weight, bias and GELU; its backward passes give gradients", async () => {
    const shape = { tokens: 6, in: 8, out: 10 };
    const x = values(48);
    const weight = values(80, 2);
    const bias = values(10, 3);
    const { y } = await kernels.linear({ ...shape, x, weight, bias, activation: "gelu" });
    expectClose(
      y,
      product(x, weight, 6, 10, 8).map((value, i) => gelu(value + (bias[i % 10] ?? 0))),
    );
    const dy = values(60, 4);
    const data = await kernels.linearBackwardData({ ...shape, dy, weight });
    const turned = Float32Array.from({ length: 80 }, (_, i) => weight[(i % 8) * 10 + Math.floor(i / 8)] ?? 0);
    expectClose(data.dx, product(dy, turned, 6, 8, 10));
    const { dWeight, dBias } = await kernels.linearBackwardWeight({ ...shape, x, dy });
    const xTurned = Float32Array.from({ length: 48 }, (_, i) => x[(i % 6) * 8 + Math.floor(i / 6)] ?? 0);
    expectClose(dWeight, product(xTurned, dy, 8, 10, 6));
    expectClose(dBias, product(new Float32Array(6).fill(1), dy, 1, 10, 6));
  });

  it("gelu and its derivative follow the formula", async () => {
    const x = values(200);
    const { y, aux } = await kernels.gelu({ x });
    expectClose(y, Array.from(x, gelu));
    const { dx } = await kernels.geluBackward({ dy: new Float32Array(200).fill(1), aux });
    expectClose(
      dx,
      Array.from(x, (value) => (gelu(value + 1e-5) - gelu(value - 1e-5)) / 2e-5),
      1e-4,
    );
    const approximate = await kernels.gelu({ x, approximate: true });
    expectClose(
      approximate.y,
      Array.from(x, (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))),
    );
  });

  it("layerNorm gives rows of mean 0 and variance 1; a constant gradient has no effect on x", async () => {
    const [tokens, width] = [4, 32];
    const ones = new Float32Array(width).fill(1);
    const zeros = new Float32Array(width);
    const x = values(tokens * width);
    const { y, normalized, rstd } = await kernels.layerNorm({ tokens, width, x, gamma: ones, beta: zeros });
    for (let t = 0; t < tokens; t++) {
      const row = Array.from(y.subarray(t * width, (t + 1) * width));
      expect(Math.abs(row.reduce((a, b) => a + b) / width)).toBeLessThan(1e-6);
      expect(row.reduce((a, b) => a + b * b, 0) / width).toBeCloseTo(1, 4);
    }
    const dy = new Float32Array(tokens * width).fill(3);
    const backward = await kernels.layerNormBackward({ tokens, width, dy, gamma: ones, normalized, rstd });
    expectClose(backward.dx, new Float32Array(tokens * width), 1e-5);
    expectClose(backward.dBeta, new Float32Array(width).fill(3 * tokens));
  });

  it("dropout drops its share, the same for the same seed and step, and leaves the residual", async () => {
    const shape = { lengths: Int32Array.of(64), pitch: 64, width: 64 };
    const zeros = new Float32Array(64 * 64);
    const common = {
      ...shape,
      x: new Float32Array(64 * 64).fill(1),
      residual: zeros,
      gamma: new Float32Array(64).fill(1),
      beta: new Float32Array(64),
      dropout: 0.25,
      seed: 5,
    };
    const first = await kernels.dropoutResidualLayerNorm({ ...common, step: 1 });
    const again = await kernels.dropoutResidualLayerNorm({ ...common, step: 1 });
    const other = await kernels.dropoutResidualLayerNorm({ ...common, step: 2 });
    expect(again.y).toEqual(first.y);
    expect(other.y).not.toEqual(first.y);
    const dropped = first.y.filter((value) => value < 0).length / first.y.length;
    expect(Math.abs(dropped - 0.25)).toBeLessThan(0.03);
  });

  it("attention is softmax(q k / sqrt(D)) v within each row", async () => {
    const shape = { lengths: Int32Array.of(3, 0, 5), pitch: 6, heads: 2, width: 8 };
    const tokens = 8;
    const qkv = values(tokens * 24);
    const { context, logSumExp } = await kernels.attention({ ...shape, qkv });
    const at = (t: number, part: number, column: number) => qkv[t * 24 + part * 8 + column] ?? 0;
    const expected: number[] = [];
    for (const [first, count] of [
      [0, 3],
      [3, 5],
    ] as const) {
      for (let i = first; i < first + count; i++) {
        for (let column = 0; column < 8; column++) {
          const head = Math.floor(column / 4);
          let sum = 0;
          let value = 0;
          for (let j = first; j < first + count; j++) {
            let score = 0;
            for (let d = 0; d < 4; d++) score += at(i, 0, head * 4 + d) * at(j, 1, head * 4 + d);
            const weight = Math.exp(score / 2);
            sum += weight;
            value += weight * at(j, 2, column);
          }
          expected.push(value / sum);
        }
      }
    }
    expectClose(context, expected);
    const dContext = values(tokens * 8, 7);
    const { dQkv } = await kernels.attentionBackward({ ...shape, qkv, context, logSumExp, dContext });
    // Along any direction the gradient is the derivative of <dContext, context>.
    const direction = values(tokens * 24, 9);
    const loss = async (step: number) => {
      const moved = await kernels.attention({
        ...shape,
        qkv: qkv.map((v, i) => v + step * (direction[i] ?? 0)),
      });
      return moved.context.reduce((sum, value, i) => sum + value * (dContext[i] ?? 0), 0);
    };
    const slope = ((await loss(1e-2)) - (await loss(-1e-2))) / 2e-2;
    expect(dQkv.reduce((sum, value, i) => sum + value * (direction[i] ?? 0), 0)).toBeCloseTo(slope, 2);
    const { probabilities } = await kernels.attentionProbabilities({ ...shape, qkv });
    expect(probabilities.length).toBe(3 * 2 * 6 * 6);
    expect(probabilities.subarray(0, 6).reduce((a, b) => a + b)).toBeCloseTo(1, 5);
  });

  it("embedding adds three tables; its backward pass collects repeated ids", async () => {
    const shape = {
      lengths: Int32Array.of(2, 1),
      pitch: 2,
      width: 16,
      vocabulary: 5,
      types: 2,
      positions: 4,
      ids: Int32Array.of(1, 4, 1),
      segments: Int32Array.of(0, 1, 0),
      gamma: new Float32Array(16).fill(1),
    };
    const tables = {
      word: values(80),
      tokenType: values(32, 2),
      position: values(64, 3),
      beta: values(16, 4),
    };
    const { y, normalized, rstd } = await kernels.embedding({ ...shape, ...tables });
    const sums = Array.from(
      { length: 16 },
      (_, c) => (tables.word[64 + c] ?? 0) + (tables.tokenType[16 + c] ?? 0) + (tables.position[16 + c] ?? 0),
    );
    const mean = sums.reduce((a, b) => a + b) / 16;
    const deviation = Math.sqrt(sums.reduce((a, b) => a + (b - mean) ** 2, 0) / 16);
    expectClose(
      y.subarray(16, 32),
      sums.map((value, c) => (value - mean) / deviation + (tables.beta[c] ?? 0)),
    );
    const dy = values(48, 5);
    const gradient = await kernels.embeddingBackward({ ...shape, dy, normalized, rstd });
    // Tokens 0 and 2 share word 1, type 0 and position 0.
    expectClose(gradient.dWord.subarray(16, 32), gradient.dPosition.subarray(0, 16));
    expectClose(gradient.dWord.subarray(64, 80), gradient.dTokenType.subarray(16, 32));
    expect(gradient.dWord.subarray(0, 16)).toEqual(new Float32Array(16));
  });

  it("the language-model head gives loss, gradient, argmax and the Gumbel sample of given uniforms", async () => {
    const [rows, width, vocabulary] = [3, 16, 37];
    const x = values(rows * width);
    const table = values(vocabulary * width, 2);
    const bias = values(vocabulary, 3);
    const targets = Int32Array.of(4, 36, 0);
    const uniform = Float32Array.from({ length: rows * vocabulary }, (_, i) => ((i * 7919) % 1009) / 1009);
    const result = await kernels.languageModelHead({
      ...{ rows, width, vocabulary, x, table, bias, targets, uniform },
      logits: true,
      sample: true,
      backward: true,
    });
    const turned = Float32Array.from(
      { length: width * vocabulary },
      (_, i) => table[(i % vocabulary) * width + Math.floor(i / vocabulary)] ?? 0,
    );
    const logits = product(x, turned, rows, vocabulary, width).map((v, i) => v + (bias[i % vocabulary] ?? 0));
    expectClose(result.logits ?? [], logits);
    let loss = 0;
    const dBias = new Float64Array(vocabulary);
    for (let row = 0; row < rows; row++) {
      const z = logits.slice(row * vocabulary, (row + 1) * vocabulary);
      const logSumExp = Math.log(z.reduce((sum, value) => sum + Math.exp(value), 0));
      loss += logSumExp - (z[targets[row] ?? 0] ?? 0);
      const noisy = z.map((value, v) => {
        const u = uniform[row * vocabulary + v] ?? 0;
        return value - Math.log(-Math.log(u + 1e-9) + 1e-9);
      });
      expect(result.sampled?.[row]).toBe(noisy.indexOf(Math.max(...noisy)));
      expect(result.predictions[row]).toBe(z.indexOf(Math.max(...z)));
      expect(result.logSumExp[row]).toBeCloseTo(logSumExp, 4);
      for (let v = 0; v < vocabulary; v++) {
        dBias[v] = (dBias[v] ?? 0) + Math.exp((z[v] ?? 0) - logSumExp) - (v === targets[row] ? 1 : 0);
      }
    }
    expect(result.loss).toBeCloseTo(loss, 4);
    expectClose(result.dBias ?? [], dBias);
    const alone = await kernels.softmaxCrossEntropy({ rows, width, vocabulary, x, table, bias, targets });
    expect(alone.loss).toBe(result.loss);
    expect(alone.dx).toBeUndefined();
  });

  it("masking and replacing put ids where the draws say", async () => {
    const shape = { lengths: Int32Array.of(5, 4), pitch: 6 };
    const ids = Int32Array.of(2, 10, 11, 12, 3, 2, 20, 21, 3);
    const slots = { slotCounts: Int32Array.of(2, 1), slotsPerRow: 2 };
    const masked = await kernels.maskTokens({
      ...shape,
      ...slots,
      ids,
      clsId: 2,
      sepId: 3,
      maskId: 4,
      positions: Int32Array.of(1, 3, 2, 0),
      replaceUniform: Float32Array.of(0.1, 0.9, 0.2, 0),
    });
    expect([...masked.maskedIds]).toEqual([2, 4, 11, 12, 3, 2, 20, 4, 3]);
    expect([...masked.slotToken]).toEqual([1, 3, 7]);
    expect([...masked.slotTarget]).toEqual([10, 12, 21]);
    const replaced = await kernels.replaceTokens({
      ...shape,
      ids,
      slotCounts: slots.slotCounts,
      slotToken: masked.slotToken,
      sampled: Int32Array.of(30, 12, 31),
    });
    expect([...replaced.replacedIds]).toEqual([2, 30, 11, 12, 3, 2, 20, 31, 3]);
    expect([...replaced.labels]).toEqual([0, 1, 0, 0, 0, 0, 0, 1, 0]);
  });

  it("uniform samples stay inside the vocabulary and off the true id where that is forbidden", async () => {
    const slots = 200;
    const { sampled } = await kernels.sampleUniform({
      slots,
      vocabulary: 3,
      slotCoordinate: Int32Array.from({ length: slots }, (_, i) => i),
      slotTarget: new Int32Array(slots).fill(1),
      disallowCorrect: true,
      seed: 3,
    });
    expect(new Set(sampled)).toEqual(new Set([0, 2]));
  });

  it("binaryCrossEntropy gives loss, gradient and the confusion counts", async () => {
    const logits = Float32Array.of(2, -1, 0.5, -3);
    const labels = Float32Array.of(1, 1, 0, 0);
    const result = await kernels.binaryCrossEntropy({ tokens: 4, logits, labels });
    const loss = Array.from(
      logits,
      (z, i) => Math.max(z, 0) - z * (labels[i] ?? 0) + Math.log1p(Math.exp(-Math.abs(z))),
    );
    expectClose(result.loss, loss);
    expectClose(
      result.dLogits,
      Array.from(logits, (z, i) => 1 / (1 + Math.exp(-z)) - (labels[i] ?? 0)),
    );
    expect(result).toMatchObject({ truePositive: 1, falseNegative: 1, falsePositive: 1, trueNegative: 1 });
    expect(result.lossSum).toBeCloseTo(
      loss.reduce((a, b) => a + b),
      5,
    );
  });

  it("adam clips, averages, decays, and refuses what is not finite", async () => {
    const size = 3;
    const start = {
      parameters: Float32Array.of(1, -2, 3),
      m: new Float32Array(3),
      v: new Float32Array(3),
    };
    const gradient = Float32Array.of(3, 0, 4);
    const result = await kernels.adam({ size, ...start, gradient, learningRate: 0.1, decay: 0.01 });
    expect(result.gradientNorm).toBeCloseTo(5, 6);
    expect(result.finite).toBe(true);
    const expected = Array.from(start.parameters, (w, i) => {
      const g = (gradient[i] ?? 0) / 5;
      return w - 0.1 * ((0.1 * g) / (Math.sqrt(0.001 * g * g) + 1e-6) + 0.01 * w);
    });
    expectClose(result.parameters, expected);
    expectClose(result.m, [0.06, 0, 0.08]);
    const broken = Float32Array.of(1, Number.NaN, 1);
    const refused = await kernels.adam({ size, ...start, gradient: broken, learningRate: 0.1 });
    expect(refused.finite).toBe(false);
    expect(refused.parameters).toEqual(start.parameters);
  });

  it("repeats and times an operator without adding up its results", async () => {
    const shape = { tokens: 4, in: 4, out: 4, x: values(16), dy: values(16, 2) };
    const once = await kernels.linearBackwardWeight(shape);
    const often = await kernels.linearBackwardWeight({ ...shape, repeat: 5 });
    expect(often.seconds.length).toBe(5);
    expect(Math.min(...often.seconds)).toBeGreaterThan(0);
    expect(often.dWeight).toEqual(once.dWeight);
  });

  it("gives the same bits on one thread", async () => {
    const single = await Kernels.create({ threads: 1 });
    const values1 = { tokens: 700, in: 64, out: 96, x: values(44800), dy: values(67200, 2) };
    const [one, two] = await Promise.all([
      single.linearBackwardWeight(values1),
      kernels.linearBackwardWeight(values1),
    ]);
    expect(one.dWeight).toEqual(two.dWeight);
    await single.dispose();
  });

  it.each([
    [
      "a short array",
      () => kernels.gemm({ m: 2, n: 2, k: 2, a: values(3), b: values(4) }),
      "ERR_ELECTRA_SHAPE",
    ],
    [
      "a missing array",
      () => kernels.layerNorm({ tokens: 1, width: 4, x: values(4), gamma: values(4) } as never),
      "ERR_ELECTRA_ARGUMENT",
    ],
    [
      "a negative count",
      () => kernels.gemm({ m: -1, n: 2, k: 2, a: values(0), b: values(4) }),
      "ERR_ELECTRA_ARGUMENT",
    ],
    [
      "integers where floats belong",
      () => kernels.gelu({ x: new Int32Array(4) as never }),
      "ERR_ELECTRA_ARGUMENT",
    ],
    [
      "an id beyond the vocabulary",
      () =>
        kernels.languageModelHead({
          ...{ rows: 1, width: 2, vocabulary: 2, x: values(2), table: values(4), bias: values(2) },
          targets: Int32Array.of(2),
        }),
      "ERR_ELECTRA_ARGUMENT",
    ],
    [
      "heads that do not divide the width",
      () => kernels.attention({ lengths: Int32Array.of(1), pitch: 1, heads: 3, width: 4, qkv: values(12) }),
      "ERR_ELECTRA_SHAPE",
    ],
  ] as const)("refuses %s", async (_, call, code) => {
    await expect(call()).rejects.toMatchObject({ name: "ElectraError", code });
  });
});
