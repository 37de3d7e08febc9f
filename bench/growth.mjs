// How cost grows: with the length of rows, the size of batches, the width of the model, the threads, the size of a corpus, and with the
// number of engines that were made and disposed of. See bench/README.md.
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST. stdout is data, stderr is talk.

import { once } from "node:events";
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { load, readOptions, root, usageFailure } from "./long-benchmark.mjs";

const PARTS = ["length", "batch", "width", "threads", "corpus", "cycles"];
const usage = `usage: node bench/growth.mjs [options]

  --only <parts>      of ${PARTS.join(", ")}; separated by commas
  --full              everything: large models, corpora up to 1 GB, 1,000 cycles (default: a few minutes)
  --steps <n>         timed steps of each point (default: 3, with --full 10)
  --threads <n>       where they are not what varies (default: all)
  --work-dir <dir>    points that are done, generated text, growth.json, growth.svg (default: build/growth)
  --fresh             measure again what is done
  --json              print the document instead of the tables

Stopped, the same command goes on where it was.`;

/** The points of each part: x, and what is run there. */
function pointsOf(part, { full, threads }) {
  const step = (x, modelSize, rows, length, count = threads) => ({
    x,
    modelSize,
    rows,
    length,
    threads: count,
  });
  switch (part) {
    case "length":
      return [128, 256, 512].map((length) => step(length, "small", 2048 / length, length));
    case "batch":
      return (full ? [1, 2, 4, 8, 16, 32, 64] : [1, 4, 16]).map((rows) => step(rows, "small", rows, 128));
    case "width":
      return [
        step(256, "small", 4, 128),
        step(768, "base", 4, 128),
        ...(full ? [step(1024, "large", 4, 128)] : []),
      ];
    case "threads": {
      const counts = [1, 2, 4, 8, 16, 32].filter((count) => count <= availableParallelism());
      return counts.map((count) => step(count, "small", 16, 128, count));
    }
    case "corpus":
      return (full ? [1, 10, 100, 1000] : [1, 10]).map((megabytes) => ({ x: megabytes, megabytes, threads }));
    default:
      return [{ x: full ? 1000 : 100, cycles: full ? 1000 : 100 }];
  }
}

/** What a point's figures are worth again: the same work by the same package. */
const keyOf = (part, point, steps) =>
  JSON.stringify([part, point, part === "corpus" || part === "cycles" ? 0 : steps]);

async function measureStep({ modelSize, rows, length, threads }, steps, tools) {
  const result = await tools.runForJson(
    [
      ...[process.execPath, join(root, "scripts/electra-native.mjs"), "bench", "step", "--json"],
      ...["--device", "cpu", "--model-size", modelSize, "--batch-size", String(rows)],
      ...["--max-seq-length", String(length), "--threads", String(threads), "--steps", String(steps)],
    ],
    tools.child,
  );
  const { tokens_per_s, sec_per_step, gflop_per_s, gemm_ceiling_share, peak_mb, engine_mb } = result;
  return { tokens_per_s, sec_per_step, gflop_per_s, gemm_ceiling_share, peak_mb, engine_mb };
}

async function measureCorpus({ megabytes, threads }, _steps, tools) {
  const folder = join(tools.workDir, "corpus");
  const corpusDir = join(folder, `text-${megabytes}`);
  const vocabFile = join(folder, "vocab.txt");
  const outputDir = join(folder, "records");
  rmSync(corpusDir, { recursive: true, force: true });
  rmSync(outputDir, { recursive: true, force: true });
  mkdirSync(corpusDir, { recursive: true });
  const { generateLanguage, generateText } = await load("bench/growth/generated-text");
  const language = generateLanguage(20_000);
  writeFileSync(vocabFile, language.vocabulary);
  // Files of 10 MB at most, so that threads can share them.
  let bytes = 0;
  for (let file = 0, left = megabytes * 1e6; left > 0; file++, left -= 10e6) {
    const path = join(corpusDir, `${file}.txt`);
    const stream = createWriteStream(path);
    for (const piece of generateText(language, Math.min(left, 10e6), file + 1)) {
      tools.child.signal.throwIfAborted();
      if (!stream.write(piece)) await once(stream, "drain");
    }
    stream.end();
    await once(stream, "close");
    bytes += statSync(path).size;
  }
  const settings = JSON.stringify({ corpusDir, vocabFile, outputDir, numProcesses: threads });
  const result = await tools.runForJson(
    [process.execPath, join(root, "bench/growth-child.mjs"), "dataset", settings],
    tools.child,
  );
  rmSync(corpusDir, { recursive: true, force: true });
  rmSync(outputDir, { recursive: true, force: true });
  const { seconds, examples, peak_mb } = result;
  return { seconds, mb_per_s: bytes / 1e6 / seconds, examples, peak_mb };
}

