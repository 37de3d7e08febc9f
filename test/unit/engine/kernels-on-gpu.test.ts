import { afterAll, beforeAll, expect, it } from "vitest";
import { Kernels } from "../../../src/engine/kernels.js";
import { describeOnEmulator } from "./emulated-device.js";

// The operators' own tests are native. Here: that arguments reach another device in the form it computes with, and come back.

/** Small, reproducible values around zero that bf16 holds exactly, so that both devices are given the same. */
function values(count: number, salt = 1): Float32Array {
  return Float32Array.from(
    { length: count },
    (_, i) => Math.round(64 * Math.sin(1 + i * 1.7 + salt * 3.1)) / 64,
  );
}

const largest = (array: Float32Array): number =>
  array.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

const rows = { lengths: Int32Array.of(3, 0, 5), pitch: 6 };
const dropout = { dropout: 0.1, seed: 3, site: 2 };
const linear = { tokens: 8, in: 16, out: 24 };
const slots = {
  ...rows,
  ids: Int32Array.from({ length: 8 }, (_, i) => 10 + i),
  slotCounts: Int32Array.of(1, 0, 2),
};
const normed = { tokens: 8, width: 16, gamma: values(16, 4) };
const embedded = {
  ...{ ...rows, ...dropout, width: 16, vocabulary: 5, types: 2, positions: 6 },
  ids: Int32Array.of(1, 4, 1, 0, 0, 2, 3, 1),
  segments: Int32Array.of(0, 1, 0, 0, 0, 1, 1, 0),
  gamma: values(16, 4),
};

/** Each operator with arguments; what is not listed is compared on both devices. `skip`: the device's own affair. */
const calls: readonly (readonly [
  name: string,
  run: (kernels: Kernels) => Promise<object>,
  skip?: readonly string[],
])[] = [
  [
    "linear",
    (k) =>
      k.linear({
        ...linear,
        x: values(128),
        weight: values(384, 2),
        bias: values(24, 3),
        activation: "gelu",
      }),
    ["aux"],
  ],
  ["linearBackwardData", (k) => k.linearBackwardData({ ...linear, dy: values(192), weight: values(384, 2) })],
  ["linearBackwardWeight", (k) => k.linearBackwardWeight({ ...linear, x: values(128), dy: values(192, 2) })],
  ["gelu", (k) => k.gelu({ x: values(128) }), ["aux"]],
  ["layerNorm", (k) => k.layerNorm({ ...normed, x: values(128), beta: values(16, 5) })],
  [
    "layerNormBackward",
    (k) =>
      k.layerNormBackward({ ...normed, dy: values(128), normalized: values(128, 2), rstd: values(8, 3) }),
  ],
  [
    "dropoutResidualLayerNorm",
    (k) =>
      k.dropoutResidualLayerNorm({
        ...{ ...rows, ...dropout, width: 16, x: values(128), bias: values(16, 2), residual: values(128, 3) },
        ...{ gamma: values(16, 4), beta: values(16, 5) },
      }),
  ],
  [
    "dropoutResidualLayerNormBackward",
    (k) =>
      k.dropoutResidualLayerNormBackward({
        ...{ ...rows, ...dropout, width: 16, dy: values(128), gamma: values(16, 4) },
        ...{ normalized: values(128, 2), rstd: values(8, 3) },
      }),
  ],
  ["attention", (k) => k.attention({ ...rows, ...dropout, heads: 2, width: 16, qkv: values(384) })],
  [
    "attentionBackward",
    (k) =>
      k.attentionBackward({
        ...{ ...rows, heads: 2, width: 16, qkv: values(384), context: values(128, 2) },
        ...{ logSumExp: new Float32Array(16).fill(2), dContext: values(128, 3) },
      }),
  ],
  [
    "attentionProbabilities",
    (k) => k.attentionProbabilities({ ...rows, heads: 2, width: 16, qkv: values(384) }),
  ],
  [
    "embedding",
    (k) =>
      k.embedding({
        ...{
          ...embedded,
          word: values(80),
          tokenType: values(32, 2),
          position: values(96, 3),
          beta: values(16),
        },
      }),
  ],
  [
    "embeddingBackward",
    (k) =>
      k.embeddingBackward({ ...embedded, dy: values(128), normalized: values(128, 2), rstd: values(8, 3) }),
  ],
  [
    "languageModelHead",
    (k) =>
      k.languageModelHead({
        ...{ rows: 3, width: 16, vocabulary: 37, x: values(48), table: values(592, 2), bias: values(37, 3) },
        ...{ targets: Int32Array.of(4, 36, 0), weights: Float32Array.of(1, 0.5, 0), scale: 0.5 },
        ...{ backward: true, logits: true, sample: true, seed: 3 },
      }),
  ],
  ["maskTokens", (k) => k.maskTokens({ ...slots, slotsPerRow: 3, clsId: 1, sepId: 2, maskId: 3, seed: 4 })],
  [
    "replaceTokens",
    (k) => k.replaceTokens({ ...slots, slotToken: Int32Array.of(1, 3, 6), sampled: Int32Array.of(7, 14, 7) }),
  ],
  [
    "sampleUniform",
    (k) =>
      k.sampleUniform({
        ...{
          slots: 3,
          vocabulary: 37,
          slotCoordinate: Int32Array.of(0, 5, 9),
          slotTarget: Int32Array.of(1, 2, 3),
        },
        seed: 5,
      }),
  ],
  [
    "binaryCrossEntropy",
    (k) =>
      k.binaryCrossEntropy({
        tokens: 10,
        logits: values(10),
        labels: values(10, 2).map((v) => (v > 0 ? 1 : 0)),
      }),
  ],
  [
    "adam",
    (k) =>
      k.adam({
        ...{ size: 3000, parameters: values(3000), gradient: values(3000, 2), m: values(3000, 3) },
        ...{ v: values(3000, 4).map(Math.abs), learningRate: 1e-3, decay: 0.01 },
      }),
  ],
];

