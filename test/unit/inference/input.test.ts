import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { FinetunedTask } from "../../../src/finetuning/finetuned-file.js";
import { BadRows } from "../../../src/finetuning/reading/bad-rows.js";
import {
  type InputColumns,
  type InputFormat,
  inputLayout,
} from "../../../src/inference/input/input-layout.js";
import {
  type InputRow,
  readQuestions,
  readTaggables,
  readTexts,
} from "../../../src/inference/input/read-inputs.js";
import { temporaryFolder, tinyTasks } from "./tiny-finetuned.js";

const { mood, names, questions } = tinyTasks;
const hparams = { glue_f1: false, mnli_mismatched: false };

interface Given {
  readonly name?: string;
  readonly text: string | Uint8Array;
  readonly task?: FinetunedTask;
  readonly format?: InputFormat;
  readonly header?: boolean;
  readonly columns?: InputColumns;
  readonly skip?: boolean;
}

/** Rows of a file of these contents, and what was wrong with it; without a name, of standard input. */
async function read({ name, text, task = mood, skip = false, ...layout }: Given) {
  const source = name === undefined ? "-" : join(await temporaryFolder(), name);
  if (name !== undefined) await writeFile(source, text);
  const bad = new BadRows({ skip, how: "--skip-bad-rows" });
  const options = {
    source,
    layout: inputLayout({ source, task, hparams, ...layout }),
    bad,
    ...(name === undefined ? { input: Readable.from([Buffer.from(text)]) } : {}),
  };
  const reader: AsyncIterable<InputRow<unknown>> =
    task.head.kind === "span"
      ? readQuestions(options)
      : task.head.kind === "tagging"
        ? readTaggables(options)
        : readTexts(options);
  const rows: InputRow<unknown>[] = [];
  for await (const row of reader) rows.push(row);
  return { rows, bad: bad.summary(), source };
}

const inputs = async (given: Given) =>
  (await read(given)).rows.map((row) => ("input" in row ? row.input : row));

