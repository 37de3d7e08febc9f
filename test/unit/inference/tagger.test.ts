import { describe, expect, it } from "vitest";
import { createTask } from "../../../src/finetuning/tasks/create-task.js";
import { FinetunedModel } from "../../../src/inference/finetuned-model.js";
import { Tagger } from "../../../src/inference/tagger.js";
import { taskFolder } from "../finetuning/task-folder.js";
import { describeWithEngines } from "./describe-with-finetuning.js";
import { softmax } from "./naive-engine.js";
import { saveTinyFinetuned, tinyTasks } from "./tiny-finetuned.js";
import { tinyTokens } from "./tiny-model.js";

const { names } = tinyTasks;

describeWithEngines("a tagger", (options) => {
  it("tags each word at its first piece", async () => {
    const { trial, naive } = await saveTinyFinetuned({ tasks: [names] });
    const tagger = await Tagger.open(trial, options);
    const text = "The dog, \u{1f408} cat";
    const [result] = await tagger.tag([text]);
    await tagger.dispose();
    const tokens = "[CLS] the d ##o ##g , [UNK] cat [SEP]".split(" ");
    const hidden = naive.encode(
      tokens.map((token) => tinyTokens.indexOf(token)),
      tokens.map(() => 1),
    );
    const kernel = await naive.readParameter("task_specific/names/dense/kernel");
    const bias = await naive.readParameter("task_specific/names/dense/bias");
    const expected = [1, 2, 5, 6, 7].map((position) => {
      const logits = names.head.labels.map((_, c) =>
        hidden[position]!.reduce((sum, value, k) => sum + value * kernel[k * 5 + c]!, bias[c]!),
      );
      const chances = softmax(logits);
      const probability = Math.max(...chances);
      return {
        tag: names.head.labels[chances.indexOf(probability)],
        probability: expect.closeTo(probability, 4),
      };
    });
    const places = [
      ["The", 0, 3],
      ["dog", 4, 7],
      [",", 7, 8],
      ["\u{1f408}", 9, 11],
      ["cat", 12, 15],
    ] as const;
    expect(result!.words).toEqual(
      places.map(([word, start, end], i) => ({ word, start, end, ...expected[i]! })),
    );
    expect(result!.cutWords).toBe(0);
  });

  it("puts tags together to spans of the text", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [names], seed: 8 });
    const tagger = await Tagger.open(trial, options);
    const texts = ["the  cat sat. a dog, a cat", ["the", "cat", "s.a.t"], "", [], "\u{1f408} zo\u00eb  sat"];
    const results = await tagger.tag(texts);
    await tagger.dispose();
    expect(results.map(({ words }) => words.map(({ word }) => word))).toEqual([
      ["the", "cat", "sat", ".", "a", "dog", ",", "a", "cat"],
      ["the", "cat", "s.a.t"],
      [],
      [],
      ["\u{1f408}", "zo\u00eb", "sat"],
    ]);
    for (const [i, { words, spans }] of results.entries()) {
      const text = [texts[i]!].flat().join(" ");
      for (const { word, start, end } of words) expect(text.slice(start, end)).toBe(word);
      for (const span of spans) expect(text.slice(span.start, span.end)).toBe(span.text);
      // Every word with a tag but O lies in exactly one span, and no other word in any.
      for (const { tag, start, end } of words) {
        expect(spans.filter((span) => span.start <= start && end <= span.end)).toHaveLength(
          tag === "O" ? 0 : 1,
        );
      }
    }
    expect(results.some(({ spans }) => spans.length > 0)).toBe(true);
  });

  it.each([true, false])(
    "tags all words of a text that is too long (cut by pieces: %s)",
    async (byPieces) => {
      const hparams = { tagging_cuts_by_pieces: byPieces };
      const { trial } = await saveTinyFinetuned({ tasks: [names], hparams });
      const tagger = await Tagger.open(trial, options);
      const words = Array.from({ length: 60 }, (_, i) => ["the", "cat", "dog", "sat", "."][(i * i) % 5]!);
      const [long, short, huge] = await tagger.tag([
        words,
        words.slice(0, 5),
        ["the", "x".repeat(40), "cat"],
      ]);
      expect(long!.words.map(({ word }) => word)).toEqual(words);
      expect(long!.words.every(({ tag }) => tag !== null)).toBe(true);
      expect(long!.cutWords).toBe(0);
      const lengths = Array.from({ length: 24 }, (_, i) => i + 8);
      const all = await tagger.tag(lengths.map((length) => words.slice(0, length)));
      expect(all.map(({ words: found }) => found.filter(({ tag }) => tag !== null).length)).toEqual(lengths);
      // What stands far from the cut has nearly nothing to do with it: its window is a row of its own.
      const windowed = await tagger.tag([words.slice(0, byPieces ? 12 : 6)]);
      expect(long!.words[0]!.tag).toBe(windowed[0]!.words[0]!.tag);
      expect(short!.words).toHaveLength(5);
      expect(huge!.words.map(({ tag }) => tag === null)).toEqual([false, true, false]);
      expect(huge!.cutWords).toBe(1);
      await tagger.dispose();
    },
  );

  it("gives no tag where the training has none for a word", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [names] });
    const tagger = await Tagger.open(trial, options);
    const [result] = await tagger.tag([["the", "[SEP]", "cat"]]);
    expect(result!.words.map(({ tag }) => tag === null)).toEqual([false, true, false]);
    await tagger.dispose();
  });

  it("has no spans for tags that mark none", async () => {
    const tags = { name: "pos", head: { kind: "tagging", labels: ["NN", "PRP$", "-LRB-"] } } as const;
    const { trial } = await saveTinyFinetuned({ tasks: [tags] });
    const tagger = await Tagger.open(trial, options);
    const [result] = await tagger.tag(["the cat sat"]);
    expect(result!.spans).toEqual([]);
    expect(result!.words).toHaveLength(3);
    await tagger.dispose();
  });
});

describe("words", () => {
  it.each([{}, { tagging_cuts_by_pieces: true }])("are prepared as in the training: %o", async (hparams) => {
    const { trial, naively } = await saveTinyFinetuned({ tasks: [names], hparams });
    const tagger = new Tagger(await FinetunedModel.open(trial, naively));
    const sentences = [
      ["The", "cat", "sat."],
      ["Zo\u00eb", "\u200b", "[SEP]", "dog"],
      Array.from({ length: 30 }, () => "cats"),
      ["a"],
    ];
    const { settings } = taskFolder(
      {
        "chunk/train.txt": `${sentences.map((words) => words.map((word) => `${word} X B-PER\n`).join("")).join("\n")}\n`,
        "chunk/dev.txt": `${sentences.map((words) => words.map((word) => `${word} X B-PER\n`).join("")).join("\n")}\n`,
      },
      { task_names: ["chunk"], max_seq_length: 24, ...hparams },
    );
    const task = await createTask("chunk", { ...settings, tokenizer: tagger.model.tokenizer });
    const { examples } = await task.examples("dev");
    expect(examples).toHaveLength(sentences.length);
    for (const [i, example] of examples.entries()) {
      const [expected] = task.featurize(example, false);
      const row = tagger.featurize(sentences[i]!);
      expect(row.inputIds).toEqual(expected!.inputIds);
      expect(row.segmentIds).toEqual(expected!.segmentIds);
      expect((row.target as { positions?: unknown }).positions).toEqual(
        (expected!.target as { positions?: unknown }).positions,
      );
    }
    await tagger.dispose();
  });
});
