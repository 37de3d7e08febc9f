import { afterAll, beforeAll, expect, it } from "vitest";
import { benchmarkKernels } from "../../../src/bench/kernel-benchmark.js";
import { kernelCases } from "../../../src/bench/kernel-cases.js";
import { Kernels } from "../../../src/engine/kernels.js";
import { runCli } from "../cli/run-cli.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";

const shapes = {
  ...{
    rows: 2,
    length: 16,
    hidden: 64,
    intermediate: 128,
    heads: 1,
    embedding: 32,
    vocabulary: 2000,
    slots: 2,
  },
};

describeWithAddon("timing single operators", () => {
  let kernels: Kernels;
  beforeAll(async () => {
    kernels = await Kernels.create({ threads: 1 });
  });
  afterAll(() => kernels?.dispose());

  it.each(kernelCases(shapes, 4).map((each) => [`${each.name} ${each.shape}`, each] as const))(
    "%s has arguments that fit, and work to count",
    async (_, { name, make, flop, bytes }) => {
      const given = await make(kernels);
      const run = kernels[name] as (values: object) => Promise<{ readonly seconds: Float32Array }>;
      const { seconds } = await run.call(kernels, { ...given, repeat: 2 });
      expect(seconds).toHaveLength(2);
      expect(bytes).toBeGreaterThan(0);
      if (flop !== undefined) expect(flop).toBeGreaterThan(0);
    },
  );

  it("covers every operator of Kernels", () => {
    const covered = new Set<string>(kernelCases(shapes, 4).map(({ name }) => name));
    const own = Object.getOwnPropertyNames(Kernels.prototype).filter(
      (name) => !/^(constructor|dispose)$/.test(name),
    );
    // Others are the same operator by another name, or for inspection alone.
    const others = [
      "activation",
      "activationBackward",
      "attentionProbabilities",
      "softmaxCrossEntropy",
      "sampleUniform",
    ];
    expect(own.filter((name) => !covered.has(name)).sort()).toEqual(others.sort());
  });

  it("counts half the bytes where activations are bf16, and as many operations", () => {
    const [wide, narrow] = [kernelCases(shapes, 4), kernelCases(shapes, 2)].map((cases) =>
      cases.find(({ name }) => name === "layerNorm"),
    );
    expect(wide!.bytes).toBe(2 * narrow!.bytes);
    const linear = (activation: 2 | 4) =>
      kernelCases(shapes, activation).find(({ name }) => name === "linear")!;
    expect(linear(2).flop).toBe(linear(4).flop);
    expect(linear(4).flop).toBe(2 * 32 * 64 * 192);
  });

  it("gives a figure for each, as it comes and at the end", async () => {
    const seen: string[] = [];
    const options = {
      modelSize: "small",
      batchSize: 1,
      maxSeqLength: 16,
      threads: 1,
      seconds: 0.01,
    } as const;
    const { operators, info } = await benchmarkKernels({
      ...options,
      filter: "LINEAR",
      onFigure: ({ name }) => seen.push(name),
    });
    expect(info.device).toBe("cpu");
    expect(operators.map(({ name }) => name)).toEqual(seen);
    expect(operators.length).toBe(6);
    for (const { us, gflop_per_s, gb_per_s, call_us, runs } of operators) {
      expect(gflop_per_s).toBeGreaterThan(0);
      expect(gb_per_s).toBeGreaterThan(0);
      // A call is the operator and more.
      expect(call_us).toBeGreaterThan(0.5 * us);
      expect(runs).toBeGreaterThan(1);
    }
    await expect(benchmarkKernels({ ...options, filter: "tea" })).rejects.toMatchObject({ exitCode: 2 });
  });

  it("the command prints a table, or one document", async () => {
    const args = ["bench", "kernels", "--filter", "binary", "--batch-size", "1", "--seq-length", "16"];
    const table = await runCli(...args, "--threads", "1");
    expect(table.stdout).toMatch(
      /^operator +shape +µs +GFLOP\/s +GB\/s +call µs\nbinaryCrossEntropy +16 +[\d.]+ +- /,
    );
    expect(table.stderr).toMatch(/^device cpu, GEMM /);
    const { stdout } = await runCli(...args, "--threads", "1", "--json");
    expect(JSON.parse(stdout).operators).toMatchObject([{ name: "binaryCrossEntropy", gflop_per_s: null }]);
    expect((await runCli("bench", "tea")).code).toBe(2);
  });
});
