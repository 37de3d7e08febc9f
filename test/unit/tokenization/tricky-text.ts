import fc from "fast-check";

/** Characters that tokenizers trip over, by what is special about them. */
const TRICKY = [
  ..." \t\n\r", // white space of ASCII
  "\u00a0\u1680\u2003\u2028\u2029\u202f\u3000", // other white space
  "\0\u000b\u000c\u001c\u001f\u007f\u0085\u00ad\u200b\u200d\u2066\ufeff\ufffd\ue000\ud800\udfff", // dropped
  "\u{e0001}\u{e0041}\u{10ffff}",
  "$+<=>^`|~#'\".,-_[]", // symbols of ASCII that count as punctuation
  "\u2010\u2014\u2018\u2019\u201c\u201d\u2026\u2027\u200f\u2030\u205e\u00bf\u00ab\u00b7\u3001\uff0c\u2e5d\u{10fff}",
  "\u0301\u0302\u0307\u0338\u0345\u0488\u093f\u094d\u3099\ufe0f\u{e0100}", // marks
  "\u00e9\u00c9\u00c5\u00f8\u00df\u1e9e\u0130\u0131\u01c5\u212b\u2126\u212a\u1ec7\u1fef\u037e\u2260", // cases, accents
  "\u03a3\u03c3\u03c2\u0391\u1f08\u1fc6\u0401\u0419\u0439\u10a0\u13a0\u{10400}", // sigma; Greek, Cyrillic and others
  "\u4e2d\u6587\u3400\u4dbf\u4dc0\u4e00\u9fff\ua000\u33ff\uf900\ufa6d\ufaff\u{20000}\u{2a6d6}\u{2f81a}\u{2ceb0}",
  "\u3042\u304c\u30d1\u3005\u3007\u3105\ud55c\uad6d\u1112\u1161\uff21\ufb01", // kana, Hangul, compatibility forms
  "\u00a9\u20ac\u00b2\u2122\u2192\u2713\u{1f600}\u{1f1fa}\u{1f468}\u{1fae0}", // symbols
].flatMap((characters) => characters.split(/(?:)/u));

/** Text of tricky characters between words of few letters, so that words repeat and pieces match. */
export const trickyText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: fc.stringMatching(/^[abcABC01]{1,6}$/) },
      { weight: 3, arbitrary: fc.constantFrom(...TRICKY) },
      { weight: 3, arbitrary: fc.constant(" ") },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "a".repeat(7),
          "b".repeat(63),
          "b".repeat(64),
          "b".repeat(65),
          "c".repeat(90),
        ),
      },
    ),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(""));

/** Tokens for such text: most of its letters, not all, and longer pieces of them. */
export const trickyTokens: fc.Arbitrary<readonly string[]> = fc
  .tuple(
    fc.subarray(
      [
        ..."abcABC01#.,$\u2014\u2019\u201c\u4e2d\u6587\u3400\u9fff\u03c3\u03c2\u03b1\u0439\u00e9e\u3042\u1112\u{20000}\u00a9",
      ].flatMap((c) => [c, `##${c}`]),
      { minLength: 20 },
    ),
    fc.uniqueArray(fc.stringMatching(/^(##)?[abcABC01]{2,5}$/), { maxLength: 12 }),
  )
  .map(([characters, pieces]) => ["[PAD]", "[UNK]", ...characters, ...pieces]);
