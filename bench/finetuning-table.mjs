// What is pre-training worth? Pre-trains a small encoder on text, fine-tunes it and a random one of the same shape on real tasks, and
// sets both beside what the labels alone give; see bench/README.md.
//
//   node bench/finetuning-table.mjs --tasks-dir <dir> --corpus-dir <dir> [--corpus-dir <dir> ...] [options]
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST. stdout is data, stderr is talk.
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = resolve(process.env.ELECTRA_DIST ?? join(root, "dist"));
const load = (name) => import(pathToFileURL(join(dist, `${name}.js`)).href);
const usage = `usage: node bench/finetuning-table.mjs --tasks-dir <dir> --corpus-dir <dir> [options]

  --tasks-dir <dir>    holds sst/, mrpc/, sts/, chunk/, cola/ and squadv1/, as the reference's finetuning_data
  --corpus-dir <dir>   text to pre-train on: .txt or .gz files, one sentence a line; may be given several times
  --tasks <names>      only these, separated by commas
  --steps <n>          pre-training steps
  --trials <n>         trials of each start
  --work-dir <dir>     records, models and results (default: build/finetuning-table)
  --report <file>      where the report goes (default: finetuning-table.json in the work folder)
  --threads <n>        threads (default: all)
  --json               print the report as JSON instead of the table

Stopped with Ctrl-C, the same command goes on where it was. Exit code: 0, 1 when the pre-trained start won less than half of
the tasks, 2 for wrong options.`;

function usageFailure(message) {
  console.error(`error: ${message}\n\n${usage}`);
  process.exit(2);
}

function readOptions() {
  const text = { type: "string" };
  const names = ["tasks-dir", "tasks", "steps", "trials", "work-dir", "report", "threads"];
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        ...Object.fromEntries(names.map((name) => [name, text])),
        "corpus-dir": { type: "string", multiple: true },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    usageFailure(error.message);
  }
  if (values.help) return values;
  for (const name of ["steps", "trials", "threads"]) {
    if (values[name] === undefined) continue;
    if (!/^[1-9]\d*$/.test(values[name])) {
      usageFailure(`--${name} must be a whole number above 0, not "${values[name]}"`);
    }
    values[name] = Number(values[name]);
  }
  for (const name of ["tasks-dir", "corpus-dir"]) {
    if (values[name] === undefined) usageFailure(`--${name} is needed`);
  }
  return values;
}

/** The recipe with what the options change. */
function recipeFor(recipe, options) {
  const names = options.tasks?.split(",");
  const unknown = names?.find((name) => !recipe.finetuning.tasks.some((task) => task.name === name));
  if (unknown !== undefined) usageFailure(`--tasks: there is no ${unknown} in the table`);
  const tasks = recipe.finetuning.tasks
    .filter(({ name }) => names?.includes(name) ?? true)
    .map((task) => ({ ...task, trials: options.trials ?? task.trials }));
  const steps = options.steps ?? recipe.pretraining.steps;
  const warmupSteps = Math.min(recipe.pretraining.warmupSteps, Math.ceil(steps / 10));
  return {
    ...recipe,
    pretraining: { ...recipe.pretraining, steps, warmupSteps },
    finetuning: { ...recipe.finetuning, tasks },
  };
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const { runFinetuningTable } = await load("bench/finetuning-table");
  const { finetuningTableRecipe } = await load("bench/finetuning-table-recipe");
  const { formatFinetuningTable } = await load("bench/finetuning-table-report");
  const { TerminalSink } = await load("telemetry/terminal-sink");

  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    // Once: the second signal has its usual effect.
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  const workDir = resolve(options["work-dir"] ?? join(root, "build", "finetuning-table"));
  const reportFile = resolve(options.report ?? join(workDir, "finetuning-table.json"));
  const sink = new TerminalSink();
  try {
    const report = await runFinetuningTable({
      tasksDir: resolve(options["tasks-dir"]),
      corpusDirs: options["corpus-dir"].map((dir) => resolve(dir)),
      workDir,
      reportFile,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: stop.signal,
      sinks: [sink],
      log: (line) => sink.log(line),
      recipe: recipeFor(finetuningTableRecipe, options),
    });
    await sink.close();
    if (report === undefined) {
      console.error("stopped; the same command goes on from here");
      return 130;
    }
    console.log(options.json ? JSON.stringify(report, null, 2) : `\n${formatFinetuningTable(report)}`);
    console.error(`\nreport: ${reportFile}`);
    return report.won * 2 > report.rows.length ? 0 : 1;
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
