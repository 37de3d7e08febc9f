import fc from "fast-check";
import { expect, test } from "vitest";
import { isBlank } from "../../../src/data/blank-line.js";
import { stripWhiteSpace } from "../../../src/tokenization/white-space.js";

const blank = (line: string): boolean => {
  const before = Buffer.from("x");
  const text = Buffer.concat([before, Buffer.from(line), before]);
  return isBlank(text, 1, text.length - 1);
};

test("white space as Python knows it is blank; U+FEFF is not white space", () => {
  expect(["", " \t\u001c\u0085\u00a0\u2003\u3000\r"].map(blank)).toEqual([true, true]);
  expect(["\ufeff", " \u00a0x ", "\u200b", "\u001b"].map(blank)).toEqual([false, false, false, false]);
});

test("a line is blank if nothing is left when it is stripped", () => {
  const character = fc.constantFrom(
    ..." \t\r\u000b\u001f\u0085\u00a0\u1680\u2028\u3000\u180e\u200b\ufeffx\u00e9",
  );
  fc.assert(
    fc.property(fc.array(character, { maxLength: 6 }), (characters) => {
      const line = characters.join("");
      expect(blank(line)).toBe(stripWhiteSpace(line) === "");
    }),
    { numRuns: 500 },
  );
});
