import {
  CONTROL_RUNS,
  NONSPACING_MARK_RUNS,
  PUNCTUATION_RUNS,
  SPACE_SEPARATOR_RUNS,
} from "./unicode-categories.js";
import { isWhiteSpace } from "./white-space.js";

/**
 * What the basic tokenizer has to know about a code point; bits of the number that {@link characterClass} returns.
 *
 * - `DROP`: removed when text is cleaned (U+0000, U+FFFD, categories C* but tab, LF, CR).
 * - `SPACE`: separates pieces (category Zs, tab, LF, CR, and U+2028/2029, which only the later split removes).
 * - `IDEOGRAPH`: one of the CJK blocks that become words of one character.
 * - `PUNCTUATION`: a word of its own (categories P*, and all ASCII symbols).
 * - `MARK`: category Mn, removed with the accents.
 */
export const CharacterClass = {
  DROP: 1,
  SPACE: 2,
  IDEOGRAPH: 4,
  PUNCTUATION: 8,
  MARK: 16,
} as const;

/** The table ends where Unicode 14.0 has only unassigned, private and tag characters and one run of marks. */
const TABLE_SIZE = 0x32000;

/** Blocks of ideographs, as the reference lists them; later extensions are left out there too. */
const IDEOGRAPH_RANGES: readonly (readonly [number, number])[] = [
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b820, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
];

/** ASCII characters that are no letter, digit, space or control: `$ + < = > ^ ` | ~` included, unlike in Unicode. */
const ASCII_SYMBOL_RANGES: readonly (readonly [number, number])[] = [
  [33, 47],
  [58, 64],
  [91, 96],
  [123, 126],
];

/** Made when first needed: text of ASCII never asks, nor does a program that only imports the library. */
let table: Uint8Array | undefined;

/** The {@link CharacterClass} bits of a code point, by Unicode 14.0 whatever the ICU of this Node. */
export function characterClass(codePoint: number): number {
  table ??= buildTable();
  if (codePoint < TABLE_SIZE) return table[codePoint]!;
  return codePoint >= 0xe0100 && codePoint <= 0xe01ef ? CharacterClass.MARK : CharacterClass.DROP;
}

function buildTable(): Uint8Array {
  const classes = new Uint8Array(TABLE_SIZE);
  mark(classes, CONTROL_RUNS, CharacterClass.DROP);
  mark(classes, PUNCTUATION_RUNS, CharacterClass.PUNCTUATION);
  mark(classes, NONSPACING_MARK_RUNS, CharacterClass.MARK);
  mark(classes, SPACE_SEPARATOR_RUNS, CharacterClass.SPACE);
  for (const [first, last] of ASCII_SYMBOL_RANGES) classes.fill(CharacterClass.PUNCTUATION, first, last + 1);
  for (const [first, last] of IDEOGRAPH_RANGES) {
    // Unassigned places inside the blocks are dropped before the blocks are looked at.
    for (let c = first; c <= last; c++)
      if (classes[c] !== CharacterClass.DROP) classes[c]! |= CharacterClass.IDEOGRAPH;
  }
  classes[0xfffd] = CharacterClass.DROP;
  for (const c of [0x09, 0x0a, 0x0d]) classes[c] = CharacterClass.SPACE;
  // Kept by the cleaning, then removed by the split: the other separators are dropped or are spaces already.
  for (let c = 0; c <= 0x3000; c++)
    if (isWhiteSpace(c) && classes[c] === 0) classes[c] = CharacterClass.SPACE;
  return classes;
}

function mark(classes: Uint8Array, runs: string, bit: number): void {
  let next = 0;
  for (const run of runs.trim().split(/\s+/)) {
    const [gap, extra = "0"] = run.split("-") as [string, string?];
    const first = next + Number.parseInt(gap, 36);
    next = first + 1 + Number.parseInt(extra, 36);
    for (let c = first; c < next; c++) classes[c]! |= bit;
  }
}
