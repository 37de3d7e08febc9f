// Google's tokenizer on tricky strings and on whole text files, as recorded in <golden>/tokenizer. Everything that
// could differ in another draw (strings, modes, vocabularies, files, counts) is read from the fixtures.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { dataFile } from "./data-file.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const dist = process.env.ELECTRA_DIST ? resolve(process.env.ELECTRA_DIST) : join(repository, "dist");
const load = (path) => import(pathToFileURL(join(dist, path)).href);

/** Unicode version that the tokenizer is pinned to: equal even on strings that depend on it. */
const PINNED_UNICODE = "14.0.0";

const readJson = (goldenDir, name) => JSON.parse(readFileSync(join(goldenDir, "tokenizer", name), "utf8"));

async function tokenizerOf(vocabularyFile, mode) {
  const { Vocabulary } = await load("tokenization/vocabulary.js");
  const { Tokenizer } = await load("tokenization/tokenizer.js");
  const vocabulary = Vocabulary.parse(readFileSync(vocabularyFile, "utf8"), { source: vocabularyFile });
  return new Tokenizer({
    vocabulary,
    lowerCase: mode.google_do_lower_case,
    stripAccents: mode.google_strip_accents,
  });
}

const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

/** Runs all strings of a fixture through all its modes; ids from text, from bytes, again from the cache, and words. */
async function checkStrings(fixture, vocabularyOf) {
  const strict = fixture.unicode_of_google_run === PINNED_UNICODE;
  const failures = [];
  let compared = 0;
  let excused = 0;
  for (const [name, mode] of Object.entries(fixture.modes)) {
    const tokenizer = await tokenizerOf(vocabularyOf(mode), mode);
    const utf8 = new TextEncoder();
    for (const entry of fixture.strings) {
      const expected = entry[name]?.google;
      if (expected === undefined) continue;
      const text = entry.text;
      const ids = tokenizer.encode(text);
      const results = [
        ["ids", ids, expected.ids],
        ["ids from bytes", tokenizer.encodeBytes(utf8.encode(text)), expected.ids],
        ["ids from the cache", tokenizer.encode(text), expected.ids],
      ];
      if (expected.basic !== undefined)
        results.push(["words", tokenizer.basic.tokenize(text), expected.basic]);
      for (const [what, got, want] of results) {
        compared++;
        if (same(got, want)) continue;
        if (entry.unassigned_code_point && !strict) excused++;
        else
          failures.push(
            `string ${entry.index} ${JSON.stringify(text)}, ${name}, ${what}: ${[...got].join(" ")}, expected ${want.join(" ")}`,
          );
      }
    }
  }
  if (compared === 0) throw new Error("the fixture holds nothing to compare");
  if (failures.length > 0) {
    throw new Error(`${failures.length} of ${compared} differ:\n  ${failures.slice(0, 20).join("\n  ")}`);
  }
  const note = excused > 0 ? `, ${excused} differ by Unicode version` : "";
  return `${fixture.strings.length} strings, ${Object.keys(fixture.modes).length} modes, ${compared} comparisons${note}`;
}

/** The lines of a recorded file: gunzipped text split at LF only, or the paragraphs of a SQuAD file. */
function linesOf(path, limit) {
  const raw = readFileSync(path);
  const text = (path.endsWith(".gz") ? gunzipSync(raw) : raw).toString("utf8");
  const lines = path.endsWith(".json")
    ? JSON.parse(text).data.flatMap((article) =>
        article.paragraphs.map((p) => p.context.replaceAll("\n", " ")),
      )
    : text.split("\n");
  return lines.slice(0, limit);
}

export const checks = [
  {
    name: "tokenizer/tokenizer",
    run: (goldenDir) =>
      checkStrings(readJson(goldenDir, "tokenizer.json"), (mode) => join(goldenDir, mode.vocab)),
  },
  {
    name: "tokenizer/tokenizer_bert",
    run: (goldenDir) =>
      checkStrings(readJson(goldenDir, "tokenizer_bert.json"), () =>
        dataFile(goldenDir, "bert-uncased/vocab.txt"),
      ),
  },
  {
    name: "tokenizer/corpora",
    run: async (goldenDir) => {
      const fixture = readJson(goldenDir, "corpora.json");
      const tokenizer = await tokenizerOf(
        dataFile(goldenDir, fixture.vocab.replace(/^data\/| of .*$/g, "")),
        {},
      );
      let tokens = 0;
      for (const expected of fixture.files) {
        const lines = linesOf(dataFile(goldenDir, expected.file.replace(/^data\//, "")), fixture.line_limit);
        const hash = createHash("sha256");
        const got = { lines: lines.length, tokens: 0, unknown: 0 };
        for (const line of lines) {
          const ids = tokenizer.encode(line);
          got.tokens += ids.length;
          got.unknown += ids.filter((id) => id === tokenizer.wordPiece.unknownId).length;
          hash.update(`${ids.join(" ")}\n`);
        }
        got.sha256 = hash.digest("hex");
        for (const key of Object.keys(got)) {
          if (got[key] !== expected[key]) {
            throw new Error(`${expected.file}: ${key} ${got[key]}, expected ${expected[key]}`);
          }
        }
        tokens += got.tokens;
      }
      if (tokens === 0) throw new Error("the fixture holds nothing to compare");
      return `${fixture.files.length} files, ${tokens} tokens`;
    },
  },
];
