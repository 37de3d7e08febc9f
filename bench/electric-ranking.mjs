// Does Electric rank real sentences above changed ones? Trains it, and a masked language model to compare with, on State of
// the Union speeches for some minutes each, and measures on speeches that they never saw. docs/electric.md tells how.
//
//   node bench/electric-ranking.mjs [options]
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST. stdout is data, stderr is talk.
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = resolve(process.env.ELECTRA_DIST ?? join(root, "dist"));
const load = (name) => import(pathToFileURL(join(dist, `${name}.js`)).href);
const usage = `usage: node bench/electric-ranking.mjs [options]

  --corpus-dir <dir>   your own text instead of the speeches: a folder of .txt or .gz files; one in ten is held out
  --steps <n>          training steps of each model
  --hparams <json>     other settings for Electric, for instance {"mask_prob": 0.15}
  --sentences <n>      held-out sentences at most
  --work-dir <dir>     data and models (default: quickstart; the quickstart's data are used if they are there)
  --report <file>      where the report goes (default: electric-ranking.json in the work folder)
  --threads <n>        threads (default: all)
  --json               print the report as JSON instead of tables

Stopped with Ctrl-C, the same command goes on where it was. Exit code: 0, 1 when a bar was missed, 2 for wrong options.`;

function usageFailure(message) {
  console.error(`error: ${message}\n\n${usage}`);
  process.exit(2);
}

function readOptions() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const names = ["corpus-dir", "steps", "hparams", "sentences", "work-dir", "report", "threads"];
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        ...Object.fromEntries(names.map((name) => [name, text])),
        json: flag,
        help: { ...flag, short: "h" },
      },
    }));
  } catch (error) {
    usageFailure(error.message);
  }
  for (const name of ["steps", "sentences", "threads"]) {
    if (values[name] === undefined) continue;
    if (!/^[1-9]\d*$/.test(values[name])) {
      usageFailure(`--${name} must be a whole number above 0, not "${values[name]}"`);
    }
    values[name] = Number(values[name]);
  }
  try {
    values.hparams = JSON.parse(values.hparams ?? "{}");
  } catch (error) {
    usageFailure(`--hparams: ${error.message}`);
  }
  return values;
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const { runElectricRanking } = await load("bench/electric-ranking");
  const { electricRankingRecipe } = await load("bench/electric-ranking-recipe");
  const { formatElectricRanking } = await load("bench/electric-ranking-report");
  const { TerminalSink } = await load("telemetry/terminal-sink");

  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    // Once: the second signal has its usual effect.
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  const { training, sentences } = electricRankingRecipe;
  const workDir = resolve(options["work-dir"] ?? join(root, "quickstart"));
  const reportFile = resolve(options.report ?? join(workDir, "electric-ranking.json"));
  const sink = new TerminalSink();
  try {
    const report = await runElectricRanking({
      workDir,
      cacheDir: join(root, ".cache", "quickstart"),
      reportFile,
      ...(options["corpus-dir"] === undefined ? {} : { corpusDir: options["corpus-dir"] }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: stop.signal,
      sinks: [sink],
      log: (line) => sink.log(line),
      recipe: {
        ...electricRankingRecipe,
        training: {
          ...training,
          electric: { ...training.electric, ...options.hparams },
          steps: options.steps ?? training.steps,
        },
        sentences: { ...sentences, most: options.sentences ?? sentences.most },
      },
    });
    await sink.close();
    if (report === undefined) {
      console.error("stopped; the same command goes on from here");
      return 130;
    }
    console.log(options.json ? JSON.stringify(report, null, 2) : `\n${formatElectricRanking(report)}`);
    console.error(`\nmodel:  ${report.training.electric.folder}\nreport: ${reportFile}`);
    return report.passed ? 0 : 1;
  } catch (error) {
    await sink.close();
    if (stop.signal.aborted) {
      console.error("stopped; the same command goes on from here");
      return 130;
    }
    console.error(`error: ${error.code === undefined ? (error.stack ?? error) : error.message}`);
    if (error.hint !== undefined) console.error(`  ${error.hint}`);
    return error.exitCode ?? 1;
  }
}

process.exitCode = await main();