describeOnEmulator("Kernels on a GPU", () => {
  const devices = new Map<string, Kernels>();
  const on = (name: string): Kernels => devices.get(name)!;
  beforeAll(async () => {
    devices.set("cpu", await Kernels.create({ device: "cpu", threads: 1 }));
    for (const precision of ["f32", "bf16"] as const) {
      devices.set(precision, await Kernels.create({ device: "emulated", precision }));
    }
  });
  afterAll(async () => {
    for (const kernels of devices.values()) await kernels.dispose();
  });

  it("say what they compute on", () => {
    expect(on("bf16").info).toMatchObject({ device: "cuda:0 emulated", precision: "bfloat16", warnings: [] });
    expect(on("f32").info.precision).toBe("float32");
  });

  // A result in bf16 is off by up to 2^-8 of itself, and so are one or two of the things that it is made from.
  const cases = calls.flatMap(([name, run, skip]) => [
    { name, run, skip, precision: "f32", tolerance: 4e-6 },
    { name, run, skip, precision: "bf16", tolerance: 2 ** -6 },
  ]);
  it.each(cases)(
    "$name in $precision gives what the CPU gives",
    async ({ run, skip = [], precision, tolerance }) => {
      const expected = (await run(on("cpu"))) as Record<string, Float32Array | Int32Array | number | boolean>;
      const actual = (await run(on(precision))) as typeof expected;
      expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
      for (const [key, wanted] of Object.entries(expected)) {
        if (key === "seconds" || skip.includes(key)) continue;
        const got = actual[key];
        if (wanted instanceof Float32Array) {
          // Column sums of dx cancel, what its elements were rounded by does not.
          const size = key === "dBiasOfInput" ? 3 * largest(expected["dx"] as Float32Array) : largest(wanted);
          const difference = (got as Float32Array).reduce(
            (most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)),
            0,
          );
          expect(difference, key).toBeLessThanOrEqual(tolerance * size);
        } else if (typeof wanted === "number") {
          expect(Math.abs((got as number) - wanted), key).toBeLessThanOrEqual(tolerance * Math.abs(wanted));
        } else {
          expect(got, key).toEqual(wanted);
        }
      }
    },
  );

  it("give a time for each repetition, whatever shares one look at the clock", async () => {
    const { seconds, dBias } = await on("f32").linearBackwardWeight({
      ...{ ...linear, x: values(128), dy: new Float32Array(192).fill(1), repeat: 2, burst: 3 },
    });
    expect(seconds).toHaveLength(2);
    expect([...seconds].every((time) => time > 0)).toBe(true);
    // Sums are cleared before each repetition and hold all runs of a burst.
    expect(dBias[0]).toBe(3 * 8);
  });

  it("leave the CPU's own product to the CPU", async () => {
    const product = { m: 1, n: 1, k: 1, a: Float32Array.of(1), b: Float32Array.of(1) };
    await expect(on("f32").gemm(product)).rejects.toMatchObject({
      code: "ERR_ELECTRA_ARGUMENT",
      hint: expect.stringContaining("linear"),
    });
  });
});
