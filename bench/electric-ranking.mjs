// Does Electric rank real sentences above changed ones? Trains it, and a masked language model to compare with, on State of
// the Union speeches for some minutes each, and measures on speeches that they never saw. docs/electric.md tells how.
//
//   node bench/electric-ranking.mjs [options]
//
// Needs the compiled package: dist/, or the folder in ELECTRA_DIST. stdout is data, stderr is talk.
import { join, resolve } from "node:path";
import { load, readOptions, root, runStoppable, usageFailure } from "./long-benchmark.mjs";

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

async function main() {
  const options = readOptions({
    usage,
    texts: ["corpus-dir", "hparams", "work-dir", "report"],
    numbers: ["steps", "sentences", "threads"],
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  let hparams;
  try {
    hparams = JSON.parse(options.hparams ?? "{}");
  } catch (error) {
    usageFailure(usage, `--hparams: ${error.message}`);
  }
  const { runElectricRanking } = await load("bench/electric-ranking");
  const { electricRankingRecipe } = await load("bench/electric-ranking-recipe");
  const { formatElectricRanking } = await load("bench/electric-ranking-report");

  const { training, sentences } = electricRankingRecipe;
  const workDir = resolve(options["work-dir"] ?? join(root, "quickstart"));
  const reportFile = resolve(options.report ?? join(workDir, "electric-ranking.json"));
  return await runStoppable(
    (run) =>
      runElectricRanking({
        workDir,
        cacheDir: join(root, ".cache", "quickstart"),
        reportFile,
        ...(options["corpus-dir"] === undefined ? {} : { corpusDir: options["corpus-dir"] }),
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        ...run,
        recipe: {
          ...electricRankingRecipe,
          training: {
            ...training,
            electric: { ...training.electric, ...hparams },
            steps: options.steps ?? training.steps,
          },
          sentences: { ...sentences, most: options.sentences ?? sentences.most },
        },
      }),
    (report) => {
      console.log(options.json ? JSON.stringify(report, null, 2) : `\n${formatElectricRanking(report)}`);
      console.error(`\nmodel:  ${report.training.electric.folder}\nreport: ${reportFile}`);
      return report.passed ? 0 : 1;
    },
  );
}

process.exitCode = await main();
