import { describe, expect, it } from "vitest";
import { CharacterClass, characterClass } from "../../../src/tokenization/character-class.js";
import { CHANGED_SINCE } from "./plain-tokenizer.js";

const { DROP, IDEOGRAPH, MARK, PUNCTUATION, SPACE } = CharacterClass;

describe("character classes", () => {
  it("agree with the Unicode tables of this Node for all that Unicode 14.0 knows", () => {
    const wrong: string[] = [];
    for (let c = 0; c < 0x110000; c++) {
      const bits = characterClass(c);
      const text = String.fromCodePoint(c);
      // Dropped but known here: assigned after 14.0 (or U+FFFD).
      if (bits === DROP || c === CHANGED_SINCE) continue;
      const expected =
        (/^[\t\n\r\u2028\u2029\p{Zs}]$/u.test(text) ? SPACE : 0) |
        (/^[!-/:-@[-`{-~\p{P}]$/u.test(text) ? PUNCTUATION : 0) |
        (/^\p{Mn}$/u.test(text) ? MARK : 0);
      const kept = !/^\p{C}$/u.test(text) || /^[\t\n\r]$/.test(text);
      if (!kept || (bits & ~IDEOGRAPH) !== expected) wrong.push(c.toString(16));
    }
    expect(wrong).toEqual([]);
  });

  it("drop every control, private, surrogate and unassigned code point of this Node", () => {
    const kept: string[] = [];
    for (let c = 0; c < 0x110000; c++) {
      if (c === 9 || c === 10 || c === 13) continue;
      if (/^\p{C}$/u.test(String.fromCodePoint(c)) && characterClass(c) !== DROP) kept.push(c.toString(16));
    }
    expect(kept).toEqual([]);
  });

  it.each([
    [0x1fae0, 0, "assigned in 14.0"],
    [0x1fae8, DROP, "assigned in 15.0"],
    [0x30000, 0, "an ideograph of 13.0 outside the listed blocks"],
    [0x31350, DROP, "an ideograph of 15.0"],
    [0x2ceaf, DROP, "a hole at the end of a listed block"],
    [0x4e00, IDEOGRAPH, "the first common ideograph"],
    [0x3005, 0, "an iteration mark"],
    [0xfffd, DROP, "the replacement character"],
    [CHANGED_SINCE, MARK, "a mark that newer versions call a spacing one"],
    [0xe0100, MARK, "a variation selector beyond the table"],
    [0xe01f0, DROP, "the first code point after those"],
  ])("know U+%s as %s: %s", (codePoint, bits) => {
    expect(characterClass(codePoint)).toBe(bits);
  });
});
