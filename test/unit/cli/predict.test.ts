import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { FinetunedTask } from "../../../src/finetuning/finetuned-file.js";
import { Classifier } from "../../../src/inference/classifier.js";
import { noNativeEngine } from "../inference/describe-with-finetuning.js";
import { saveTinyFinetuned, temporaryFolder, tinyTasks } from "../inference/tiny-finetuned.js";
import { type CliResult, runCli } from "./run-cli.js";

const { mood, topics, likeness, names, questions } = tinyTasks;
const skipped = noNativeEngine === undefined ? "" : ` (skipped: ${noNativeEngine})`;

/** Runs `predict` on a file of these contents. */
async function predict(
  task: FinetunedTask | readonly FinetunedTask[],
  name: string,
  text: string,
  ...more: readonly string[]
) {
  const { trial } = await saveTinyFinetuned({ tasks: [task].flat() });
  const folder = await temporaryFolder();
  const input = join(folder, name);
  writeFileSync(input, text);
  const common = ["--device", "cpu", "--threads", "1"];
  const result = await runCli("predict", "--model", trial, "--input", input, ...common, ...more);
  return { ...result, trial, folder, input };
}

const rowsOf = ({ stdout }: Pick<CliResult, "stdout">) =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe.skipIf(skipped !== "")(`predict${skipped}`, () => {
  it("prints a JSON object for each text, in their order, as the library answers", async () => {
    const texts = ["the cat sat.", "", "cat", "the the the the cat"];
    const result = await predict(mood, "texts.txt", `${texts.join("\n")}\n`);
    expect(result.code).toBe(0);
    const classifier = await Classifier.open(result.trial, { device: "cpu", threads: 1 });
    const expected = await classifier.classify(texts);
    await classifier.dispose();
    expect(rowsOf(result)).toEqual(
      expected.map(({ label, probability, probabilities }) => ({ label, probability, probabilities })),
    );
    expect(result.stderr).toMatch(/device cpu.*\ntask mood \(classification\) of .*checkpoint-9/);
    expect(result.stderr).toMatch(/4 rows in/);
    expect(result.stderr).toMatch(/Next:\n {2}npx electra-native predict --model/);
  });

  it("keeps a row's own id and says what was cut", async () => {
    const jsonl = `{"id": "b", "text": "the cat"}\n{"id": 3, "text": "${"cat ".repeat(40)}", "textPair": "the"}\n`;
    const result = await predict(likeness, "rows.jsonl", jsonl);
    const rows = rowsOf(result);
    expect(rows).toEqual([
      { id: "b", value: expect.any(Number) },
      { id: 3, value: expect.any(Number), cut_tokens: 20 },
    ]);
    expect(result.stderr).toMatch(/1 of 2 rows were longer than the model reads \(24 tokens\)/);
  });

  it("names several labels above the threshold", async () => {
    const result = await predict(topics, "rows.csv", 'text,x\n"the, cat",1\n', "--threshold", "0");
    expect(rowsOf(result)[0]).toMatchObject({ labels: ["sea", "art", "sport", "tax"] });
  });

  it("tags words and puts them together to spans", async () => {
    const rows = rowsOf(await predict(names, "rows.conll", "The DT\ncat NN\n\nsat VB\n"));
    expect(rows.map(({ words }) => (words as { word: string }[]).map(({ word }) => word))).toEqual([
      ["The", "cat"],
      ["sat"],
    ]);
    for (const { spans } of rows) {
      for (const span of spans as object[])
        expect(Object.keys(span)).toEqual(["type", "start", "end", "text"]);
    }
  });

  it("answers questions, with the n best if wanted", async () => {
    const context = "The cat sat on a mat. ".repeat(4);
    const squad = JSON.stringify({
      data: [{ paragraphs: [{ context, qas: [{ id: "q7", question: "Who sat?" }] }] }],
    });
    const [plain] = rowsOf(await predict(questions, "dev.json", squad));
    expect(Object.keys(plain!)).toEqual([
      "id",
      "text",
      "probability",
      "start",
      "end",
      "no_answer_odds",
      "windows",
    ]);
    expect(plain).toMatchObject({ id: "q7", no_answer_odds: expect.any(Number) });
    expect(context.slice(plain!["start"] as number, plain!["end"] as number)).toBe(plain!["text"]);
    const [best] = rowsOf(await predict(questions, "dev.json", squad, "--n-best", "3"));
    const answers = best!["n_best"] as { text: string }[];
    expect(answers).toHaveLength(3);
    expect(answers[0]!.text).toBe(best!["text"]);
    const [empty] = rowsOf(await predict(questions, "q.jsonl", '{"question": "Who?", "context": ""}\n'));
    expect(empty).toEqual({ text: "", probability: 0, start: 0, end: 0, no_answer_odds: null });
  });

  it("gives the likeliest classes if wanted, and says where there are none", async () => {
    const [row] = rowsOf(await predict(mood, "rows.txt", "the cat\n", "--n-best", "2"));
    const { probabilities, n_best } = row as { probabilities: Record<string, number>; n_best: unknown };
    const ranked = Object.keys(probabilities).sort((a, b) => probabilities[b]! - probabilities[a]!);
    expect(n_best).toEqual(ranked.slice(0, 2).map((label) => ({ label, probability: probabilities[label] })));
    const { stderr, stdout } = await predict(likeness, "rows.txt", "the cat\n", "--n-best", "2");
    expect(stderr).toContain("warning: --n-best says nothing about likeness, whose head is regression");
    expect(rowsOf({ stdout })).toEqual([{ value: expect.any(Number) }]);
  });

  it("takes a vocabulary from elsewhere, and misses one that is gone", async () => {
    const { trial, folder } = await saveTinyFinetuned({ tasks: [mood] });
    const elsewhere = join(await temporaryFolder(), "words.txt");
    // The part alone: a checkpoint without one of its files is none.
    const model = join(await temporaryFolder(), "model");
    cpSync(folder, model, { recursive: true });
    renameSync(join(model, "vocab.txt"), elsewhere);
    const input = join(trial, "rows.txt");
    writeFileSync(input, "the cat\n");
    const common = ["predict", "--device", "cpu", "--threads", "1", "--input", input, "--model", model];
    expect(await runCli(...common)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--vocab-file"),
    });
    const { code, stdout } = await runCli(...common, "--vocab-file", elsewhere);
    expect(code).toBe(0);
    expect(rowsOf({ stdout })).toHaveLength(1);
  });

  it("takes one of several tasks", async () => {
    const without = await predict([mood, topics], "rows.txt", "the cat\n");
    expect(without.code).toBe(2);
    expect(without.stderr).toContain("it knows mood (classification), topics (multi-label)");
    const result = await predict([mood, topics], "rows.txt", "the cat\n", "--task", "topics");
    expect(rowsOf(result)[0]).toHaveProperty("labels");
  });

  it("finds text by name or number of a column", async () => {
    const table = "a,b,c\n1,the cat,sat\n2,cat,the\n";
    const result = await predict(mood, "t.csv", table, "--columns", "text=b,text_b=-1,id=0");
    const pairs = await predict(mood, "t.txt", "the cat\tsat\ncat\tthe\n");
    expect(rowsOf(result)).toEqual(rowsOf(pairs).map((row, i) => ({ id: String(i + 1), ...row })));
    const bare = await predict(mood, "t.tsv", "the cat\ncat\n", "--header", "false");
    expect(rowsOf(bare)).toHaveLength(2);
    const wrong = await predict(mood, "t.csv", table, "--columns", "txt=b");
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the names are id, text, text_b"),
    });
  });

  it("reads a file of a described task as the description says", async () => {
    const data = await temporaryFolder();
    const described = join(data, "mood");
    mkdirSync(described);
    const description = {
      type: "pair",
      format: "csv",
      files: { train: "train.csv", dev: "dev.csv", test: "test.csv" },
      columns: { text: "one", text_b: "two", label: "mood" },
    };
    writeFileSync(join(described, "task.json"), JSON.stringify(description));
    writeFileSync(join(described, "test.csv"), "two,one\nsat,the cat\n");
    const { trial } = await saveTinyFinetuned({
      tasks: [mood],
      hparams: { raw_data_dir: join(data, "<task>") },
    });
    const run = (...args: readonly string[]) =>
      runCli("predict", "--model", trial, "--device", "cpu", "--threads", "1", "--input", ...args);
    const result = await run(join(described, "test.csv"));
    expect(result.stderr).toContain(`read as ${join(described, "task.json")} says`);
    const told = await run(join(described, "test.csv"), "--columns", "text=one,text_b=two");
    expect(rowsOf(result)).toEqual(rowsOf(told));
    expect(rowsOf(result)).toHaveLength(1);
    writeFileSync(join(described, "other.csv"), "two,one\nsat,the cat\n");
    expect(await run(join(described, "other.csv"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('has the columns "two", "one"'),
    });
  });

  it("stops at a bad row with file, line and remedy, or leaves it out and counts it", async () => {
    const jsonl = '{"text": "the cat"}\n{"txt": "cat"}\n{"text": "sat"}\n';
    const stopped = await predict(mood, "rows.jsonl", jsonl);
    expect(stopped.code).toBe(1);
    expect(rowsOf(stopped)).toHaveLength(1);
    expect(stopped.stderr).toMatch(/error: .*rows\.jsonl, line 2: no field "text"\.\n.*--skip-bad-rows/);
    const rest = await predict(mood, "rows.jsonl", jsonl, "--skip-bad-rows");
    expect(rest.code).toBe(0);
    expect(rowsOf(rest)).toEqual([
      expect.objectContaining({ label: expect.any(String) }),
      { place: "line 2", skipped: 'no field "text"' },
      expect.objectContaining({ label: expect.any(String) }),
    ]);
    expect(rest.stderr).toMatch(/warning: 1 bad row was left out:\n.*rows\.jsonl, line 2: no field "text"/);
  });

  it("writes a file, not over another one unless told", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "p.jsonl");
    const run = (...more: readonly string[]) =>
      predict(mood, "rows.txt", "the cat\ncat\n", "--output-file", path, ...more);
    const first = await run();
    expect(first).toMatchObject({ code: 0, stdout: "" });
    expect(first.stderr).toContain(`head -n 3 ${path}`);
    const rows = readFileSync(path, "utf8");
    expect(rowsOf({ stdout: rows })).toHaveLength(2);
    expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining("p.jsonl exists") });
    writeFileSync(path, "old\n");
    const { stdout } = await run("--overwrite", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      rows: 2,
      skipped: 0,
      cut: 0,
      task: "mood",
      step: 9,
      output_file: path,
    });
    expect(readFileSync(path, "utf8")).toBe(rows);
    expect(readdirSync(folder)).toEqual(["p.jsonl"]);
  });

  it("keeps what was predicted before a failure under another name", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "p.jsonl");
    const lines = `${'{"text": "the cat"}\n'.repeat(1600)}oops\n`;
    const result = await predict(mood, "rows.jsonl", lines, "--output-file", path);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/line 1601: no valid JSON/);
    expect(readdirSync(folder)).toEqual(["p.jsonl.partial"]);
    expect(result.stderr).toMatch(/1600 rows were predicted; they are in .*partial/);
    expect(rowsOf({ stdout: readFileSync(`${path}.partial`, "utf8") })).toHaveLength(1600);
  });

  it("prints one document with --json", async () => {
    const result = await predict(mood, "rows.txt", "the cat\ncat\n", "--json", "--batch-size", "1");
    expect(JSON.parse(result.stdout)).toMatchObject({
      task: "mood",
      head: "classification",
      rows: 2,
      output_file: null,
      predictions: [{ label: expect.any(String) }, { label: expect.any(String) }],
    });
  });
});

describe("predict", () => {
  it("wants a model", async () => {
    expect(await runCli("predict")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--model not given"),
    });
    const folder = await temporaryFolder();
    const none = await runCli("predict", "--model", join(folder, "none"));
    expect(none).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is not a folder that can be read"),
    });
  });

  it("explains itself with examples", async () => {
    const { stdout } = await runCli("predict", "--help");
    expect(stdout).toContain('$ echo "A great film." | npx electra-native predict --model');
    for (const option of ["--columns", "--skip-bad-rows", "--n-best", "--output-file", "--overwrite"]) {
      expect(stdout).toContain(option);
    }
  });
});
