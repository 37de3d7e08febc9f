// The tokenizer beside Hugging Face's Rust library, one thread each, on the same lines, alternately.
//
//   node bench/tokenizer.mjs --vocab-file vocab.txt --input text.txt[.gz] [--json] [--repeat 7]
//
// Ours is what `electra-native bench tokenizer` measures; the peer, the development dependency `tokenizers`, gets the lines in
// batches of 1000. Ratios are of neighbouring passes. Needs the compiled library: dist/, or the folder in ELECTRA_DIST.

// The peer's thread pool reads these when it is loaded.
process.env.RAYON_NUM_THREADS = "1";
process.env.TOKENIZERS_PARALLELISM = "false";

import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    "vocab-file": { type: "string" },
    input: { type: "string" },
    json: { type: "boolean", default: false },
    repeat: { type: "string", default: "7" },
  },
});
const repeat = Number(options.repeat);
const files = { vocabFile: options["vocab-file"], input: options.input };
if (!files.vocabFile || !files.input || !Number.isInteger(repeat) || repeat < 1) {
  console.error(
    "usage: node bench/tokenizer.mjs --vocab-file vocab.txt --input text.txt[.gz] [--json] [--repeat 7]",
  );
  process.exit(2);
}

const dist = process.env.ELECTRA_DIST
  ? resolve(process.env.ELECTRA_DIST)
  : fileURLToPath(new URL("../dist/", import.meta.url));
const load = (name) => import(pathToFileURL(join(dist, "bench", `${name}.js`)).href);
const { benchmarkTokenizer } = await load("tokenizer-benchmark");
const { readTextSource } = await load("text-source");
const { spreadOf } = await load("spread");
const peer = await import("tokenizers").catch(() => undefined);
if (peer === undefined) {
  console.error("`tokenizers` is not installed (npm install, with development dependencies).");
  process.exit(1);
}

const { vocabulary, text } = await readTextSource(files);
const lines = text.toString("utf8").split("\n");
/** Hugging Face's WordPiece with BERT's settings and Google's limit of characters. */
const hf = new peer.Tokenizer(
  peer.WordPiece.init(Object.fromEntries(vocabulary.tokens.map((token, id) => [token, id])), {
    unkToken: "[UNK]",
    maxInputCharsPerWord: 200,
  }),
);
hf.setNormalizer(peer.bertNormalizer());
hf.setPreTokenizer(peer.bertPreTokenizer());

async function peerPass() {
  const started = performance.now();
  let tokens = 0;
  // Batches, so that promises do not count.
  for (let i = 0; i < lines.length; i += 1000) {
    const batch = await hf.encodeBatch(lines.slice(i, i + 1000), { addSpecialTokens: false });
    for (const encoding of batch) tokens += encoding.getLength();
  }
  return { rate: text.length / (performance.now() - started) / 1e3, tokens };
}

const kinds = ["bytes_cold", "bytes_warm", "strings_cold", "strings_warm"];
const rates = Object.fromEntries([...kinds, "peer"].map((kind) => [kind, []]));
const result = { input_mb: text.length / 1e6, repeat };
for (let round = 0; round < repeat; round++) {
  const ours = await benchmarkTokenizer({ ...files, repeat: 1 });
  const theirs = await peerPass();
  Object.assign(result, { tokens: ours.tokens, peer_tokens: theirs.tokens });
  for (const kind of kinds) rates[kind].push(ours[`${kind}_mb_per_s`].median);
  rates.peer.push(theirs.rate);
}
for (const [kind, list] of Object.entries(rates)) result[`${kind}_mb_per_s`] = spreadOf(list);
for (const kind of kinds)
  result[`ratio_${kind}`] = spreadOf(rates[kind].map((rate, i) => rate / rates.peer[i]));

if (options.json) console.log(JSON.stringify(result));
else {
  for (const [key, value] of Object.entries(result)) {
    const shown =
      typeof value === "number"
        ? value
        : `${value.median.toFixed(1)} (${value.min.toFixed(1)} … ${value.max.toFixed(1)})`;
    console.log(`${key.padEnd(24)} ${shown}`);
  }
}
