import { describe, expect, it } from "vitest";
import { isWhiteSpace, stripWhiteSpace } from "../../../src/tokenization/white-space.js";

const SEPARATORS = [
  0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002,
  0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
];

describe("white space", () => {
  it("is what Python's split takes for it, and nothing else", () => {
    const found = Array.from({ length: 0x10000 }, (_, code) => code).filter(isWhiteSpace);
    expect(found).toEqual(SEPARATORS);
  });

  it("is stripped at both ends only, where JavaScript's trim would differ", () => {
    expect(stripWhiteSpace("\u001f\u0085 a b\u3000\r\n")).toBe("a b");
    expect(stripWhiteSpace("\ufeffa\ufeff")).toBe("\ufeffa\ufeff");
    expect(stripWhiteSpace(" \u2028 ")).toBe("");
  });
});
