import {
  type AnswerEvaluation,
  evaluateMrqa,
  evaluateSquadV1,
  type GoldAnswers,
} from "../../metrics/answer-evaluation.js";
import type { MetricValues } from "../../metrics/metric-values.js";
import { evaluateSquadV2 } from "../../metrics/squad-v2-evaluation.js";
import type { QuestionExample } from "../features/question-example.js";
import type { HeadOutput, TaskFeatures, TaskScorer } from "../task.js";
import { type AnsweredWindow, type AnswerPredictorOptions, predictAnswers } from "./answer-predictor.js";

/** Whose evaluation is used. */
export type AnswerMetric = "squad_v1" | "squad_v2" | "mrqa";

export interface QuestionScorerOptions extends AnswerPredictorOptions {
  readonly metric: AnswerMetric;
  /** Questions with null odds above it count as unanswered (squad_v2). */
  readonly naThreshold: number;
  /** Write empty answers for those questions. */
  readonly applyThreshold: boolean;
}

/** Answers by the question's id, and for squad_v2 the odds that there is none. */
export interface QuestionPredictions {
  readonly predictions: Readonly<Record<string, string>>;
  readonly nullOdds?: Readonly<Record<string, number>>;
}

/** Collects the outputs for windows, answers the questions, scores the answers. */
export class QuestionScorer implements TaskScorer {
  readonly #examples: readonly QuestionExample[];
  readonly #gold: readonly GoldAnswers[];
  readonly #options: QuestionScorerOptions;
  readonly #windows = new Map<number, AnsweredWindow[]>();
  #predicted: QuestionPredictions | undefined;

  /** @param gold the questions that are scored, in the order of the file */
  constructor(
    examples: readonly QuestionExample[],
    gold: readonly GoldAnswers[],
    options: QuestionScorerOptions,
  ) {
    this.#examples = examples;
    this.#gold = gold;
    this.#options = options;
  }

  add(row: TaskFeatures, output: HeadOutput): void {
    if (row.window === undefined) return;
    const { question } = row.window;
    const windows = this.#windows.get(question) ?? [];
    windows.push({ row, output });
    this.#windows.set(question, windows);
    this.#predicted = undefined;
  }

  /** The answers to all questions of the split. */
  predictions(): QuestionPredictions {
    this.#predicted ??= this.#predict();
    return this.#predicted;
  }

  results(): MetricValues {
    const { predictions, nullOdds } = this.predictions();
    if (this.#options.metric === "squad_v2") {
      const threshold = this.#options.naThreshold;
      const { values } = evaluateSquadV2(this.#gold, predictions, { nullOdds: nullOdds ?? {}, threshold });
      return [...values].sort(([a], [b]) => (a < b ? -1 : 1));
    }
    const evaluate = this.#options.metric === "mrqa" ? evaluateMrqa : evaluateSquadV1;
    const { exact_match, f1 }: AnswerEvaluation = evaluate(this.#gold, predictions);
    return [
      ["exact_match", exact_match],
      ["f1", f1],
    ];
  }

  files() {
    const { predictions, nullOdds } = this.predictions();
    return {
      qa_eval_file: Object.fromEntries(this.results()),
      qa_preds_file: this.#options.applyThreshold ? this.#thresholded() : predictions,
      ...(nullOdds === undefined ? {} : { qa_na_file: nullOdds }),
    };
  }

  #thresholded(): Readonly<Record<string, string>> {
    const { predictions, nullOdds = {} } = this.predictions();
    const { naThreshold } = this.#options;
    return Object.fromEntries(
      Object.entries(predictions).map(([id, text]) => [
        id,
        (nullOdds[id] ?? -Infinity) > naThreshold ? "" : text,
      ]),
    );
  }

  #predict(): QuestionPredictions {
    const predictions: Record<string, string> = {};
    const nullOdds: Record<string, number> = {};
    const mayBeNull = this.#options.metric === "squad_v2";
    for (const example of this.#examples) {
      // Windows may come in any order; equal scores keep theirs.
      const windows = [...(this.#windows.get(example.eid) ?? [])].sort((a, b) => a.row.eid - b.row.eid);
      const { answers, nullScore } = predictAnswers(example, windows, this.#options);
      if (!mayBeNull) {
        predictions[example.id] = answers[0]!.text;
        continue;
      }
      const best = answers.find(({ text }) => text !== "");
      predictions[example.id] = best?.text ?? "";
      nullOdds[example.id] = this.#options.answerableClassifier
        ? nullScore
        : nullScore - (best?.startScore ?? 0) - (best?.endScore ?? 0);
    }
    return mayBeNull ? { predictions, nullOdds } : { predictions };
  }
}
