import { describe, expect, it } from "vitest";
import { answerBaseline, constantBaseline } from "../../../src/bench/finetuning-baselines.js";
import { cutDocuments } from "../../../src/bench/finetuning-table-data.js";
import {
  type FinetuningTableReport,
  formatFinetuningTable,
} from "../../../src/bench/finetuning-table-report.js";
import { createTasks } from "../../../src/finetuning/tasks/create-task.js";
import { taskFolder } from "../finetuning/task-folder.js";

async function baselineOf(files: Readonly<Record<string, string>>, name: string) {
  const { settings } = taskFolder(files, { task_names: [name] });
  const [task] = await createTasks(settings);
  return await constantBaseline(task!);
}

const sst = (rows: readonly (readonly [string, number])[]) =>
  ["sentence\tlabel", ...rows.map((row) => row.join("\t"))].join("\n");

describe("text cut into documents", () => {
  it("gives each document its sentences in turn, and ends one where the text does", () => {
    expect(cutDocuments("a\nb\nc\nd\ne\nf", [1, 2])).toBe("a\n\nb\nc\n\nd\n\ne\nf\n\n");
    expect(cutDocuments("a\n \n\nb\n\nc\r\nd\n", [1, 2])).toBe("a\n\nb\n\nc\n\nd\n\n");
    expect(cutDocuments("\n\n", [1])).toBe("");
  });
});

describe("what labels alone give", () => {
  it("is the most frequent class of the training data, on the dev data", async () => {
    const { metrics, what } = await baselineOf(
      {
        "sst/train.tsv": sst([
          ["red", 1],
          ["blue", 1],
          ["old", 0],
        ]),
        "sst/dev.tsv": sst([
          ["red", 1],
          ["boat", 0],
          ["bridge", 0],
          ["old", 1],
          ["blue", 0],
        ]),
      },
      "sst",
    );
    expect(metrics["accuracy"]).toBeCloseTo(40, 10);
    expect(what).toContain('"1"');
  });

  it("is the mean of a number, which correlates with nothing", async () => {
    const row = (a: string, b: string, value: number) =>
      ["0", "x", "x", "x", "x", "x", "x", a, b, value].join("\t");
    const header = "index\tgenre\tfile\tyear\told\ts1\ts2\tsentence1\tsentence2\tscore";
    const { metrics } = await baselineOf(
      {
        "sts/train.tsv": [header, row("red", "blue", 1), row("old", "old", 4)].join("\n"),
        "sts/dev.tsv": [header, row("red", "boat", 2), row("the", "the", 3)].join("\n"),
      },
      "sts",
    );
    expect(metrics["spearman"]).toBeNull();
    // The mean 2.5 of 5 misses both by 0.1 on the scale from 0 to 1.
    expect(metrics["mse"]).toBeCloseTo(0.01, 10);
  });

  it("is each word's usual tag, and of an unknown word the usual one", async () => {
    const text = (pairs: string) =>
      `${pairs
        .split(" ")
        .map((pair) => pair.split("/").join(" "))
        .join("\n")}\n\n`;
    const { metrics } = await baselineOf(
      {
        "chunk/train.txt": text("the/B-NP bridge/I-NP is/B-VP") + text("the/B-NP boat/I-NP is/B-VP"),
        "chunk/dev.txt": text("the/B-NP boat/I-NP is/B-VP") + text("is/B-VP the/B-NP blue/I-NP boat/I-NP"),
      },
      "chunk",
    );
    // "blue" gets the first of the most frequent tags, B-NP, which cuts its noun phrase in two: three spans of four are right,
    // and five are said.
    expect(metrics["recall"]).toBeCloseTo(75, 10);
    expect(metrics["precision"]).toBeCloseTo(60, 10);
  });

  it("is the most frequent answer, whatever its articles", () => {
    const question = (id: string, ...answers: string[]) => ({ id, answers });
    const { metrics, what } = answerBaseline(
      [question("a", "The red boat"), question("b", "red boat!"), question("c", "blue")],
      [question("d", "A red boat"), question("e", "old red boat"), question("f", "when")],
    );
    expect(what).toBe('always "red boat"');
    expect(metrics["exact_match"]).toBeCloseTo(100 / 3, 10);
    expect(metrics["f1"]).toBeCloseTo((100 * (1 + 0.8)) / 3, 10);
  });
});

describe("the table", () => {
  it("sets both starts beside the baseline", () => {
    const start = (median: number | null, standardDeviation: number | null, degenerateTrials = 0) => ({
      layerwiseDecay: 0.8,
      summary: { median, mean: median, standardDeviation, trials: 3 },
      degenerateTrials,
      seconds: 1,
    });
    const report = {
      rows: [
        {
          task: "sst",
          metric: "accuracy",
          baseline: { metrics: { accuracy: 50.91 }, what: "always" },
          random: { ...start(78.25, 0.51), layerwiseDecay: 0 },
          pretrained: start(80.04, 0.39),
        },
        {
          task: "sts",
          metric: "spearman",
          baseline: { metrics: { spearman: null }, what: "mean" },
          random: start(null, null, 3),
          pretrained: start(60, null),
        },
      ],
    } as unknown as FinetuningTableReport;
    expect(formatFinetuningTable(report).split("\n")).toEqual([
      "| task | metric | without a model | random start | pre-trained start | gain |",
      "| --- | --- | --- | --- | --- | --- |",
      "| sst | accuracy | 50.9 | 78.3 ± 0.5 (decay 0) | 80.0 ± 0.4 | +1.8 |",
      "| sts | spearman | – | –, 3 of 3 learned nothing (decay 0.8) | 60.0 | – |",
    ]);
  });
});
