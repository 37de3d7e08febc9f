import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noNativeEngine } from "../unit/inference/describe-with-finetuning.js";
import { saveTinyFinetuned, tinyTasks } from "../unit/inference/tiny-finetuned.js";
import { runCli, startCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { removePrograms, root, run, writeProgram } from "./programs.js";

const missing = missingBuild() ?? noNativeEngine;
afterAll(removePrograms);
const machine = ["--device", "cpu", "--threads", "1"];

describe.skipIf(missing !== undefined)(`predict${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let folder = "";
  const trialOf = (task: string) => join(folder, `${task}_model_1`);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "electra-predict-"));
    for (const task of Object.values(tinyTasks)) {
      await saveTinyFinetuned({ tasks: [task], trial: trialOf(task.name) });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const predict = async (task: string, stdin: string, ...more: readonly string[]) => {
    const args = ["predict", "--model", trialOf(task), ...machine, ...more];
    const result = await runCli(args, { cwd: folder, stdin });
    expect(result, result.stderr).toMatchObject({ code: 0 });
    return result.stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };

  it.each<[string, string, readonly string[], readonly string[]]>([
    ["mood", "great film\n\nthe\tcat\n", [], ["label", "probability", "probabilities"]],
    ["topics", "one\ntwo\nthree", [], ["labels", "probabilities"]],
    ["likeness", "text,text_b\na,b\nc,d\ne,f\n", ["--format", "csv"], ["value"]],
    ["names", "The cat sat.\nIt sat.\nDogs\n", [], ["words", "spans"]],
    [
      "questions",
      ["who", "where", "what"]
        .map((q) => `${JSON.stringify({ question: q, context: "the cat sat" })}\n`)
        .join(""),
      [],
      ["text", "probability", "start", "end", "no_answer_odds"],
    ],
  ])("works in a pipe: %s", async (task, stdin, more, fields) => {
    const rows = await predict(task, stdin, ...more);
    expect(rows.map((row) => Object.keys(row))).toEqual([fields, fields, fields]);
  });

  it("answers a line before the next one comes", async () => {
    const { child, result } = startCli(["predict", "--model", trialOf("mood"), ...machine], {
      cwd: folder,
      keepOpen: true,
    });
    const answer = new Promise<string>((resolve) =>
      child.stdout!.once("data", (chunk) => resolve(String(chunk))),
    );
    child.stdin!.write("the cat\n");
    expect(JSON.parse(await answer)).toHaveProperty("label");
    child.stdin!.end("sat\n");
    expect((await result).stdout.trimEnd().split("\n")).toHaveLength(2);
  });

  it("stops at Ctrl-C, also while it waits for input, and keeps what it has", async () => {
    const output = join(folder, "stopped.jsonl");
    const { child, result } = startCli(
      ["predict", "--model", trialOf("mood"), ...machine, "--output-file", output],
      { cwd: folder, keepOpen: true },
    );
    child.stdin!.write("the cat\nsat\n");
    while (!existsSync(`${output}.partial`)) await new Promise((resolve) => setTimeout(resolve, 20));
    // The rows are read and predicted within this time; nothing else comes.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    child.kill("SIGINT");
    const { code, stderr } = await result;
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(/2 rows were predicted; they are in .*stopped\.jsonl\.partial/);
    expect(readdirSync(folder)).not.toContain("stopped.jsonl");
  });

  it("answers every row of a large file, in order", async () => {
    const rows = 20_000;
    const input = join(folder, "large.jsonl");
    const words = ["the", "cat", "sat", "on", "a", "mat"];
    writeFileSync(
      input,
      Array.from({ length: rows }, (_, i) =>
        JSON.stringify({ id: i, text: `${words[i % 6]} ${words[(i * 7) % 5]} ${i}` }),
      ).join("\n"),
    );
    const predicted = await predict("mood", "", "--input", input);
    expect(predicted.map(({ id }) => id)).toEqual(Array.from({ length: rows }, (_, i) => i));
  }, 60_000);
});

describe.skipIf(missing !== undefined)(
  `examples/ask-a-model.ts${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    it.each([
      ["mood", "the cat\nsat\n", /^(bad|good|odd) \d+\.\d %\n(bad|good|odd) \d+\.\d %\n$/],
      ["topics", "the cat\n", /^[a-z, ]+\n$/],
      ["likeness", "the cat\tcat\n", /^-?\d+\.\d{3}\n$/],
      ["names", "The cat sat.\n", /^The\/[A-Z-]+ cat\/[A-Z-]+ sat\/[A-Z-]+ \.\/[A-Z-]+\n/],
      ["questions", "Who sat?\tThe cat sat.\n", /^(The|cat|sat|\.| )+ \(at \d+, \d+\.\d %\)/],
    ] as const)("answers as the model's task is: %s", async (name, stdin, expected) => {
      const { trial } = await saveTinyFinetuned({ tasks: [tinyTasks[name]] });
      const program = writeProgram(
        "ask-a-model",
        readFileSync(join(root, "examples/ask-a-model.ts"), "utf8"),
      );
      const { code, stdout, stderr } = await run(process.execPath, [program, trial], {}, root, stdin);
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(expected);
    });
  },
);
