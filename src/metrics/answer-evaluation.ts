import { ElectraError } from "../errors.js";
import { answerF1, exactAnswer } from "./answer-text.js";
import { nothingToScore } from "./nothing-to-score.js";

/** A question with all its gold answers, of which each counts. */
export interface GoldAnswers {
  readonly id: string;
  readonly answers: readonly string[];
}

/** Answers by the question's id. */
export type AnswerPredictions = Readonly<Record<string, string>>;

/** In percent. */
export interface AnswerEvaluation {
  readonly exact_match: number;
  readonly f1: number;
  /** Questions without a prediction, in their order. */
  readonly unanswered: readonly string[];
}

/**
 * The official evaluation of SQuAD 1.1: the best of the gold answers counts, a question without a prediction counts 0.
 * Exact match can exceed F1, because two answers without words are equal but share no word.
 *
 * @throws ElectraError `ERR_ELECTRA_METRIC` without questions, and for a question without gold answers
 */
export function evaluateSquadV1(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
): AnswerEvaluation {
  return evaluate(questions, predictions, questions.length);
}

/**
 * The evaluation of MRQA, which differs from that of SQuAD 1.1 in that questions without a prediction are left out of the
 * total.
 *
 * @param options `countUnanswered`: count them as 0 instead
 */
export function evaluateMrqa(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
  options: { readonly countUnanswered?: boolean } = {},
): AnswerEvaluation {
  const answered = questions.filter(({ id }) => Object.hasOwn(predictions, id)).length;
  return evaluate(questions, predictions, options.countUnanswered === true ? questions.length : answered);
}

function evaluate(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
  total: number,
): AnswerEvaluation {
  const unanswered: string[] = [];
  let exact = 0;
  let f1 = 0;
  for (const { id, answers } of questions) {
    if (!Object.hasOwn(predictions, id)) {
      unanswered.push(id);
      continue;
    }
    if (answers.length === 0) {
      throw new ElectraError("ERR_ELECTRA_METRIC", `Question ${id} has no gold answer to compare with.`, {
        hint: "Score questions without an answer with the evaluation of SQuAD 2.0 (task squad).",
      });
    }
    const predicted = predictions[id]!;
    exact += Math.max(...answers.map((gold) => exactAnswer(gold, predicted)));
    f1 += Math.max(...answers.map((gold) => answerF1(gold, predicted, 0)));
  }
  if (total === 0) throw nothingToScore("questions");
  return { exact_match: (100 * exact) / total, f1: (100 * f1) / total, unanswered };
}
