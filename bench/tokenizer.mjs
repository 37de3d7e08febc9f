// Speed of the tokenizer on a text file, one thread.
//
//   node bench/tokenizer.mjs --vocab-file vocab.txt --input text.txt[.gz] [--json] [--repeat 3] [--no-peer]
//
// "bytes" is the whole file in one call; "strings" are its lines, one call each, as UTF-16. "cold" is a new tokenizer's
// first pass (median over new tokenizers after the code is compiled), "warm" the best later pass. The peer is the
// development dependency `tokenizers` (Hugging Face's Rust library) on the same lines, in batches of 1000, if present.
// Needs the compiled library: dist/, or the folder in ELECTRA_DIST. stdout is data (`mb_per_s` = strings, warm).

// The peer's thread pool reads these when it is loaded.
process.env.RAYON_NUM_THREADS = "1";
process.env.TOKENIZERS_PARALLELISM = "false";

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";

const { values: options } = parseArgs({
  options: {
    "vocab-file": { type: "string" },
    input: { type: "string" },
    json: { type: "boolean", default: false },
    repeat: { type: "string", default: "3" },
    "no-peer": { type: "boolean", default: false },
  },
});
const repeat = Number(options.repeat);
if (!options["vocab-file"] || !options.input || !Number.isInteger(repeat) || repeat < 1) {
  console.error(
    "usage: node bench/tokenizer.mjs --vocab-file vocab.txt --input text.txt[.gz] [--json] [--repeat 3] [--no-peer]",
  );
  process.exit(2);
}

const dist = process.env.ELECTRA_DIST
  ? resolve(process.env.ELECTRA_DIST)
  : fileURLToPath(new URL("../dist/", import.meta.url));
const { Vocabulary } = await import(pathToFileURL(join(dist, "tokenization/vocabulary.js")).href);
const { Tokenizer } = await import(pathToFileURL(join(dist, "tokenization/tokenizer.js")).href);

const file = readFileSync(options.input);
const bytes = options.input.endsWith(".gz") ? gunzipSync(file) : file;
const text = bytes.toString("utf8");
const lines = text.split("\n");
const vocabularyText = readFileSync(options["vocab-file"], "utf8");

const setUpStart = performance.now();
const vocabulary = Vocabulary.parse(vocabularyText, { source: options["vocab-file"] });
new Tokenizer({ vocabulary });
const setUpMs = performance.now() - setUpStart;

const ids = new Int32Array(bytes.length);
const passes = {
  bytes: (tokenizer) => tokenizer.encodeInto(bytes, 0, bytes.length, ids, 0),
  strings: (tokenizer) => {
    let count = 0;
    for (const line of lines) count += tokenizer.encode(line).length;
    return count;
  },
};

function megabytesPerSecond(work) {
  const start = performance.now();
  const tokens = work();
  return { rate: bytes.length / (performance.now() - start) / 1e3, tokens };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const result = { input_mb: bytes.length / 1e6, set_up_ms: setUpMs, tokens: 0 };
for (const [name, pass] of Object.entries(passes)) {
  const cold = [];
  let warm = 0;
  for (let r = 0; r <= repeat; r++) {
    const tokenizer = new Tokenizer({ vocabulary });
    const first = megabytesPerSecond(() => pass(tokenizer));
    const second = megabytesPerSecond(() => pass(tokenizer));
    result.tokens = first.tokens;
    if (r === 0) continue; // the engine was still compiling
    cold.push(first.rate);
    warm = Math.max(warm, second.rate);
  }
  result[`${name}_cold_mb_per_s`] = median(cold);
  result[`${name}_warm_mb_per_s`] = warm;
}
result.mb_per_s = result.strings_warm_mb_per_s;

if (!options["no-peer"]) {
  const peer = await import("tokenizers").catch(() => undefined);
  if (peer === undefined) console.error("`tokenizers` is not installed: no comparison.");
  else await comparePeer(peer);
}

/** Hugging Face's WordPiece with BERT's settings; batches, so that promises do not count. */
async function comparePeer(peer) {
  const model = peer.WordPiece.init(Object.fromEntries(vocabulary.tokens.map((token, id) => [token, id])), {
    unkToken: "[UNK]",
    maxInputCharsPerWord: 200,
  });
  const hf = new peer.Tokenizer(model);
  hf.setNormalizer(peer.bertNormalizer());
  hf.setPreTokenizer(peer.bertPreTokenizer());
  let best = 0;
  for (let r = 0; r < repeat; r++) {
    const start = performance.now();
    let tokens = 0;
    for (let i = 0; i < lines.length; i += 1000) {
      const batch = await hf.encodeBatch(lines.slice(i, i + 1000), { addSpecialTokens: false });
      for (const encoding of batch) tokens += encoding.getLength();
    }
    best = Math.max(best, bytes.length / (performance.now() - start) / 1e3);
    result.peer_tokens = tokens;
  }
  result.peer_mb_per_s = best;
  result.ratio_strings = result.strings_warm_mb_per_s / best;
  result.ratio_bytes = result.bytes_warm_mb_per_s / best;
}

for (const [key, value] of Object.entries(result)) result[key] = Math.round(value * 100) / 100;
if (options.json) console.log(JSON.stringify(result));
else for (const [key, value] of Object.entries(result)) console.log(`${key.padEnd(24)} ${value}`);
