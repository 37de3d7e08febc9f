// Re-ranks what a speech recogniser heard: Electric says which of its hypotheses reads most like the training text.
//
//   node examples/rerank/rerank.ts <model> [folder]
//
// model: a run trained with electric_objective, for instance that of bench/electric-ranking.mjs. folder: where dev.nbest,
// dev.references, test.nbest and test.references lie; by default beside this file (README.md says how those were made).
// Needs the compiled package, and Node.js 22.18 or newer to run TypeScript as it is (docs/library.md has the two lines for
// older versions).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  ElectricScorer,
  measureRerank,
  parseNBest,
  parseTruth,
  rerank,
  scoreNBest,
  tuneWeight,
} from "electra-native";

const [, , model, folder = join("examples", "rerank")] = process.argv;
if (model === undefined) throw new Error("usage: node examples/rerank/rerank.ts <model> [folder]");

const scorer = await ElectricScorer.open(model);
const development = await scoredLists("dev");
const test = await scoredLists("test");
await scorer.dispose();

// The weight depends on the scale of the recogniser's scores, so it is picked, and on other lists than it is judged by.
for (const normalize of [false, true]) {
  const { weight, value, baseline, oracle } = tuneWeight(development, { normalize });
  const measured = measureRerank(test, { weight, normalize });
  console.log(`\n${normalize ? "mean over the tokens" : "sum over the tokens"}, weight ${weight}`);
  console.log(
    `  development: ${percent(baseline)} word errors -> ${percent(value)} (at best ${percent(oracle)})`,
  );
  console.log(
    `  test:        ${percent(measured.baseline)} word errors -> ${percent(measured.value)} (at best ${percent(measured.oracle)})`,
  );
  console.log(
    `  gain ${percent(measured.gain)}, 95 % interval ${percent(measured.gainLower)} to ${percent(measured.gainUpper)}; ${measured.better} lists better, ${measured.worse} worse`,
  );
}

const { weight } = tuneWeight(development);
const ranked = rerank(
  test.map(({ list }) => list),
  { weight },
);
console.log("\nThe first changes:");
for (const [index, { id, entries }] of ranked.entries()) {
  const before = test[index]!.list.entries.reduce((best, entry) => (entry.score > best.score ? entry : best));
  const after = entries[0]!;
  if (before.hypothesis === after.hypothesis) continue;
  const { truth } = test[index]!;
  console.log(`${id}\n  heard    ${before.hypothesis}\n  becomes  ${after.hypothesis}`);
  if ("reference" in truth) console.log(`  spoken   ${truth.reference}`);
  if (index > 40) break;
}

/** Lists with the truth, every hypothesis scored. */
async function scoredLists(name: "dev" | "test") {
  const [nbest, references] = [join(folder, `${name}.nbest`), join(folder, `${name}.references`)];
  const { lists } = parseNBest(readFileSync(nbest, "utf8"), nbest);
  const truths = parseTruth(readFileSync(references, "utf8"), references, lists);
  // The recogniser writes no punctuation. The model learned from sentences, and every sentence had an end.
  const scored = await scoreNBest(lists, scorer, { suffix: "." });
  return scored.map((list, index) => ({ list, truth: truths[index]! }));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
