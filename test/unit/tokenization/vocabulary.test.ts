import { describe, expect, it } from "vitest";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const errorOf = (action: () => unknown): Record<string, unknown> => {
  try {
    action();
  } catch (error) {
    return error as Record<string, unknown>;
  }
  throw new Error("nothing was thrown");
};

describe("a vocabulary", () => {
  it("strips its lines, counts blank ones and lets the last of equal tokens win", () => {
    const vocabulary = Vocabulary.parse("a\nb \n\na\n\tc\nlast");
    expect([...["a", "b", "", "c", "last"]].map((token) => vocabulary.idOf(token))).toEqual([3, 1, 2, 4, 5]);
    expect(vocabulary.size).toBe(6);
    expect(vocabulary.duplicates).toEqual([{ token: "a", line: 4, earlierLine: 1 }]);
  });

  it.each([
    ["LF", "[PAD]\nx\n"],
    ["CR LF", "[PAD]\r\nx\r\n"],
    ["no end of the last line", "[PAD]\nx"],
    ["Unicode white space around tokens", "[PAD]\u3000\n\u00a0x\u001f\n"],
  ])("reads the same tokens with %s", (_, text) => {
    expect(Vocabulary.parse(text).tokens).toEqual(["[PAD]", "x"]);
  });

  it("ends lines at LF only: other line ends and a byte order mark are part of a token", () => {
    expect(Vocabulary.parse("\ufeffa\rb\u2028c\n").tokens).toEqual(["\ufeffa\rb\u2028c"]);
  });

  it("says which lines of three equal ones follow which", () => {
    const { duplicates } = Vocabulary.parse("x\nx\nx\n");
    expect(duplicates.map((d) => [d.line, d.earlierLine])).toEqual([
      [2, 1],
      [3, 2],
    ]);
  });

  it("finds tokens whose names are properties of objects", () => {
    const vocabulary = Vocabulary.parse("__proto__\nconstructor\n");
    expect([vocabulary.get("__proto__"), vocabulary.get("constructor"), vocabulary.get("toString")]).toEqual([
      0,
      1,
      undefined,
    ]);
  });

  it("gives required tokens' ids in the order asked for", () => {
    const vocabulary = Vocabulary.parse("[PAD]\n[UNK]\n[MASK]\n");
    expect(vocabulary.require(["[MASK]", "[UNK]"])).toEqual([2, 1]);
  });

  it("names every required token that is missing, the source and a remedy", () => {
    const vocabulary = Vocabulary.parse("[PAD]\n[UNK]\n", { source: "data/vocab.txt" });
    const error = errorOf(() => vocabulary.require(["[UNK]", "[CLS]", "[MASK]"]));
    expect(error).toMatchObject({ code: "ERR_ELECTRA_VOCABULARY_TOKENS", exitCode: 2 });
    expect(error["message"]).toContain("data/vocab.txt");
    expect(error["message"]).toMatch(/lacks \[CLS\], \[MASK\]\.$/);
    expect(error["hint"]).toContain("build-vocab");
  });

  it.each([
    ["\ufeff[UNK]\nx\n", "byte order mark"],
    ['{"model": {"vocab": {}}}', "JSON"],
  ])("guesses why %j has no [UNK]", (text, reason) => {
    expect(errorOf(() => Vocabulary.parse(text).require(["[UNK]"]))["hint"]).toContain(reason);
  });

  it.each(["", "\n\n", " \n"])("refuses %j, which holds no token", (text) => {
    expect(errorOf(() => Vocabulary.parse(text))).toMatchObject({ code: "ERR_ELECTRA_VOCABULARY_EMPTY" });
  });

  it("refuses tokens and ids that it does not have", () => {
    const vocabulary = Vocabulary.parse("a\nb\n");
    expect(errorOf(() => vocabulary.idOf("c"))).toMatchObject({ code: "ERR_ELECTRA_UNKNOWN_TOKEN" });
    for (const id of [2, -1, 0.5, Number.NaN]) {
      expect(errorOf(() => vocabulary.tokenOf(id))).toMatchObject({ code: "ERR_ELECTRA_TOKEN_ID" });
    }
    expect(vocabulary.tokenOf(1)).toBe("b");
  });

  it("writes a text that reads back the same, duplicates and blank lines included", () => {
    const tokens = ["[PAD]", "", "x", "##y", "x"];
    const vocabulary = Vocabulary.fromTokens(tokens);
    expect(Vocabulary.parse(vocabulary.toText()).tokens).toEqual(tokens);
  });
});
