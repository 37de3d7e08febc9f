import { describe, expect, it } from "vitest";
import { finalAnswerText } from "../../../src/finetuning/answers/final-text.js";
import type { QuestionScorer } from "../../../src/finetuning/answers/question-scorer.js";
import { contextWords } from "../../../src/finetuning/features/context-words.js";
import type { QuestionExample } from "../../../src/finetuning/features/question-example.js";
import { questionExample } from "../../../src/finetuning/features/question-example.js";
import { questionFeatures } from "../../../src/finetuning/features/question-features.js";
import { createTask } from "../../../src/finetuning/tasks/create-task.js";
import { BasicTokenizer } from "../../../src/tokenization/basic-tokenizer.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { taskFolder, toyVocabulary } from "./task-folder.js";

const tokenizer = new Tokenizer({ vocabulary: toyVocabulary });
const record = {
  id: "q",
  question: "where ?",
  context: "the old bridge is red . the boats",
  answers: ["red"],
  impossible: false,
  place: "line 1",
};
const example = (answer: { text: string; start: number } | undefined, training = true) =>
  questionExample({ ...record, ...(answer === undefined ? {} : { answer }) }, 3, training);

describe("contexts", () => {
  it("part at five characters only, and count code points", () => {
    const { words, wordOfCharacter } = contextWords(" a\u00a0b\t\u{1f309} c\u202fd");
    expect(words).toEqual(["a\u00a0b", "\u{1f309}", "c", "d"]);
    expect([...wordOfCharacter]).toEqual([-1, 0, 0, 0, 0, 1, 1, 2, 2, 3]);
  });

  it("give the words of an answer, or say why not", () => {
    expect(example({ text: "bridge is", start: 8 })).toMatchObject({ startWord: 2, endWord: 3, eid: 3 });
    expect(example({ text: "boats", start: 30 })).toMatchObject({
      reason: expect.stringContaining("beyond"),
    });
    expect(example({ text: "boats", start: 0 })).toMatchObject({
      reason: expect.stringContaining('"the old"'),
    });
    expect(example(undefined)).toMatchObject({ reason: expect.stringContaining("no answer") });
    expect(example(undefined, false)).toMatchObject({ startWord: null, impossible: false });
  });
});

describe("windows of a context", () => {
  const options = { tokenizer, maxSeqLength: 9, maxQueryLength: 2, docStride: 2 };
  const rows = questionFeatures(example({ text: "red", start: 18 }) as QuestionExample, true, options);

  it("overlap by the stride and end with the context", () => {
    // Nine pieces, four in a window.
    expect(rows.map(({ window }) => [...window!.wordOfPiece])).toEqual([
      [0, 1, 2, 3],
      [2, 3, 4, 5],
      [4, 5, 6, 7],
      [6, 7, 7],
    ]);
    expect(rows.map(({ eid }) => eid)).toEqual([3000, 3001, 3002, 3003]);
    expect(rows[3]!.inputIds.length).toBe(8);
  });

  it("hold each piece best in exactly one of them", () => {
    const seen = rows.flatMap(({ window }) =>
      [...window!.wordOfPiece].filter((_, i) => window!.isMaxContext[i] === 1),
    );
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 7]);
  });

  it("point at [CLS] where the answer is elsewhere, but stay answerable", () => {
    expect(rows.map(({ target }) => target)).toEqual([
      { kind: "span", start: 0, end: 0, impossible: false },
      { kind: "span", start: 6, end: 6, impossible: false },
      { kind: "span", start: 4, end: 4, impossible: false },
      { kind: "span", start: 0, end: 0, impossible: false },
    ]);
  });

  it("hold an answer up to their last piece", () => {
    const [first] = questionFeatures(
      example({ text: "bridge is", start: 8 }) as QuestionExample,
      true,
      options,
    );
    expect(first!.target).toMatchObject({ start: 6, end: 7 });
    expect(first!.inputIds.length).toBe(9);
  });

  it("of which several show as much: the first one counts", () => {
    const dense = questionFeatures(example(undefined, false) as QuestionExample, false, {
      ...options,
      docStride: 1,
    });
    expect(dense.slice(0, 3).map(({ window }) => [...window!.isMaxContext])).toEqual([
      [1, 1, 1, 0],
      [0, 0, 1, 0],
      [0, 0, 1, 0],
    ]);
  });

  it("need room", () => {
    expect(() =>
      questionFeatures(example(undefined, false) as QuestionExample, false, { ...options, maxSeqLength: 5 }),
    ).toThrowError(expect.objectContaining({ code: "ERR_ELECTRA_HPARAM_CONFLICT" }));
  });
});

describe("answers", () => {
  it("are projected to the original, or are all of it", () => {
    const basic = new BasicTokenizer();
    expect(finalAnswerText("zoe", "Zoë's", basic)).toBe("Zoë");
    expect(finalAnswerText("bridge", "Boat", basic)).toBe("Boat");
    expect(finalAnswerText("18", "\u{1f309} $18.93", basic)).toBe("18");
  });

  const squad = {
    data: [
      {
        paragraphs: [
          {
            context: record.context,
            qas: [{ id: "q", question: "where ?", answers: [{ text: "old", answer_start: 4 }] }],
          },
        ],
      },
    ],
  };

  async function scored(hparams: object): Promise<QuestionScorer> {
    const { settings } = taskFolder(
      { "squad/dev.json": JSON.stringify(squad) },
      {
        task_names: ["squad"],
        max_seq_length: 16,
        joint_prediction: false,
        n_best_size: 3,
        max_answer_length: 2,
        ...hparams,
      },
    );
    const task = await createTask("squad", settings);
    const { examples } = await task.examples("dev");
    const [row, ...more] = task.featurize(examples[0]!, false);
    expect(more).toEqual([]);
    const logits = (best: number, next: number) =>
      Array.from(row!.inputIds, (_, i) => (i === best ? 5 : i === next ? 4 : 0));
    const scorer = (await task.scorer("dev")) as QuestionScorer;
    // Best start: the first [SEP], which is no answer; then "old". Best end: "is", too far away; then "old".
    scorer.add(row!, { startLogits: logits(3, 5), endLogits: logits(7, 5), answerableLogit: 1.5 });
    return scorer;
  }

  it("leave out what is no answer and what is too long", async () => {
    const scorer = await scored({});
    expect(scorer.predictions()).toEqual({ predictions: { q: "old" }, nullOdds: { q: 1.5 } });
    expect(Object.fromEntries(scorer.results())).toMatchObject({ exact: 0, best_exact: 100, total: 1 });
    expect(scorer.results().map(([name]) => name)).toEqual(
      [...scorer.results().map(([name]) => name)].sort(),
    );
  });

  it("keep their text in the file unless the threshold is applied", async () => {
    expect((await scored({})).files().qa_preds_file).toEqual({ q: "old" });
    expect((await scored({ answers_apply_threshold: true })).files().qa_preds_file).toEqual({ q: "" });
    const without = await scored({ answerable_classifier: false });
    // Nothing at [CLS], less the scores of the best answer.
    expect(without.predictions().nullOdds).toEqual({ q: 0 - 4 - 4 });
  });
});
