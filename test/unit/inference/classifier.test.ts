import { describe, expect, it } from "vitest";
import { createTask } from "../../../src/finetuning/tasks/create-task.js";
import { Classifier } from "../../../src/inference/classifier.js";
import { taskFolder } from "../finetuning/task-folder.js";
import { describeWithEngines } from "./describe-with-finetuning.js";
import { softmax } from "./naive-engine.js";
import { saveTinyFinetuned, tinyTasks } from "./tiny-finetuned.js";
import { tinyTokens } from "./tiny-model.js";

const { mood, topics, likeness } = tinyTasks;
const idsOf = (tokens: string): number[] => tokens.split(" ").map((token) => tinyTokens.indexOf(token));

describeWithEngines("a classifier", (options, engine) => {
  it("gives the probabilities of the head's logits", async () => {
    const { trial, naive } = await saveTinyFinetuned({ tasks: [mood] });
    const classifier = await Classifier.open(trial, options);
    const results = await classifier.classify([
      "The cat, sat",
      { text: "cat", textPair: "The dog." },
      "",
      { text: "cat", textPair: "" },
    ]);
    await classifier.dispose();
    const rows = [
      ["[CLS] the cat , sat [SEP]", 6],
      ["[CLS] cat [SEP] the d ##o ##g . [SEP]", 3],
      ["[CLS] [SEP]", 2],
      ["[CLS] cat [SEP]", 3],
    ] as const;
    for (const [i, [tokens, first]] of rows.entries()) {
      const ids = idsOf(tokens);
      const hidden = naive.encode(
        ids,
        ids.map((_, k) => (k < first ? 0 : 1)),
      );
      const kernel = await naive.readParameter("task_specific/mood/dense/kernel");
      const bias = await naive.readParameter("task_specific/mood/dense/bias");
      const expected = softmax(
        [0, 1, 2].map((c) =>
          hidden[0]!.reduce((sum, value, k) => sum + value * kernel[k * 3 + c]!, bias[c]!),
        ),
      );
      const { label, probability, probabilities, cutTokens } = results[i]!;
      expect(Object.keys(probabilities!)).toEqual(["bad", "good", "odd"]);
      for (const [c, name] of ["bad", "good", "odd"].entries()) {
        expect(probabilities![name]).toBeCloseTo(expected[c]!, 4);
      }
      expect(probability).toBe(Math.max(...Object.values(probabilities!)));
      expect(label).toBe(mood.head.labels[expected.indexOf(Math.max(...expected))]);
      expect(cutTokens).toBe(0);
    }
  });

  it("names the labels above the threshold, each with a probability of its own", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [topics] });
    const classifier = await Classifier.open(trial, options);
    const [even] = await classifier.classify(["the cat"]);
    const { probabilities } = even!;
    const ranked = Object.entries(probabilities!).sort(([, a], [, b]) => b - a);
    expect(even!.labels).toEqual(topics.head.labels.filter((label) => probabilities![label]! > 0.5));
    const threshold = (ranked[0]![1] + ranked[1]![1]) / 2;
    const [strict] = await classifier.classify(["the cat"], { threshold });
    expect(strict!.labels).toEqual([ranked[0]![0]]);
    const [none] = await classifier.classify(["the cat"], { threshold: 0.9999999 });
    expect(none!.labels).toEqual([]);
    await classifier.dispose();
  });

  it("gives values on the scale of the training data", async () => {
    const { trial, naive } = await saveTinyFinetuned({ tasks: [likeness] });
    const classifier = await Classifier.open(trial, options);
    const [result] = await classifier.classify([{ text: "the cat", textPair: "cat" }]);
    await classifier.dispose();
    const ids = idsOf("[CLS] the cat [SEP] cat [SEP]");
    const hidden = naive.encode(ids, [0, 0, 0, 0, 1, 1]);
    const kernel = await naive.readParameter("task_specific/likeness/dense/kernel");
    const bias = await naive.readParameter("task_specific/likeness/dense/bias");
    const learned = hidden[0]!.reduce((sum, value, k) => sum + value * kernel[k]!, bias[0]!);
    // The head learns (value - minimum) / maximum.
    expect(result!.value).toBeCloseTo(5 * learned + 1, 4);
  });

  it("says how much of a long text was cut", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [mood] });
    const classifier = await Classifier.open(trial, options);
    const cats = (count: number) => Array.from({ length: count }, () => "cat").join(" ");
    const inputs = [
      cats(22),
      cats(23),
      { text: cats(30), textPair: cats(3) },
      { text: cats(11), textPair: cats(10) },
    ];
    const results = await classifier.classify(inputs);
    expect(results.map(({ cutTokens }) => cutTokens)).toEqual([0, 1, 12, 0]);
    const [same] = await classifier.classify([cats(22)]);
    expect(results[1]!.probability).toBeCloseTo(same!.probability!, 5);
    await classifier.dispose();
  });

  it("answers a stream in order and does not read ahead without end", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [mood] });
    const classifier = await Classifier.open(trial, options);
    const words = ["the", "cat", "sat", "the cat sat", "a", ""];
    const expected = await classifier.classify(words);
    let read = 0;
    async function* texts() {
      for (; ; read++) yield words[read % words.length]!;
    }
    let taken = 0;
    const wanted = engine === "native" ? 1500 : 10;
    for await (const { label } of classifier.classifyStream(texts(), { batchSize: 64 })) {
      expect(label).toBe(expected[taken % words.length]!.label);
      if (++taken === wanted) break;
    }
    expect(read).toBeLessThan(wanted + 4000);
    await classifier.dispose();
  }, 30_000);

  it("stops with the signal's reason", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [mood] });
    const classifier = await Classifier.open(trial, options);
    const reason = new Error("enough");
    await expect(classifier.classify(["the cat"], { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    const controller = new AbortController();
    const stream = classifier.classifyStream(
      (function* () {
        for (;;) yield "the cat";
      })(),
      { signal: controller.signal },
    );
    await stream.next();
    controller.abort(reason);
    await expect(
      (async () => {
        for await (const _ of stream) {
          // Until it stops.
        }
      })(),
    ).rejects.toBe(reason);
    await classifier.dispose();
  });
});

describe("texts", () => {
  it("are prepared as in the training", async () => {
    const { trial, naively } = await saveTinyFinetuned({ tasks: [mood] });
    const classifier = await Classifier.open(trial, naively);
    const rows = ["The cat", "Zoë, sat!", "a b c d e f g h i j k l m n o p q r s t u v w x y z", ""];
    const { settings } = taskFolder(
      {
        "mood/task.json": JSON.stringify({
          type: "pair",
          format: "csv",
          files: { train: "t.csv", dev: "t.csv" },
          columns: { text: "one", text_b: "two", label: "mood" },
          labels: mood.head.labels,
        }),
        "mood/t.csv": `one,two,mood\n${rows.map((row) => `"${row}","${[...row].reverse().join("")}",odd`).join("\n")}\n`,
      },
      { task_names: ["mood"], max_seq_length: 24 },
    );
    const task = await createTask("mood", { ...settings, tokenizer: classifier.model.tokenizer });
    const { examples } = await task.examples("dev");
    expect(examples).toHaveLength(rows.length);
    for (const [i, example] of examples.entries()) {
      const [expected] = task.featurize(example, false);
      const { inputIds, segmentIds } = classifier.featurize(rows[i]!, [...rows[i]!].reverse().join(""));
      expect(inputIds).toEqual(expected!.inputIds);
      expect(segmentIds).toEqual(expected!.segmentIds);
    }
    await classifier.dispose();
  });
});