describe("texts", () => {
  it("are lines, with a tab before a second text", async () => {
    expect(await inputs({ text: "one\r\n\n two \nthree\tfour\n" })).toEqual([
      "one",
      "",
      " two ",
      { text: "three", textPair: "four" },
    ]);
    expect(await inputs({ text: "no end" })).toEqual(["no end"]);
    expect(await inputs({ text: "" })).toEqual([]);
  });

  it.each<[string, Given]>([
    ["tsv", { name: "a.tsv", text: 'id\ttext\tx\n7\ta "b\t1\n8\tc\t2\n\n' }],
    ["csv", { name: "a.csv", text: 'text,id\n"a ""b",7\nc,8\n' }],
    ["jsonl", { name: "a.jsonl", text: '{"text": "a \\"b", "id": "7"}\n\n{"id": "8", "text": "c"}\n' }],
    [
      "named columns",
      { name: "a.csv", text: 'body,key\n"a ""b",7\nc,8\n', columns: { text: "body", id: "key" } },
    ],
    ["numbers", { name: "a.tsv", text: '7\ta "b\n8\tc\n', header: false, columns: { text: 1, id: 0 } }],
    [
      "from the end",
      { name: "a.tsv", text: 'x\ta "b\t7\nc\t8\n', header: false, columns: { text: -2, id: -1 } },
    ],
    ["a format that is told", { name: "a.dat", format: "csv", text: 'text,id\n"a ""b",7\nc,8\n' }],
    ["gzip", { name: "a.tsv.gz", text: gzipSync('id\ttext\n7\ta "b\n8\tc\n') }],
    ["a byte order mark", { name: "a.tsv", text: '\ufeffid\ttext\n7\ta "b\n8\tc\n' }],
  ])("stand in the columns of a table: %s", async (_, given) => {
    expect((await read(given)).rows).toEqual([
      { id: "7", input: 'a "b' },
      { id: "8", input: "c" },
    ]);
  });

  it("may be pairs, and csv may hold line ends", async () => {
    const csv = 'sentence1,sentence2\n"a\nb, c",d\ne,""\n"f ""g"" h",i\n';
    expect(await inputs({ name: "a.csv", text: csv })).toEqual([
      { text: "a\nb, c", textPair: "d" },
      { text: "e", textPair: "" },
      { text: 'f "g" h', textPair: "i" },
    ]);
    expect(
      await inputs({
        name: "a.jsonl",
        text: '{"text": "a", "textPair": "b"}\n{"text": "c", "id": null, "text_b": null}\n',
      }),
    ).toEqual([{ text: "a", textPair: "b" }, "c"]);
  });

  it("of one of the task's own files are found as the task finds them", async () => {
    const cola = { name: "cola", head: mood.head } as const;
    const dev = "x\t0\t*\tThe cat sat.\nx\t1\t\tSat cat.\n";
    expect(await inputs({ name: "dev.tsv", text: dev, task: cola })).toEqual(["The cat sat.", "Sat cat."]);
    expect(await inputs({ name: "test.tsv", text: "index\tsentence\n0\tThe.\n", task: cola })).toEqual([
      "The.",
    ]);
    const mrpc = { name: "mrpc", head: mood.head } as const;
    const pairs = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tone\ttwo\n";
    expect(await inputs({ name: "dev.tsv", text: pairs, task: mrpc })).toEqual([
      { text: "one", textPair: "two" },
    ]);
    expect(inputLayout({ source: "d/dev.tsv", task: mrpc, hparams }).note).toBe(
      "read as dev of mrpc: text in columns 3 and 4, a header",
    );
  });

  it.each<[string, Given, RegExp]>([
    ["two tabs", { text: "a\nb\tc\td\n" }, /standard input, line 2: 2 tabs/],
    [
      "a missing cell",
      { name: "a.tsv", text: "id\ttext\n1\ta\n2\n" },
      /a\.tsv, line 3: column "text" is missing/,
    ],
    [
      "an empty line",
      { name: "a.tsv", text: "id\ttext\n\n1\ta\n" },
      /a\.tsv, line 2: column "text" is missing/,
    ],
    [
      "broken JSON",
      { name: "a.jsonl", text: '{"text": "a"}\n{"text": \n' },
      /a\.jsonl, line 2: no valid JSON/,
    ],
    ["no text", { name: "a.jsonl", text: '{"text": "a"}\n\n{"txt": "b"}\n' }, /line 3: no field "text"/],
    ["another type", { name: "a.jsonl", text: '{"text": ["a"]}\n' }, /line 1: "text" is \["a"\], not a text/],
    ["an open quote", { name: "a.csv", text: 'text\na\n"b\nc\n' }, /line 3: a quoted field is not closed/],
  ])("that cannot be used are named with file and line: %s", async (_, given, message) => {
    const failure = await read(given).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_ELECTRA_ROW", message: expect.stringMatching(message) });
    expect((failure as { hint: string }).hint).toContain("--skip-bad-rows");
    const { rows, bad } = await read({ ...given, skip: true });
    expect(bad.count).toBe(1);
    expect(rows.filter((row) => "place" in row)).toHaveLength(1);
  });

  it.each<[string, Given, RegExp]>([
    [
      "no known column",
      { name: "a.csv", text: "x,y\n1,2\n" },
      /has the columns "x", "y", none of which is called text/,
    ],
    [
      "no such column",
      { name: "a.csv", text: "x,y\n1,2\n", columns: { text: "z" } },
      /a\.csv has no column "z"/,
    ],
    [
      "a name without a header",
      { name: "a.csv", text: "x,y\n", header: false, columns: { text: "x" } },
      /a\.csv has no column "x"/,
    ],
    ["columns without names", { name: "a.csv", text: "1,2\n", header: false }, /has 2 columns without names/],
    ["an ending that says nothing", { name: "a.dat", text: "x" }, /does not say how it is written/],
    ["a format of other tasks", { text: "x", format: "conll" }, /the task mood reads no conll/],
    [
      "a column of other tasks",
      { text: "x", format: "jsonl", columns: { words: 0 } },
      /no use for a column "words"/,
    ],
    ["no column for the text", { text: "x", format: "jsonl", columns: { id: 0 } }, /leave out text/],
  ])("in a table that is not understood are asked about: %s", async (_, given, message) => {
    await expect(read(given)).rejects.toMatchObject({
      code: "ERR_ELECTRA_USAGE",
      exitCode: 2,
      message: expect.stringMatching(message),
    });
  });

  it("must be UTF-8 in a file that exists", async () => {
    await expect(read({ name: "a.txt", text: Uint8Array.of(0x61, 0xff, 0x0a) })).rejects.toMatchObject({
      code: "ERR_ELECTRA_TEXT",
    });
    const source = join(await temporaryFolder(), "none.txt");
    const options = {
      source,
      layout: inputLayout({ source, task: mood, hparams }),
      bad: new BadRows({ skip: false }),
    };
    await expect(readTexts(options).next()).rejects.toMatchObject({ code: "ERR_ELECTRA_FILE" });
  });
});

