// What is pre-training worth? Pre-trains a small encoder on text, fine-tunes it and a random one of the same shape on real tasks, and
// sets both beside what the labels alone give; see bench/README.md.
//
//   node bench/finetuning-table.mjs --tasks-dir <dir> --corpus-dir <dir> [--corpus-dir <dir> ...] [options]
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST. stdout is data, stderr is talk.
import { join, resolve } from "node:path";
import { load, readOptions, root, runStoppable, usageFailure } from "./long-benchmark.mjs";

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

/** The recipe with what the options change. */
function recipeFor(recipe, options) {
  const names = options.tasks?.split(",");
  const unknown = names?.find((name) => !recipe.finetuning.tasks.some((task) => task.name === name));
  if (unknown !== undefined) usageFailure(usage, `--tasks: there is no ${unknown} in the table`);
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
  const options = readOptions({
    usage,
    texts: ["tasks-dir", "tasks", "work-dir", "report"],
    numbers: ["steps", "trials", "threads"],
    lists: ["corpus-dir"],
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  for (const name of ["tasks-dir", "corpus-dir"]) {
    if (options[name] === undefined) usageFailure(usage, `--${name} is needed`);
  }
  const { runFinetuningTable } = await load("bench/finetuning-table");
  const { finetuningTableRecipe } = await load("bench/finetuning-table-recipe");
  const { formatFinetuningTable } = await load("bench/finetuning-table-report");

  const recipe = recipeFor(finetuningTableRecipe, options);
  const workDir = resolve(options["work-dir"] ?? join(root, "build", "finetuning-table"));
  const reportFile = resolve(options.report ?? join(workDir, "finetuning-table.json"));
  return await runStoppable(
    (run) =>
      runFinetuningTable({
        tasksDir: resolve(options["tasks-dir"]),
        corpusDirs: options["corpus-dir"].map((dir) => resolve(dir)),
        workDir,
        reportFile,
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        ...run,
        recipe,
      }),
    (report) => {
      console.log(options.json ? JSON.stringify(report, null, 2) : `\n${formatFinetuningTable(report)}`);
      console.error(`\nreport: ${reportFile}`);
      return report.won * 2 > report.rows.length ? 0 : 1;
    },
  );
}

process.exitCode = await main();
