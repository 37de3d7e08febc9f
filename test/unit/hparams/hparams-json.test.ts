import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ElectraError } from "../../../src/errors.js";
import { readHparams } from "../../../src/hparams/hparams-file.js";
import { parseHparamsJson } from "../../../src/hparams/hparams-json.js";

function errorOf(text: string): ElectraError {
  try {
    parseHparamsJson(text, "--hparams");
  } catch (error) {
    return error as ElectraError;
  }
  throw new Error(`accepted: ${text}`);
}

describe("parseHparamsJson", () => {
  it("reads what JSON.stringify writes, white space included", () => {
    const key = fc.string().filter((name) => name !== "$schema");
    fc.assert(
      fc.property(fc.dictionary(key, fc.jsonValue()), fc.nat(3), (object, indent) => {
        const text = JSON.stringify(object, null, indent);
        expect(parseHparamsJson(text, "x")).toEqual(JSON.parse(text));
      }),
      { numRuns: 200 },
    );
  });

  it("accepts and rejects the same texts as JSON.parse", () => {
    const pieces = fc.constantFrom(
      '"a"',
      ":",
      ",",
      "{",
      "}",
      "[",
      "]",
      "1",
      "-0.5e3",
      "01",
      "null",
      " ",
      "'",
      "\n",
      "true",
      '"\\u12"',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (parts) => {
        const text = `{"x":${parts.join("")}}`;
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          expect(() => parseHparamsJson(text, "x")).toThrow("x is not valid JSON");
          return;
        }
        // JSON.parse keeps the last of two equal names; ours refuses them.
        const again = () => parseHparamsJson(text, "x");
        if (/"a":.*"a":/s.test(text)) return;
        expect(again()).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("leaves out the editors' $schema", () => {
    expect(parseHparamsJson('{"$schema": "s.json", "debug": true}', "x")).toEqual({ debug: true });
  });

  it.each([
    ["{'debug': true}", "line 1, column 2", "double quotes only"],
    ['{"debug": True}', "line 1, column 11: unexpected True", "lower case"],
    ['{"embedding_size": None}', "unexpected None", "null"],
    ['{\n  "a": 1,\n}', "line 3, column 1", "Remove the comma"],
    ['{"a": 1 "b": 2}', "line 1, column 9", "Separate the entries with commas"],
    ['{"a": 1', "the end of the text", "closing }"],
    ['{"a" 1}', 'expected ":" after "a"', '"a": value'],
    ['{"a": [1, 2}', 'expected "," or "]"', "commas"],
    ['{"a": 1, "a": 2}', 'column 10: "a" is given twice', "Keep one"],
    ['{"a": "x}', "not closed", "Close it"],
    ['{"a": small}', "unexpected small", "double quotes"],
    ['{"a": 1} x', "after the end of the object", "one JSON object"],
    ["", "expected a value", "names in double quotes"],
    ["[1]", "must be a JSON object, not a list", '"name": value'],
    ["3", "not 3", '"name": value'],
  ])("says of %s where it is wrong and what to write", (text, message, hint) => {
    const error = errorOf(text);
    expect(error.code).toBe("ERR_ELECTRA_HPARAMS_JSON");
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });
});

describe("readHparams", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hparams-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("takes JSON text", async () => {
    expect(await readHparams('{"debug": true}')).toEqual({ hparams: { debug: true }, place: "--hparams" });
  });

  it("takes the path of a .json file, with a byte-order mark too", async () => {
    const path = join(folder, "h.json");
    await writeFile(path, '\uFEFF{"num_train_steps": 5}');
    expect(await readHparams(path)).toEqual({ hparams: { num_train_steps: 5 }, place: path });
  });

  it("names the file and the place of a mistake in it", async () => {
    const path = join(folder, "bad.json");
    await writeFile(path, '{\n "a": nope\n}');
    await expect(readHparams(path)).rejects.toThrow(`${path} is not valid JSON at line 2, column 7`);
  });

  it.each(["missing.json", "."])("says that %s cannot be read", async (name) => {
    const path = name === "." ? `${folder}/folder.json` : join(folder, name);
    if (name === ".") await import("node:fs/promises").then(({ mkdir }) => mkdir(path));
    await expect(readHparams(path)).rejects.toMatchObject({
      code: "ERR_ELECTRA_HPARAMS_FILE",
      exitCode: 2,
      message: expect.stringContaining(path),
    });
  });
});
