// How long onnxruntime-node takes for one answer of an exported classifier: one row of real tokens, one call after the other.
//
//   node bench/peers/onnx_latency.mjs --runtime <folder with node_modules/onnxruntime-node> --model <model.onnx> --tokens 16
//     --threads 2
//
// Prints `{"event": "ready"}`, then answers each line `run N` on stdin: ms_median, ms_p99, ms_min of N calls after twenty that are
// not timed.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    runtime: { type: "string" },
    model: { type: "string" },
    tokens: { type: "string", default: "16" },
    threads: { type: "string", default: "2" },
  },
});
const say = (document) => console.log(JSON.stringify(document));
try {
  const { InferenceSession, Tensor } = createRequire(join(resolve(options.runtime), "package.json"))(
    "onnxruntime-node",
  );
  const session = await InferenceSession.create(options.model, {
    intraOpNumThreads: Number(options.threads),
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  const tokens = Number(options.tokens);
  const row = (value) => new Tensor("int64", BigInt64Array.from({ length: tokens }, value), [1, tokens]);
  const all = {
    input_ids: row((_, i) => BigInt(1000 + ((i * 7919) % 29000))),
    attention_mask: row(() => 1n),
    token_type_ids: row(() => 0n),
  };
  const inputs = Object.fromEntries(session.inputNames.map((name) => [name, all[name]]));
  say({ event: "ready", peer: "onnxruntime-node" });
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, steps] = line.split(" ");
    if (word !== "run") break;
    const times = [];
    for (let step = 0; step < 20 + Number(steps); step++) {
      const began = performance.now();
      await session.run(inputs);
      if (step >= 20) times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    say({
      event: "run",
      ms_median: (times[(times.length - 1) >> 1] + times[times.length >> 1]) / 2,
      ms_p99: times[Math.round(0.99 * (times.length - 1))],
      ms_min: times[0],
      peak_mb: process.resourceUsage().maxRSS / 1024,
    });
  }
} catch (error) {
  say({ event: "error", message: String(error?.message ?? error) });
  process.exitCode = 1;
}
