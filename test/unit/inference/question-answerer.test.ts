import { describe, expect, it } from "vitest";
import { answerOffsets } from "../../../src/finetuning/answers/answer-offsets.js";
import type { QuestionScorer } from "../../../src/finetuning/answers/question-scorer.js";
import { contextWords } from "../../../src/finetuning/features/context-words.js";
import type { FinetunedTask } from "../../../src/finetuning/finetuned-file.js";
import type { HeadOutput } from "../../../src/finetuning/task.js";
import { createTask } from "../../../src/finetuning/tasks/create-task.js";
import { QuestionAnswerer } from "../../../src/inference/question-answerer.js";
import { taskFolder } from "../finetuning/task-folder.js";
import { describeWithEngines } from "./describe-with-finetuning.js";
import { saveTinyFinetuned, spanHead, tinyTasks } from "./tiny-finetuned.js";
import { tinyTokens } from "./tiny-model.js";

const { questions } = tinyTasks;
const question = "Who sat?";
const contexts = [
  "The cat sat on the mat.",
  "  The   cat\t\tsat,\n on\u202fthe mat ",
  "\u{1f309} The \u{1f408}cat\u{1f408} s\u00e1t (caf\u00e9) \u{1f309}\u{1f309} on a m\u00e0t",
  "The cat. ".repeat(12),
  "x",
];
const variants: readonly (readonly [string, FinetunedTask])[] = [
  ["joint prediction", questions],
  ["independent ends", { name: "questions", head: { ...spanHead, jointPrediction: false } }],
  ["no classifier", { name: "questions", head: { ...spanHead, answerableClassifier: false } }],
  [
    "neither",
    { name: "questions", head: { ...spanHead, jointPrediction: false, answerableClassifier: false } },
  ],
  ["a simple classifier", { name: "questions", head: { ...spanHead, answerableUsesStartLogits: false } }],
];
const collapse = (text: string) => text.replace(/[ \t\r\n\u202f]+/g, " ");

