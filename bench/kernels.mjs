// Speed of single operators at the shapes of ELECTRA-Small: a batch of 16 rows of 128 tokens.
//
//   node bench/kernels.mjs [--filter linear] [--threads 2] [--gemm auto|onednn|built-in] [--isa auto|avx512|avx2|baseline]
//                          [--seconds 1] [--json]
//
// The package `benchmark` decides how often each operator is called, in `--seconds` at least. The rates are of the operator
// alone, from the median of the times that the engine measured; "call" is what a program waits for: queue, copies and
// result included. GFLOP/s count the products of matrices, GB/s what must be read and written once. `gemm` is a product on
// one thread, whatever --threads says. Needs the compiled package (npm run build, npm run build:native).
import { parseArgs } from "node:util";
import Benchmark from "benchmark";

const dist = process.env.ELECTRA_DIST ?? new URL("../dist/", import.meta.url).href;
const load = (name) => import(new URL(`${name}.js`, dist.endsWith("/") ? dist : `${dist}/`).href);
const { Kernels } = await load("engine/kernels");

const { values } = parseArgs({
  options: {
    filter: { type: "string", default: "" },
    threads: { type: "string" },
    gemm: { type: "string", default: "auto" },
    isa: { type: "string", default: "auto" },
    seconds: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});

const small = {
  rows: 16,
  length: 128,
  hidden: 256,
  intermediate: 1024,
  heads: 4,
  embedding: 128,
  vocabulary: 30522,
  slots: 19,
};
const { rows, length, hidden, intermediate, heads, embedding, vocabulary } = small;
const tokens = rows * length;
const lmRows = rows * small.slots;
/** Elements of the optimizer's stretch: far more than any cache holds. */
const parameters = 1 << 22;
const batch = { lengths: new Int32Array(rows).fill(length), pitch: length };
const dropout = { dropout: 0.1, seed: 1, site: 3 };

let state = 1;
/** Values around 0 of a size that activations have; the same in every run. */
function floats(count, scale = 1) {
  const array = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    array[i] = scale * (state / 2 ** 31 - 1);
  }
  return array;
}
const ones = (count) => new Float32Array(count).fill(1);

function linearArguments(from, to) {
  return { tokens, in: from, out: to, weight: floats(from * to, 0.05) };
}