describe("words to tag", () => {
  it("are texts, lists, or a word a line", async () => {
    const task = names;
    expect(await inputs({ task, text: "The cat.\n\nIt sat\n" })).toEqual(["The cat.", "", "It sat"]);
    const jsonl = '{"words": ["The", "cat"]}\n{"tokens": ["it"]}\n{"text": "It sat"}\n';
    expect(await inputs({ task, name: "a.jsonl", text: jsonl })).toEqual([["The", "cat"], ["it"], "It sat"]);
    expect(await inputs({ task, name: "a.tsv", text: "words\tx\nThe  cat\t1\n" })).toEqual([["The", "cat"]]);
    const conll = "-DOCSTART- -X- O\n\nThe DT B\ncat NN I\n\n\nIt PRP O\n";
    expect(await inputs({ task, name: "a.conll", text: conll })).toEqual([["The", "cat"], ["It"]]);
    expect(await inputs({ name: "dev.txt", text: conll, task: { ...names, name: "chunk" } })).toHaveLength(2);
    expect(await inputs({ task, name: "a.conll", text: "The\ncat\n", columns: { words: 0 } })).toEqual([
      ["The", "cat"],
    ]);
  });

  it("lose a whole sentence to a bad line", async () => {
    const given = { task: names, name: "a.conll", text: "1 The\n2\n3 cat\n\n1 It\n", columns: { words: 1 } };
    await expect(read(given)).rejects.toThrow(/line 2: no column 1/);
    const { rows } = await read({ ...given, skip: true });
    expect(rows).toEqual([{ place: "line 2", reason: "no column 1" }, { input: ["It"] }]);
  });
});

describe("questions", () => {
  const task = questions;
  const expected = [
    { id: "q1", input: { question: "Who?", context: "The cat." } },
    { id: "q2", input: { question: "Where?", context: "The cat." } },
  ];
  const qas = [
    { id: "q1", qid: "q1", question: "Who?" },
    { id: "q2", qid: "q2", question: "Where?" },
  ];
  it.each<[string, Given]>([
    [
      "squad",
      { name: "a.json", text: JSON.stringify({ data: [{ paragraphs: [{ context: "The cat.", qas }] }] }) },
    ],
    [
      "mrqa",
      {
        name: "a.jsonl",
        format: "mrqa",
        text: `{"header": 1}\n${JSON.stringify({ context: "The cat.", qas })}\n`,
      },
    ],
    [
      "jsonl",
      {
        text: qas
          .map(({ id, question }) => `${JSON.stringify({ id, question, context: "The cat." })}\n`)
          .join(""),
      },
    ],
    ["tsv", { name: "a.tsv", text: "id\tquestion\tcontext\nq1\tWho?\tThe cat.\nq2\tWhere?\tThe cat.\n" }],
  ])("come in the form of %s", async (_, given) => {
    expect((await read({ task, ...given })).rows).toEqual(expected);
  });

  it("need a context", async () => {
    await expect(read({ task, text: '{"question": "Who?"}\n' })).rejects.toThrow(
      /line 1: no field "context"/,
    );
    await expect(read({ task, text: "x", format: "txt" })).rejects.toThrow(/reads no txt/);
  });
});
