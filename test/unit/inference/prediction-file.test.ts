import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PredictionFile } from "../../../src/inference/prediction-file.js";
import { temporaryFolder } from "./tiny-finetuned.js";

it("has its name when it is complete, and replaces an earlier one only then", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "p.jsonl");
  await writeFile(path, "earlier\n");
  const file = await PredictionFile.create(path);
  const long = "x".repeat(50_000);
  for (const line of ["one", long, long, "last"]) await file.writeLine(line);
  expect(await readFile(path, "utf8")).toBe("earlier\n");
  await file.finish();
  expect(await readFile(path, "utf8")).toBe(`one\n${long}\n${long}\nlast\n`);
  expect(await readdir(folder)).toEqual(["p.jsonl"]);
});

it("keeps what there is of it when it is given up, and nothing of nothing", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "p.jsonl");
  const file = await PredictionFile.create(path);
  await file.writeLine("one");
  expect(await file.abandon()).toBe(`${path}.partial`);
  expect(await readFile(`${path}.partial`, "utf8")).toBe("one\n");
  const other = await PredictionFile.create(path);
  expect(await other.abandon()).toBeUndefined();
  expect(await readdir(folder)).toEqual([]);
});

it("says where it cannot be written", async () => {
  await expect(PredictionFile.create(join(await temporaryFolder(), "no", "p.jsonl"))).rejects.toMatchObject({
    code: "ERR_ELECTRA_FILE",
    message: expect.stringContaining("p.jsonl.partial"),
    hint: "check the path",
  });
});