/** Name, arguments made when it is that operator's turn, and the work in FLOP or in bytes. */
const operators = [
  ...[
    [128, hidden, hidden],
    [128, intermediate, hidden],
    [128, hidden, intermediate],
  ].map(([m, n, k]) => ({
    name: `gemm ${m}x${n}x${k}`,
    operator: "gemm",
    make: () => ({ m, n, k, a: floats(m * k), b: floats(k * n) }),
    flop: 2 * m * n * k,
  })),
  ...[
    [hidden, 3 * hidden, "identity"],
    [hidden, hidden, "identity"],
    [hidden, intermediate, "gelu"],
    [intermediate, hidden, "identity"],
  ].map(([from, to, activation]) => ({
    name: `linear ${from} to ${to}${activation === "identity" ? "" : ` ${activation}`}`,
    operator: "linear",
    make: () => ({ ...linearArguments(from, to), x: floats(tokens * from), bias: floats(to), activation }),
    flop: 2 * tokens * from * to,
  })),
  {
    name: `linearBackwardData ${hidden} to ${intermediate}`,
    operator: "linearBackwardData",
    make: () => ({ ...linearArguments(hidden, intermediate), dy: floats(tokens * intermediate) }),
    flop: 2 * tokens * hidden * intermediate,
  },
  {
    name: `linearBackwardWeight ${hidden} to ${intermediate}`,
    operator: "linearBackwardWeight",
    make: () => ({
      tokens,
      in: hidden,
      out: intermediate,
      x: floats(tokens * hidden),
      dy: floats(tokens * intermediate),
    }),
    flop: 2 * tokens * hidden * intermediate,
  },
  {
    // Reads x, writes y and the derivative.
    name: `gelu ${tokens}x${intermediate}`,
    operator: "gelu",
    make: () => ({ x: floats(tokens * intermediate, 3) }),
    bytes: 3 * 4 * tokens * intermediate,
  },
  {
    // Reads x, writes y and the normalized x.
    name: `layerNorm ${tokens}x${hidden}`,
    operator: "layerNorm",
    make: () => ({
      tokens,
      width: hidden,
      x: floats(tokens * hidden),
      gamma: ones(hidden),
      beta: floats(hidden),
    }),
    bytes: 3 * 4 * tokens * hidden,
  },
  {
    // Reads x and the residual, writes y and the normalized sum.
    name: `dropoutResidualLayerNorm ${tokens}x${hidden}`,
    operator: "dropoutResidualLayerNorm",
    make: () => ({
      ...batch,
      ...dropout,
      width: hidden,
      x: floats(tokens * hidden),
      bias: floats(hidden),
      residual: floats(tokens * hidden),
      gamma: ones(hidden),
      beta: floats(hidden),
    }),
    bytes: 4 * 4 * tokens * hidden,
  },
  {
    // Two products of [length, length] with a head's columns.
    name: `attention ${rows}x${length}, ${heads} heads`,
    operator: "attention",
    make: () => ({ ...batch, ...dropout, heads, width: hidden, qkv: floats(tokens * 3 * hidden) }),
    flop: 4 * rows * length * length * hidden,
  },
  {
    // Five of them: the probabilities again, and four gradients.
    name: `attentionBackward ${rows}x${length}, ${heads} heads`,
    operator: "attentionBackward",
    make: async (kernels) => {
      const forward = { ...batch, ...dropout, heads, width: hidden, qkv: floats(tokens * 3 * hidden) };
      const { context, logSumExp } = await kernels.attention(forward);
      return { ...forward, context, logSumExp, dContext: floats(tokens * hidden) };
    },
    flop: 10 * rows * length * length * hidden,
  },
  ...[false, true].map((training) => ({
    // Training: logits, both gradients, and a sample of each row.
    name: `languageModelHead ${lmRows}x${embedding}x${vocabulary}${training ? " training" : ""}`,
    operator: "languageModelHead",
    make: () => ({
      rows: lmRows,
      width: embedding,
      vocabulary,
      x: floats(lmRows * embedding),
      table: floats(vocabulary * embedding, 0.05),
      bias: floats(vocabulary, 0.1),
      targets: Int32Array.from({ length: lmRows }, (_, i) => (i * 997) % vocabulary),
      backward: training,
      sample: training,
      scale: 1 / lmRows,
    }),
    flop: (training ? 6 : 2) * lmRows * embedding * vocabulary,
  })),
  {
    // The norm reads the gradient; Adam reads four arrays and writes three.
    name: `adam ${parameters}`,
    operator: "adam",
    make: () => ({
      size: parameters,
      parameters: floats(parameters, 0.02),
      gradient: floats(parameters, 0.01),
      m: floats(parameters, 0.01),
      v: ones(parameters),
      learningRate: 1e-4,
      decay: 0.01,
    }),
    bytes: 8 * 4 * parameters,
  },
].filter(({ name }) => name.toLowerCase().includes(values.filter.toLowerCase()));

if (operators.length === 0) {
  console.error(`no operator's name holds "${values.filter}"`);
  process.exit(2);
}

/** Calls the operator as `benchmark` wants it and keeps what the engine measured. */
async function measure(kernels, { name, operator, make, flop, bytes }) {
  const given = await make(kernels);
  // The first call makes room.
  await kernels[operator](given);
  const seconds = [];
  const { stats } = await new Promise((resolve, reject) => {
    new Benchmark(name, {
      defer: true,
      maxTime: Number(values.seconds),
      fn: (deferred) => {
        kernels[operator](given).then((result) => {
          seconds.push(...result.seconds);
          deferred.resolve();
        }, reject);
      },
      onComplete: (event) => resolve(event.target),
      onError: (event) => reject(event.target.error),
    }).run({ async: true });
  });
  const median = seconds.sort((a, b) => a - b)[seconds.length >> 1];
  return {
    name,
    ...(flop === undefined ? { gb_per_s: bytes / median / 1e9 } : { gflop_per_s: flop / median / 1e9 }),
    ms: 1000 * median,
    call_ms: 1000 * stats.mean,
    call_margin_percent: stats.rme,
    calls: seconds.length,
  };
}

const kernels = await Kernels.create({
  gemm: values.gemm,
  isa: values.isa,
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
});
try {
  const { gemm, isa, threads } = kernels.info;
  if (!values.json) console.log(`GEMM ${gemm}, ISA ${isa}, ${threads} threads`);
  const results = [];
  for (const each of operators) {
    const result = await measure(kernels, each);
    results.push(result);
    if (values.json) continue;
    const rate =
      result.gflop_per_s === undefined
        ? `${result.gb_per_s.toFixed(1).padStart(8)} GB/s   `
        : `${result.gflop_per_s.toFixed(1).padStart(8)} GFLOP/s`;
    console.log(
      `${result.name.padEnd(44)} ${rate} ${result.ms.toFixed(3).padStart(9)} ms   call ${result.call_ms.toFixed(3).padStart(9)} ms ±${result.call_margin_percent.toFixed(1)} %`,
    );
  }
  if (values.json) console.log(JSON.stringify({ gemm, isa, threads, operators: results }, null, 2));
} finally {
  await kernels.dispose();
}
