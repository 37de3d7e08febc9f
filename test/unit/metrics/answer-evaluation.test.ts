import { describe, expect, it } from "vitest";
import { evaluateMrqa, evaluateSquadV1 } from "../../../src/metrics/answer-evaluation.js";
import { answerF1, normalizeAnswer } from "../../../src/metrics/answer-text.js";
import { evaluateSquadV2, squadV2AveragePrecision } from "../../../src/metrics/squad-v2-evaluation.js";

const questions = [
  { id: "a", answers: ["The Old Bridge", "bridge"] },
  { id: "b", answers: ["1893"] },
  { id: "c", answers: [] },
];
const answerable = questions.slice(0, 2);

describe("answers", () => {
  it("are compared without case, punctuation, articles and white space", () => {
    expect(normalizeAnswer(" An\u00a0Answer, of the\ttheatre! ")).toBe("answer of theatre");
    // Articles end at the word boundaries of all scripts, not only of ASCII.
    expect(normalizeAnswer("théa aé a")).toBe("théa aé");
  });

  it("share words as multisets", () => {
    expect(answerF1("quiet harbour", "harbour quiet quiet", 0)).toBeCloseTo(0.8, 12);
    expect(answerF1("the", "a", 1)).toBe(1);
    expect(answerF1("the", "a", 0)).toBe(0);
  });
});

describe("evaluation of answers", () => {
  it("counts missing predictions as SQuAD 1.1 and as MRQA do", () => {
    expect(evaluateSquadV1(answerable, { a: "bridge" })).toEqual({
      exact_match: 50,
      f1: 50,
      unanswered: ["b"],
    });
    expect(evaluateMrqa(answerable, { a: "bridge" }).exact_match).toBe(100);
    expect(evaluateMrqa(answerable, { a: "bridge" }, { countUnanswered: true }).exact_match).toBe(50);
  });

  it("takes questions with high null odds as unanswered", () => {
    const predictions = { a: "bridge", b: "1894", c: "chairs" };
    const nullOdds = { a: -3, b: 1, c: 2 };
    const values = Object.fromEntries(
      evaluateSquadV2(questions, predictions, { nullOdds, threshold: 1.5 }).values,
    );
    expect(values).toMatchObject({ total: 3, HasAns_exact: 50, NoAns_exact: 100, best_exact_thresh: -3 });
    expect(values["exact"]).toBeCloseTo(200 / 3, 10);
    // Without odds only an empty prediction says that there is no answer.
    const plain = evaluateSquadV2(questions, { ...predictions, c: "" });
    expect(Object.fromEntries(plain.values)["NoAns_exact"]).toBe(100);
    expect(plain.values.some(([name]) => name.startsWith("best"))).toBe(false);
    expect(squadV2AveragePrecision(questions, predictions, nullOdds, "oracle")).toBe(100);
  });

  it("leaves questions without a prediction out and refuses to score nothing", () => {
    const { values, unanswered } = evaluateSquadV2(questions, { b: "1893" });
    expect(Object.fromEntries(values)).toEqual({
      exact: 100,
      f1: 100,
      total: 1,
      HasAns_exact: 100,
      HasAns_f1: 100,
      HasAns_total: 1,
    });
    expect(unanswered).toEqual(["a", "c"]);
    for (const run of [
      () => evaluateSquadV2(questions, {}),
      () => evaluateSquadV1([], {}),
      () => evaluateSquadV1([questions[2]!], { c: "" }),
    ]) {
      expect(run).toThrowError(expect.objectContaining({ code: "ERR_ELECTRA_METRIC" }));
    }
  });
});