describeWithEngines("a question answerer", (options) => {
  it.each(variants)("gives the answers that the reference's formulas give: %s", async (_, task) => {
    const { trial, naively, naive } = await saveTinyFinetuned({ tasks: [task] });
    const answerer = await QuestionAnswerer.open(trial, options);
    const reference = await QuestionAnswerer.open(trial, naively);
    const inputs = contexts.map((context) => ({ question, context }));
    const found = await answerer.answer(inputs, { nBest: 3 });
    const expected = await reference.answer(inputs, { nBest: 3 });
    for (const [i, { answers, noAnswerOdds }] of found.entries()) {
      expect(answers.map(pick)).toEqual(expected[i]!.answers.map(pick));
      // The odds are sums of 512 products up to 20 behind two layers of weights up to 0.6, computed in float32.
      expect(noAnswerOdds).toBeCloseTo(expected[i]!.noAnswerOdds, 2);
      for (const [k, { probability }] of answers.entries()) {
        expect(probability).toBeCloseTo(expected[i]!.answers[k]!.probability, 3);
      }
    }
    // By hand for a context of one window: "x" after [CLS] who sat ? [SEP].
    const tokens = "[CLS] w ##h ##o sat [UNK] [SEP] x [SEP]".split(" ");
    const segments = tokens.map((__, k) => (k < 7 ? 0 : 1));
    const hidden = naive.encode(
      tokens.map((token) => tinyTokens.indexOf(token)),
      segments,
    );
    const { answerable } = naive.span(task.name, spanOf(task), { segments, hidden });
    if (spanOf(task).answerableClassifier) {
      expect(found[4]!.noAnswerOdds).toBeCloseTo(answerable, 2);
    }
    await answerer.dispose();
    await reference.dispose();
  });

  it.each(variants)("finds the answers of the task's evaluation, and their places: %s", async (_, task) => {
    const { trial } = await saveTinyFinetuned({ tasks: [task] });
    const answerer = await QuestionAnswerer.open(trial, options);
    const { model } = answerer;
    const answered = await answerer.answer(
      contexts.map((context) => ({ question, context })),
      { nBest: 5 },
    );
    // The other way to the same answers: through the task, its features and its scorer.
    const { settings } = taskFolder(
      {
        "squad/dev.json": JSON.stringify({
          data: [
            { paragraphs: contexts.map((context, i) => ({ context, qas: [{ id: `q${i}`, question }] })) },
          ],
        }),
      },
      {
        task_names: ["squad"],
        max_seq_length: 24,
        max_query_length: 8,
        doc_stride: 6,
        joint_prediction: spanOf(task).jointPrediction,
        answerable_classifier: spanOf(task).answerableClassifier,
        answerable_uses_start_logits: spanOf(task).answerableUsesStartLogits,
      },
    );
    const squad = await createTask("squad", { ...settings, tokenizer: model.tokenizer });
    const scorer = (await squad.scorer("dev")) as QuestionScorer;
    for (const example of (await squad.examples("dev")).examples) {
      const rows = squad.featurize(example, false);
      const outputs: HeadOutput[] = await model.predict(task, rows);
      for (const [i, row] of rows.entries()) scorer.add(row, outputs[i]!);
    }
    const { predictions, nullOdds } = scorer.predictions();
    for (const [i, context] of contexts.entries()) {
      const { text, start, end, answers, noAnswerOdds, cutTokens } = answered[i]!;
      const found = answers.length > 0;
      expect(text).toBe(found ? predictions[`q${i}`] : "");
      // Batches of other shapes are rounded otherwise.
      expect(noAnswerOdds).toBeCloseTo(nullOdds![`q${i}`]!, 4);
      expect(cutTokens).toBe(0);
      expect({ text, start, end }).toEqual(found ? pick(answers[0]!) : { text: "", start: 0, end: 0 });
      for (const answer of answers)
        expect(collapse(context.slice(answer.start, answer.end))).toBe(answer.text);
      expect(answers.reduce((sum, { probability }) => sum + probability, 0)).toBeLessThan(1 + 1e-9);
      for (const [k, { probability }] of answers.entries()) {
        expect(probability).toBeGreaterThan(0);
        if (k > 0) expect(probability).toBeLessThanOrEqual(answers[k - 1]!.probability);
      }
    }
    expect(answered.some(({ answers }) => answers.length > 1)).toBe(true);
    expect(answered[3]!.windows).toBeGreaterThan(2);
    await answerer.dispose();
  });

  it("knows no answer without a context, and says what of a question was cut", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [questions] });
    const answerer = await QuestionAnswerer.open(trial, options);
    const [empty, blank, long] = await answerer.answer([
      { question, context: "" },
      { question, context: " \n" },
      { question: "the ".repeat(11), context: "the cat" },
    ]);
    for (const nothing of [empty, blank]) {
      expect(nothing).toEqual({
        text: "",
        probability: 0,
        start: 0,
        end: 0,
        answers: [],
        noAnswerOdds: Infinity,
        cutTokens: 0,
        windows: 0,
      });
    }
    expect(long!.cutTokens).toBe(3);
    await answerer.dispose();
  });

  it("answers one question as it answers many", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [questions] });
    const answerer = await QuestionAnswerer.open(trial, options);
    const inputs = contexts.map((context) => ({ question, context }));
    const together = await answerer.answer(inputs, { batchSize: 4 });
    const streamed = [];
    for await (const answer of answerer.answerStream(inputs)) streamed.push(answer);
    for (const [i, input] of inputs.entries()) {
      const [alone] = await answerer.answer([input]);
      expect(pick(together[i]!)).toEqual(pick(alone!));
      expect(pick(streamed[i]!)).toEqual(pick(alone!));
      expect(together[i]!.answers.length).toBeLessThanOrEqual(1);
    }
    await answerer.dispose();
  });
});

describe("places of answers", () => {
  it("count UTF-16 units of the context, whatever white space is between its words", () => {
    const context = " a\u{1f309}b  cd\te ";
    const words = contextWords(context);
    expect(words.words).toEqual(["a\u{1f309}b", "cd", "e"]);
    const place = (first: number, last: number, start: number, end: number) => {
      const offsets = answerOffsets(words, { words: [first, last], range: [start, end] })!;
      return context.slice(...offsets);
    };
    expect(place(0, 0, 0, 4)).toBe("a\u{1f309}b");
    expect(place(0, 0, 1, 3)).toBe("\u{1f309}");
    expect(place(0, 1, 0, 7)).toBe("a\u{1f309}b  cd");
    expect(place(0, 2, 3, 6)).toBe("b  c");
    expect(place(1, 2, 1, 4)).toBe("d\te");
    // An answer that ends before the white space.
    expect(place(0, 1, 0, 4)).toBe("a\u{1f309}b");
    expect(place(2, 2, 0, 1)).toBe("e");
    expect(answerOffsets(words, {})).toBeUndefined();
  });
});

function spanOf({ head }: FinetunedTask) {
  if (head.kind !== "span") throw new Error("no span head");
  return head;
}

function pick({ text, start, end }: { readonly text: string; readonly start: number; readonly end: number }) {
  return { text, start, end };
}
