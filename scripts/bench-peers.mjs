// Ours beside what a user would run instead: pre-training, fine-tuning, answers, tokenizing, in alternating pairs; see
// bench/README.md.
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST (its commands are the repository's). stdout is data, stderr is talk.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { load, readOptions, root, usageFailure } from "../bench/long-benchmark.mjs";

const usage = `usage: scripts/bench-peers [options]

  --only <names>         these, separated by commas (default: all that can run)
  --pairs <n>            alternating pairs of each (default: 7)
  --steps <n>            timed steps of a run (default: each benchmark's own)
  --threads <n>          of both sides (default: all)
  --python <file>        a Python with torch, transformers and tokenizers (default: ELECTRA_PEER_PYTHON, else python3)
  --onnx-runtime <dir>   holds node_modules/onnxruntime-node (default: ELECTRA_ORT_DIR)
  --data-dir <dir>       holds vocab.txt and finetuning_data/cola/
  --input <file>         English text, a few megabytes
  --vocab-file <file>    default: that of --data-dir
  --work-dir <dir>       what is made once (default: build/bench-peers)
  --report <dir>         write peers.md and peers.json there, as into bench/results
  --list                 the names
  --json                 the report as JSON

The machine should do nothing else. A pair during which it was slower is repeated. Exit code: 0 when every bar was reached, 1 when
one was missed or a measurement failed, 2 for wrong options.`;

/** A Python that has the libraries, or why there is none. */
function findPython(given) {
  const python = given ?? process.env.ELECTRA_PEER_PYTHON ?? "python3";
  try {
    execFileSync(python, ["-c", "import torch, transformers, tokenizers"], { stdio: "pipe" });
    return python;
  } catch (error) {
    const said = String(error.stderr ?? "")
      .trim()
      .split("\n")
      .at(-1);
    console.error(`${python} is no Python with torch, transformers and tokenizers${said ? `: ${said}` : ""}`);
    return undefined;
  }
}

function fileOf(options, name, fallback) {
  const path = options[name] ?? fallback;
  if (path === undefined) return {};
  if (!existsSync(path)) usageFailure(usage, `--${name}: there is no ${path}`);
  return { [{ "vocab-file": "vocabFile", input: "textFile", "data-dir": "dataDir" }[name]]: resolve(path) };
}

async function main() {
  const options = readOptions({
    usage,
    texts: ["only", "python", "onnx-runtime", "data-dir", "input", "vocab-file", "work-dir", "report"],
    numbers: ["pairs", "steps", "threads"],
    flags: ["list"],
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const { measurements } = await load("bench/peers/measurements");
  const { benchmarkPeers } = await load("bench/peers/peer-benchmark");
  const { formatMeasurement, formatPeerReport } = await load("bench/peers/peer-report");
  if (options.list) {
    for (const { name, title } of measurements) console.log(`${name.padEnd(18)}${title}`);
    return 0;
  }
  const only = options.only?.split(",");
  const unknown = only?.find((name) => !measurements.some((each) => each.name === name));
  if (unknown !== undefined) usageFailure(usage, `--only: there is no ${unknown}; --list has the names`);

  const needed = measurements
    .filter(({ name }) => only?.includes(name) ?? true)
    .flatMap(({ needs }) => needs);
  const python = needed.includes("python") ? findPython(options.python) : undefined;
  const onnxRuntime = options["onnx-runtime"] ?? process.env.ELECTRA_ORT_DIR;
  const dataDir = fileOf(options, "data-dir");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  const workDir = resolve(options["work-dir"] ?? join(root, "build", "bench-peers"));
  mkdirSync(workDir, { recursive: true });
  let report;
  try {
    report = await benchmarkPeers({
      root,
      workDir,
      threads: options.threads ?? availableParallelism(),
      ...(options.pairs === undefined ? {} : { pairs: options.pairs }),
      ...(options.steps === undefined ? {} : { steps: options.steps }),
      ...(only === undefined ? {} : { only }),
      ...(python === undefined ? {} : { python }),
      ...(onnxRuntime === undefined ? {} : { onnxRuntime: resolve(onnxRuntime) }),
      ...dataDir,
      ...fileOf(options, "input"),
      ...fileOf(options, "vocab-file", dataDir.dataDir && join(dataDir.dataDir, "vocab.txt")),
      onLine: (line) => console.error(line),
      onMeasured: (measured) => options.json || console.log(`\n${formatMeasurement(measured)}\n`),
      signal: stop.signal,
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.error("stopped");
    return 130;
  }
  if (options.report !== undefined) {
    mkdirSync(options.report, { recursive: true });
    const title = `# Beside other software\n\n${report.time}, ${report.machine}, ${report.threads} threads`;
    writeFileSync(join(options.report, "peers.md"), `${title}\n\n${formatPeerReport(report, true)}\n`);
    writeFileSync(join(options.report, "peers.json"), `${JSON.stringify(report, null, 2)}\n`);
  }
  const { passed, missed, skipped, failed } = report;
  if (options.json) console.log(JSON.stringify(report, null, 2));
  else console.log(`${passed} passed, ${missed} missed, ${skipped} skipped, ${failed} failed`);
  return missed + failed > 0 ? 1 : 0;
}

process.exitCode = await main();
