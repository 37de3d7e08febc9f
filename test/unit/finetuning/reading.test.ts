import { describe, expect, it } from "vitest";
import { BadRows } from "../../../src/finetuning/reading/bad-rows.js";
import { commaSeparatedRows, tabSeparatedRows } from "../../../src/finetuning/reading/delimited-rows.js";
import { mrqaQuestions } from "../../../src/finetuning/reading/mrqa-file.js";
import { squadQuestions } from "../../../src/finetuning/reading/squad-file.js";
import { tableQuestions } from "../../../src/finetuning/reading/table-questions.js";
import { mapTableRows, textCell } from "../../../src/finetuning/reading/table-rows.js";
import { taggedSentences } from "../../../src/finetuning/reading/tagged-sentences.js";

const strict = () => new BadRows({ skip: false });
const lenient = () => new BadRows({ skip: true });

describe("tables", () => {
  it("take quotes in tsv as they are, and CR LF as an end of line", () => {
    expect(tabSeparatedRows('a\t"b\r\n\n"c"\td\n\n')).toEqual([
      { line: 1, cells: ["a", '"b'] },
      { line: 2, cells: [] },
      { line: 3, cells: ['"c"', "d"] },
    ]);
    expect(tabSeparatedRows("a\rb\tc\n")[0]?.fault).toContain("carriage return");
    expect(tabSeparatedRows("x".repeat(131_073))[0]?.fault).toContain("131073 characters");
  });

  it("understand quotes in csv, and count lines inside of them", () => {
    const text = 'id,text\n1,"He said ""no"",\nthen left"\n\n2,plain\n3,"open\n';
    expect(commaSeparatedRows(text)).toEqual([
      { line: 1, cells: ["id", "text"] },
      { line: 2, cells: ["1", 'He said "no",\nthen left'] },
      { line: 5, cells: ["2", "plain"] },
      { line: 6, cells: [], fault: "a quoted field is not closed" },
    ]);
    expect(commaSeparatedRows('"a"b,c')[0]?.fault).toBe("text after a closing quote");
    expect(commaSeparatedRows('"",x')).toEqual([{ line: 1, cells: ["", "x"] }]);
  });

  it("name file, line and remedy of a bad row, or count them all", () => {
    const read = (bad: BadRows) =>
      mapTableRows("text\tlabel\na\t1\nb\nc\t2\n", "my.tsv", { format: "tsv", header: true }, bad, (row) => [
        row.index,
        textCell(row, "label"),
      ]);
    expect(() => read(strict())).toThrowError(
      expect.objectContaining({
        code: "ERR_ELECTRA_ROW",
        message: 'my.tsv, line 3: column "label" is missing: the row has 1 column.',
        hint: expect.stringContaining("skip_bad_rows"),
      }),
    );
    const bad = lenient();
    expect(read(bad)).toEqual([
      [0, "1"],
      [2, "2"],
    ]);
    expect(bad.summary()).toMatchObject({ count: 1, rows: [{ file: "my.tsv", place: "line 3" }] });
  });

  it("say which columns there are", () => {
    const read = (text: string, format: "tsv" | "jsonl") =>
      mapTableRows(text, "f", { format, header: true }, strict(), (row) => textCell(row, "label"));
    expect(() => read("text\tclass\na\t1\n", "tsv")).toThrowError(
      expect.objectContaining({ hint: expect.stringContaining("text, class") }),
    );
    expect(() => read('{"text": "a"}\n', "jsonl")).toThrowError(
      expect.objectContaining({ message: 'f, line 1: no field "label".' }),
    );
    expect(() => read('{"label": 1}\n{"label"\n', "jsonl")).toThrowError(/f, line 2: no valid JSON/);
  });

  it("count columns from the end too", () => {
    const rows = mapTableRows("a\tb\tc\n", "f", { format: "tsv", header: false }, strict(), (row) =>
      textCell(row, -1),
    );
    expect(rows).toEqual(["c"]);
  });
});

