import { readFile } from "node:fs/promises";
import { Vocabulary } from "../../tokenization/vocabulary.js";
import type { ListingRow } from "../output.js";
import type { Inspection } from "./inspection.js";

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] as const;
const SHOWN_DUPLICATES = 5;

/** A WordPiece vocabulary, one token a line. */
export async function inspectVocabulary(path: string): Promise<Inspection> {
  const vocabulary = Vocabulary.parse(await readFile(path, "utf8"), { source: path });
  const { tokens, size, duplicates } = vocabulary;
  const special = Object.fromEntries(SPECIAL.map((token) => [token, vocabulary.get(token) ?? null]));
  const continuations = tokens.filter((token) => token.startsWith("##")).length;
  const unused = tokens.filter((token) => /^\[unused\d+\]$/.test(token)).length;
  const longest = tokens.reduce((most, token) => (token.length > most.length ? token : most), "");
  const cased = tokens.some((token) => !token.startsWith("[") && token !== token.toLowerCase());
  return {
    document: { kind: "vocabulary", path, size, special, continuations, unused, cased, longest, duplicates },
    listing: [
      ["vocabulary", path],
      ["tokens", `${size}, ${continuations} of them continue a word, ${unused} unused`],
      ["case", cased ? "cased" : "lower-cased"],
      ...Object.entries(special).map(
        ([token, id]): ListingRow => [token, id === null ? "not there" : String(id)],
      ),
      ["longest", longest],
      ...(duplicates.length === 0
        ? []
        : ([
            [
              "duplicates",
              `${duplicates.length}: ${duplicates
                .slice(0, SHOWN_DUPLICATES)
                .map(({ token, line, earlierLine }) => `${token} (lines ${earlierLine} and ${line})`)
                .join(", ")}`,
            ],
          ] as const)),
    ],
    next: ["build-dataset", "--help"],
  };
}
