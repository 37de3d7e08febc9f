import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createTask, createTasks } from "../../../src/finetuning/tasks/create-task.js";
import { readTaskFile } from "../../../src/finetuning/tasks/read-task-file.js";
import { taskJsonSchema } from "../../../src/finetuning/tasks/task-description.js";
import { taskFolder, toyVocabulary } from "./task-folder.js";

const toyIds = (...tokens: readonly string[]) => tokens.map((token) => toyVocabulary.idOf(token));

/** A task of one's own in a folder of its name. */
function own(description: object, files: Readonly<Record<string, string>>, hparams: object = {}) {
  const all = { "task.json": JSON.stringify(description), ...files };
  return taskFolder(Object.fromEntries(Object.entries(all).map(([name, text]) => [`mine/${name}`, text])), {
    task_names: ["mine"],
    max_seq_length: 16,
    ...hparams,
  });
}

describe("a task described in JSON", () => {
  it("classifies texts of a csv with a header, with the labels that occur", async () => {
    const { settings } = own(
      {
        type: "class",
        format: "csv",
        files: { train: "a.csv", dev: "b.csv", my_test: "c.csv" },
        columns: { text: "body", label: "kind" },
        metric: ["macro_f1", "accuracy"],
      },
      {
        "a.csv": 'kind,body\nred,"the boat, old"\nblue,bridge\n',
        "b.csv": "body,kind\nthe bridge,blue\n",
        "c.csv": "body\nboat\n",
      },
    );
    const [task] = await createTasks(settings);
    expect(task).toMatchObject({ devSplits: ["dev"], testSplits: ["my_test"] });
    expect(await task!.head()).toEqual({ kind: "classification", labels: ["blue", "red"] });
    const { examples } = await task!.examples("train");
    expect(examples).toEqual([
      { eid: 0, textA: "the boat, old", label: 1 },
      { eid: 1, textA: "bridge", label: 0 },
    ]);
    expect((await task!.examples("my_test")).examples).toEqual([{ eid: 0, textA: "boat", label: 0 }]);
    const [row] = task!.featurize(examples[1]!, true);
    expect([...row!.inputIds]).toEqual([2, ...toyIds("bridge"), 3]);
    const scorer = await task!.scorer("dev");
    scorer.add(row!, { logits: [3, 1], loss: 0.5 });
    expect(scorer.results()).toEqual([
      ["macro_f1", 100],
      ["accuracy", 100],
      ["loss", 0.5],
    ]);
  });

  it("takes pairs, swapped too where their order means nothing", async () => {
    const { settings } = own(
      {
        type: "pair",
        format: "tsv",
        header: false,
        files: { train: "t.tsv", dev: "t.tsv" },
        columns: { text: 0, text_b: 1, label: -1 },
        unordered: true,
      },
      { "t.tsv": "the boat\tbridge\tyes\nred\tblue\tno\n" },
    );
    const task = await createTask("mine", settings);
    const { examples } = await task.examples("train");
    expect(examples[2]).toEqual({ eid: 2, textA: "bridge", textB: "the boat", label: 1 });
    expect((await task.examples("dev")).examples).toHaveLength(2);
    const [row] = task.featurize(examples[0]!, true);
    expect([...row!.segmentIds]).toEqual([0, 0, 0, 0, 1, 1]);
  });

  it("takes several labels, and values", async () => {
    const several = own(
      {
        type: "multi-label",
        format: "jsonl",
        files: { train: "t.jsonl", dev: "t.jsonl" },
        columns: { text: "t", label: "l" },
      },
      { "t.jsonl": '{"t": "boat", "l": ["b", "a"]}\n{"t": "bridge", "l": "c, a"}\n{"t": "x", "l": []}\n' },
    );
    const labels = await createTask("mine", several.settings);
    expect(
      (await labels.examples("train")).examples.map((example) => (example as { label?: unknown }).label),
    ).toEqual([
      [1, 1, 0],
      [1, 0, 1],
      [0, 0, 0],
    ]);
    const { settings } = own(
      {
        type: "regression",
        format: "tsv",
        files: { train: "t.tsv", dev: "t.tsv" },
        columns: { text: "t", label: "v" },
        range: [1, 5],
      },
      { "t.tsv": "t\tv\nboat\t5\nbridge\t6\n" },
    );
    const values = await createTask("mine", settings);
    await expect(values.examples("train")).rejects.toMatchObject({
      code: "ERR_ELECTRA_ROW",
      message: expect.stringMatching(/t\.tsv, line 3: the value "6" is no number from 1 to 5/),
    });
  });

  it("tags words, at the length of the words' pieces if asked to", async () => {
    const { settings } = own(
      { type: "tags", format: "conll", files: { train: "t.txt", dev: "t.txt" } },
      { "t.txt": "the O\nboats B-X\nZoe I-X\n\nred B-X\nblue I-Y\n" },
      { tagging_keeps_last_sentence: true, max_seq_length: 6 },
    );
    const task = await createTask("mine", settings);
    expect(await task.head()).toEqual({ kind: "tagging", labels: ["B-X", "B-Y", "E-X", "E-Y", "O"] });
    const { examples } = await task.examples("train");
    // Five words with the pseudo-words: of six places two are used before "boats" would be one too many.
    const [short] = task.featurize(examples[0]!, true);
    expect([...short!.inputIds]).toEqual([2, 3]);
    const fixed = { ...settings, hparams: { ...settings.hparams, tagging_cuts_by_pieces: true } };
    const [whole] = (await createTask("mine", fixed)).featurize(examples[0]!, true);
    expect([...whole!.inputIds]).toEqual([2, ...toyIds("the", "boat", "##s", "zoe"), 3]);
    expect(whole!.target).toMatchObject({ positions: Int32Array.of(1, 2, 4) });
  });

  it("finds spans, and stops at an answer that is not there", async () => {
    const description = {
      type: "spans",
      format: "jsonl",
      files: { train: "t.jsonl", dev: "t.jsonl" },
      columns: { id: "n", question: "q", context: "c", answer: "a", answer_start: "s" },
      metric: "squad_v2",
    };
    const good = { n: "1", q: "who ?", c: "the old boat", a: "old", s: 4 };
    const { settings } = own(description, {
      "t.jsonl": `${JSON.stringify(good)}\n${JSON.stringify({ ...good, n: "2", a: "" })}\n`,
    });
    const task = await createTask("mine", settings);
    const { examples } = await task.examples("train");
    const rows = examples.flatMap((example) => task.featurize(example, true));
    expect(rows.map(({ target }) => target)).toEqual([
      { kind: "span", start: 5, end: 5, impossible: false },
      { kind: "span", start: 0, end: 0, impossible: true },
    ]);
    const wrong = own(description, { "t.jsonl": `${JSON.stringify({ ...good, s: 8 })}\n` });
    await expect((await createTask("mine", wrong.settings)).examples("train")).rejects.toMatchObject({
      code: "ERR_ELECTRA_ROW",
      message: expect.stringMatching(/t\.jsonl, line 1: could not find the answer "old" at character 8/),
    });
  });

  it("is refused with file and remedy where it is wrong", async () => {
    const files = { train: "t", dev: "t" };
    const columns = { text: 0, label: 1 };
    const wrong: readonly [object, RegExp, RegExp][] = [
      [
        { type: "class", format: "tsv", files, columns, sepparator: ";" },
        /knows no "sepparator"/,
        /"separator"/,
      ],
      [{ type: "klass" }, /task\.json/, /"multi-label"/],
      [
        { type: "class", format: "tsv", files: { train: "t" }, columns },
        /"files\.dev"/,
        /task\.schema\.json/,
      ],
      [
        { type: "class", format: "tsv", header: false, files, columns: { text: "t", label: 1 } },
        /without a header/,
        /docs/,
      ],
      [{ type: "tags", format: "jsonl", files }, /needs columns/, /docs/],
      [{ type: "class", name: "other", format: "tsv", files, columns }, /describes the task other/, /Rename/],
    ];
    for (const [description, message, hint] of wrong) {
      const { settings } = own(description, {});
      await expect(createTask("mine", settings)).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringMatching(message),
        hint: expect.stringMatching(hint),
      });
    }
    const { settings } = taskFolder({}, { task_names: ["mrcp"] });
    await expect(createTasks(settings)).rejects.toMatchObject({
      code: "ERR_ELECTRA_TASK",
      hint: expect.stringContaining("mrpc"),
    });
  });

  it("may be a module with a task of a program's own", async () => {
    const { dataDir, settings } = taskFolder({});
    const path = join(dataDir, "shout.mjs");
    writeFileSync(path, "export default { name: 'shout', create: () => ({ name: 'shout' }) };");
    const source = await readTaskFile(path);
    expect(await createTask("shout", settings, [source])).toEqual({ name: "shout" });
    writeFileSync(join(dataDir, "no.mjs"), "export const x = 1;");
    await expect(readTaskFile(join(dataDir, "no.mjs"))).rejects.toMatchObject({
      code: "ERR_ELECTRA_TASK_FILE",
    });
  });

  it("has a JSON Schema in the package: scripts/write-task-schema.mjs writes it", () => {
    const path = new URL("../../../src/finetuning/task.schema.json", import.meta.url);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(JSON.parse(JSON.stringify(taskJsonSchema())));
  });
});