async function measureCycles({ cycles }, _steps, tools) {
  const { seconds, rss_mb } = await tools.runForJson(
    [
      process.execPath,
      "--expose-gc",
      join(root, "bench/growth-child.mjs"),
      "cycles",
      JSON.stringify({ cycles }),
    ],
    tools.child,
  );
  return { ms_per_cycle: (1000 * seconds) / cycles, rss_mb };
}

/** What the allocator keeps for the next engine comes and goes by an engine's size; a leak would lift the least of it. */
function memoryOf(rss_mb) {
  const sizes = rss_mb.map(([, mebibytes]) => mebibytes);
  const half = Math.ceil(sizes.length / 2);
  return {
    least_first_half_mb: Math.min(...sizes.slice(0, half)),
    least_second_half_mb: Math.min(...sizes.slice(-half)),
    most_mb: Math.max(...sizes),
  };
}

/** The columns of a part's table, and what its plots show. */
const STEP_COLUMNS = [
  "tokens_per_s",
  "sec_per_step",
  "gflop_per_s",
  "gemm_ceiling_share",
  "peak_mb",
  "engine_mb",
];
const VIEWS = {
  length: { x: "tokens of a row (2,048 a batch)", columns: STEP_COLUMNS, y: ["tokens_per_s", "tokens/s"] },
  batch: { x: "rows of 128 tokens", columns: STEP_COLUMNS, y: ["tokens_per_s", "tokens/s"] },
  width: { x: "width (4 rows of 128 tokens)", columns: STEP_COLUMNS, y: ["gflop_per_s", "GFLOP/s"] },
  threads: { x: "threads (16 rows of 128 tokens)", columns: STEP_COLUMNS, y: ["tokens_per_s", "tokens/s"] },
  corpus: {
    x: "megabytes of text",
    columns: ["seconds", "mb_per_s", "examples", "peak_mb"],
    y: ["peak_mb", "peak memory, MiB"],
  },
  cycles: {
    x: "engines made",
    columns: ["ms_per_cycle", "least_first_half_mb", "least_second_half_mb", "most_mb"],
    y: ["rss_mb", "memory, MiB"],
  },
};

function plotOf(part, rows) {
  const { x, y } = VIEWS[part];
  const [key, yLabel] = y;
  const points = part === "cycles" ? (rows[0]?.rss_mb ?? []) : rows.map((row) => [row.x, row[key]]);
  return { title: part, xLabel: x, yLabel, series: [{ name: part, points }], logX: part !== "cycles" };
}

function tableOf(part, rows) {
  const { x, columns } = VIEWS[part];
  const number = (value) =>
    value === null ? "-" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  const lines = [
    [x, ...columns],
    ...rows.map((row) => [String(row.x), ...columns.map((key) => number(row[key]))]),
  ];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, i) => cell.padStart(widths[i])).join("  ")).join("\n");
}

async function main() {
  const options = readOptions({
    usage,
    texts: ["only", "work-dir"],
    numbers: ["steps", "threads"],
    flags: ["full", "fresh"],
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const only = options.only?.split(",") ?? PARTS;
  const unknown = only.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) usageFailure(usage, `--only: there is no ${unknown}`);
  const full = options.full === true;
  const steps = options.steps ?? (full ? 10 : 3);
  const threads = options.threads ?? availableParallelism();
  const workDir = resolve(options["work-dir"] ?? join(root, "build", "growth"));
  mkdirSync(workDir, { recursive: true });
  const file = join(workDir, "growth.json");
  const done = !options.fresh && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).done : {};

  const { runForJson } = await load("bench/peers/child-runs");
  const { plotSvg } = await load("bench/growth/line-plot");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort(new Error("stopped")));
  const tools = { runForJson, workDir, child: { cwd: root, signal: stop.signal } };
  const result = {};
  const save = () => {
    writeFileSync(`${file}.tmp`, `${JSON.stringify({ parts: result, done }, null, 2)}\n`);
    renameSync(`${file}.tmp`, file);
  };
  try {
    for (const part of PARTS.filter((each) => only.includes(each))) {
      const measure = { corpus: measureCorpus, cycles: measureCycles }[part] ?? measureStep;
      result[part] = [];
      for (const point of pointsOf(part, { full, threads })) {
        const key = keyOf(part, point, steps);
        if (done[key] === undefined) console.error(`${part} ${point.x} …`);
        done[key] ??= await measure(point, steps, tools);
        const figures = done[key];
        result[part].push({ x: point.x, ...figures, ...(part === "cycles" ? memoryOf(figures.rss_mb) : {}) });
        save();
      }
      if (!options.json) console.log(`\n${part}\n\n${tableOf(part, result[part])}`);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.error("stopped; the same command goes on from here");
    return 130;
  }
  const plots = Object.entries(result).map(([part, rows]) => plotOf(part, rows));
  writeFileSync(join(workDir, "growth.svg"), plotSvg(plots));
  if (options.json) console.log(JSON.stringify(result, null, 2));
  console.error(`\n${file}, ${join(workDir, "growth.svg")}`);
  return 0;
}

process.exitCode = await main();
