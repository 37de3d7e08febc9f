import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FinetunedTask } from "../../../src/finetuning/finetuned-file.js";
import { openExportSource } from "../../../src/interop/export-source.js";
import { exportTask } from "../../../src/interop/export-task.js";
import { exportOnnx } from "../../../src/interop/onnx/export-onnx.js";
import { findOnnxRuntime, type RuntimeTensor } from "../../../src/interop/onnx/onnx-runtime.js";
import { runCli } from "../cli/run-cli.js";
import { allTasks, runtimeFolder, saveFinetuned, withoutRuntime } from "./models.js";

let folder: string;
const place = (name: string): string => join(folder, name);
const many: FinetunedTask = {
  name: "many",
  head: { kind: "classification", labels: Array.from({ length: 9 }, (_, id) => `label ${id}`) },
};
const eight: FinetunedTask = {
  name: "eight",
  head: { kind: "classification", labels: Array.from({ length: 8 }, (_, id) => `label ${id}`) },
};
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "export-task-"));
  await saveFinetuned(place("model"), [...allTasks, many, eight]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MAPPED = [
  ["mrpc", "ElectraForSequenceClassification", "hf-sequence"],
  ["topics", "ElectraForSequenceClassification", "hf-sequence"],
  ["sts", "ElectraForSequenceClassification", "hf-sequence"],
  ["eight", "ElectraForSequenceClassification", "hf-sequence"],
  ["ner", "ElectraForTokenClassification", "hf-token"],
  ["plainspan", "ElectraForQuestionAnswering", "hf-span"],
] as const;

describe("exportTask", () => {
  it.each(MAPPED)("writes %s as %s, equal up to rounding", async (task, architecture, kind) => {
    const made = await exportTask({ model: place("model"), task, outputDir: place(task) });
    expect(made).toMatchObject({ task, architecture, leftOut: [], tensors: 39 });
    expect(made.largestDifference).toBeLessThan(1e-6);
    expect(readdirSync(place(task)).sort()).toEqual([
      "README.md",
      "config.json",
      "export.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
      "vocab.txt",
    ]);
    const config = JSON.parse(readFileSync(join(place(task), "config.json"), "utf8"));
    expect(config.architectures).toEqual([architecture]);
    const source = await openExportSource(place(task));
    expect(source.head.kind).toBe(kind);
    await source.close();
  });

  it("brings a regression's logit to the task's own scale", async () => {
    const { weights, close } = await openExportSource(place("sts"));
    // The task goes from 1 with a factor of 5.
    expect(await weights.read("classifier/out_proj/bias")).toEqual(Float32Array.of(1));
    expect((await weights.read("classifier/out_proj/kernel")).slice(0, 3)).toEqual(Float32Array.of(5, -5, 0));
    await close();
  });

  it("makes both segments of a tagging model the one that it was trained with", async () => {
    const original = await openExportSource(place("model"), { task: "ner" });
    const written = await openExportSource(place("ner"));
    const name = "electra/embeddings/token_type_embeddings";
    const [before, after] = [await original.weights.read(name), await written.weights.read(name)];
    expect(after).toEqual(Float32Array.of(...before.slice(8), ...before.slice(8)));
    expect(before.slice(0, 8)).not.toEqual(before.slice(8));
    await original.close();
    await written.close();
  });

  it("says what a class has no place for", async () => {
    const made = await exportTask({ model: place("model"), task: "simplespan", outputDir: place("simple") });
    expect(made.leftOut).toEqual([
      "task_specific/simplespan/dense_2/kernel",
      "task_specific/simplespan/dense_2/bias",
    ]);
  });

  it.each([
    ["squad", /chooses an end for a given start/],
    ["many", /the 9 labels of many need 18 columns .* which has 16/],
  ])("refuses %s, which no class can do", async (task, message) => {
    const made = exportTask({ model: place("model"), task, outputDir: place("refused") });
    await expect(made).rejects.toMatchObject({
      code: "ERR_ELECTRA_EXPORT_HEAD",
      message: expect.stringMatching(message),
      hint: expect.stringContaining("--to onnx"),
    });
    expect(existsSync(place("refused"))).toBe(false);
  });

  it("is the command export --to hf --task", async () => {
    const given = ["export", "--to", "hf", "--model", place("model"), "--output-dir", place("cli")];
    const { code, stdout, stderr } = await runCli(...given, "--task", "simplespan");
    expect([code, stderr]).toEqual([0, expect.stringContaining("dense_2/kernel was left out")]);
    expect(stdout).toMatch(/class +ElectraForQuestionAnswering/);
    const again = await runCli(...given, "--task", "mrpc", "--overwrite", "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ architecture: "ElectraForSequenceClassification" });
    const both = await runCli(...given, "--task", "mrpc", "--part", "generator");
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("--part generator has no task")]);
  });
});

// The graphs of Hugging Face's classes are held against PyTorch's numbers elsewhere; so this compares the task's own head
// with what Hugging Face's class makes of it.
describe.skipIf(runtimeFolder === undefined)(`an exported task in its class${withoutRuntime}`, () => {
  it.each(MAPPED)("%s gives the same as its own head", async (task) => {
    const runtime = (await findOnnxRuntime())!;
    const own = await exportOnnx({ model: place("model"), task, outputDir: place(`${task}-own`) });
    const hf = await exportOnnx({ model: place(task), outputDir: place(`${task}-hf`) });
    const shape = [2, 9];
    const integers = (values: number[]): RuntimeTensor => ({
      shape,
      data: BigInt64Array.from(values, BigInt),
    });
    const ids = Array.from({ length: 18 }, (_, i) => (i * 17 + 5) % 39);
    const mask = ids.map((_, i) => (i < 14 ? 1 : 0));
    // A program that uses a tagging model says 0.
    const segments = ids.map((_, i) => (task !== "ner" && i % 9 > 2 ? 1 : 0));
    const feeds: Record<string, RuntimeTensor> = {
      input_ids: integers(ids),
      attention_mask: integers(mask),
      token_type_ids: integers(segments),
    };
    const run = async (path: string) => {
      const session = await runtime.openSession(join(path, "onnx/model.onnx"));
      const found = await session.run(
        Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!])),
      );
      await session.release();
      return found;
    };
    const [ours, theirs] = [await run(own.path), await run(hf.path)];
    for (const [name, { data, shape: size }] of Object.entries(theirs)) {
      const expected = task === "sts" ? ours["predictions"]! : ours[name]!;
      expect(data.length).toBe(expected.data.length);
      const perToken = size[1] === 9;
      const inner = data.length / 18;
      Array.from(data, Number).forEach((value, i) => {
        const token = Math.floor(i / inner);
        if (perToken && mask[token] === 0) return;
        // Our span head lowers logits outside of the context.
        if (task === "plainspan" && (segments[token] === 0 || mask[token] === 0)) return;
        expect(Math.abs(value - Number(expected.data[i]))).toBeLessThan(1e-5);
      });
    }
  });
});