describe("tagged words", () => {
  const text = "-DOCSTART- -X- O\n\na XX B-NP\nb XX O\n\n\nc XX O";

  it("end sentences at blank lines, and lose the last one only if told to", () => {
    expect(taggedSentences(text, "f", { keepLast: false }, strict())).toEqual([
      { line: 3, words: ["a", "b"], tags: ["B-NP", "O"] },
    ]);
    expect(taggedSentences(text, "f", { keepLast: true }, strict())).toHaveLength(2);
    // A line end is not yet a blank line.
    expect(taggedSentences("a O\n", "f", { keepLast: false }, strict())).toEqual([]);
    expect(taggedSentences("a O\n\n", "f", { keepLast: false }, strict())).toHaveLength(1);
  });

  it("give up a sentence with a bad line, once", () => {
    const bad = lenient();
    const sentences = taggedSentences("a\nb\nc O\n\nd O\n\n", "f", { keepLast: true }, bad);
    expect(sentences.map(({ words }) => words)).toEqual([["d"]]);
    expect(bad.summary()).toMatchObject({ count: 1, rows: [{ place: "line 1" }] });
  });
});

describe("questions", () => {
  it("come from SQuAD with the first answer for training and all for the evaluation", () => {
    const file = {
      version: "v2.0",
      data: [
        {
          title: "t",
          paragraphs: [
            {
              context: "the old bridge",
              qas: [
                {
                  id: "a",
                  question: "?",
                  answers: [
                    { text: "old", answer_start: 4 },
                    { text: "bridge", answer_start: 8 },
                  ],
                },
                { id: "b", question: "?", answers: [], is_impossible: true },
              ],
            },
          ],
        },
      ],
    };
    const read = (unanswerable: boolean) =>
      squadQuestions(JSON.stringify(file), "f", { unanswerable }).questions;
    expect(read(true)[0]).toMatchObject({ answer: { text: "old", start: 4 }, answers: ["old", "bridge"] });
    expect(read(true).map(({ impossible }) => impossible)).toEqual([false, true]);
    expect(read(false).map(({ impossible }) => impossible)).toEqual([false, false]);
    expect(() => squadQuestions('{"data": [{"paragraphs": 1}]}', "f", { unanswerable: true })).toThrowError(
      expect.objectContaining({
        code: "ERR_ELECTRA_TASK_DATA",
        message: expect.stringContaining("data.0.paragraphs"),
      }),
    );
  });

  it("come from MRQA without its headers", () => {
    const line = {
      context: "the bridge",
      qas: [
        {
          qid: "q",
          question: "?",
          answers: ["bridge"],
          detected_answers: [{ text: "bridge", char_spans: [[4, 9]] }],
        },
      ],
    };
    const text = `{"header": {}}\n${JSON.stringify(line)}\n{"context": 1}\n`;
    const bad = lenient();
    expect(mrqaQuestions(text, "f", false, bad)).toMatchObject([
      { id: "q", answer: { text: "bridge", start: 4 }, place: "line 2, question q" },
    ]);
    expect(bad.summary().count).toBe(1);
  });

  it("come from tables, where an answer must stand in the context", () => {
    const columns = { question: "q", context: "c", answer: "a" };
    const read = (rows: readonly object[], unanswerable = false, bad = strict()) =>
      tableQuestions(
        rows.map((row) => JSON.stringify(row)).join("\n"),
        "f",
        { format: "jsonl", header: false, unanswerable },
        columns,
        bad,
      );
    const context = "\u{1f309} the bridge";
    expect(read([{ q: "?", c: context, a: ["bridge", "the"] }])[0]).toMatchObject({
      id: "0",
      answer: { text: "bridge", start: 6 },
      answers: ["bridge", "the"],
    });
    expect(() => read([{ q: "?", c: context, a: "boat" }])).toThrowError(
      /f, line 1: the answer "boat" is not in/,
    );
    expect(() => read([{ q: "?", c: context, a: "" }])).toThrowError(/has no answer/);
    expect(read([{ q: "?", c: context, a: null }], true)[0]).toMatchObject({ impossible: true, answers: [] });
  });
});
