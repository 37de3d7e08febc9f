import type { FinetunedTask } from "../finetuning/finetuned-file.js";
import { type Classification, Classifier } from "./classifier.js";
import type { FinetunedModel } from "./finetuned-model.js";
import { kindOf } from "./input/input-layout.js";
import {
  type InputRow,
  type ReadInputsOptions,
  readQuestions,
  readTaggables,
  readTexts,
  type SkippedInput,
} from "./input/read-inputs.js";
import { mapInBlocks } from "./map-in-blocks.js";
import { type Answer, type AnsweredQuestion, QuestionAnswerer } from "./question-answerer.js";
import { type TaggedText, Tagger } from "./tagger.js";

export interface PredictRowsOptions extends ReadInputsOptions {
  /** Rows that are computed together at most. Default 32. */
  readonly batchSize?: number;
  /** Also the n likeliest answers to each question, or labels of each text with one class. */
  readonly nBest?: number;
  /** What a label's probability must exceed (multi-label). Default 0.5. */
  readonly threshold?: number;
}

/** What a row became, as it is written to a JSON Lines file. */
export type PredictedRow = Readonly<Record<string, unknown>>;

/** Rows of a block: more than a batch, so that batches of like lengths can be made. */
const BLOCK = 512;

/**
 * Predicts every row of a file with a task of a model: an object for each row, in the rows' order, with the row's own `id` if
 * it has one. Rows that were left out have `place` and `skipped` instead of a prediction. Memory does not grow with the file
 * (but for those that are one JSON document).
 *
 * @throws ElectraError `ERR_ELECTRA_ROW` for the first bad row unless bad rows are left out
 */
export function predictRows(
  model: FinetunedModel,
  { name, head }: FinetunedTask,
  options: PredictRowsOptions,
): AsyncGenerator<PredictedRow, void, undefined> {
  switch (kindOf(head)) {
    case "sentence": {
      const classifier = new Classifier(model, name);
      return predicted(
        readTexts(options),
        (texts) => classifier.classify(texts, options),
        (result) => describeClass(result, options.nBest),
        options,
      );
    }
    case "tags": {
      const tagger = new Tagger(model, name);
      return predicted(readTaggables(options), (texts) => tagger.tag(texts, options), describeTags, options);
    }
    case "spans": {
      const answerer = new QuestionAnswerer(model, name);
      const wanted = options.nBest !== undefined;
      return predicted(
        readQuestions(options),
        (questions) => answerer.answer(questions, options),
        (answer) => describeAnswer(answer, wanted),
        options,
      );
    }
  }
}

function predicted<Input, Result>(
  rows: AsyncIterable<InputRow<Input>>,
  predict: (inputs: readonly Input[]) => Promise<readonly Result[]>,
  describe: (result: Result) => PredictedRow,
  { signal }: PredictRowsOptions,
): AsyncGenerator<PredictedRow, void, undefined> {
  const predictBlock = async (block: readonly InputRow<Input>[]): Promise<PredictedRow[]> => {
    const results = await predict(block.flatMap((row) => ("input" in row ? [row.input] : [])));
    let next = 0;
    return block.map((row) => {
      if (!("input" in row)) return skippedRow(row);
      return { ...(row.id === undefined ? {} : { id: row.id }), ...describe(results[next++]!) };
    });
  };
  return mapInBlocks(rows, predictBlock, { size: BLOCK, ...(signal === undefined ? {} : { signal }) });
}

function skippedRow({ place, reason }: SkippedInput): PredictedRow {
  return { place, skipped: reason };
}

/** Only where something was cut. */
function cut(name: string, count: number): PredictedRow {
  return count > 0 ? { [name]: count } : {};
}

function describeClass(result: Classification, nBest: number | undefined): PredictedRow {
  const { kind, cutTokens, ...rest } = result;
  const best =
    kind === "classification" && nBest !== undefined
      ? {
          n_best: Object.entries(result.probabilities)
            .map(([label, probability]) => ({ label, probability }))
            .sort((a, b) => b.probability - a.probability)
            .slice(0, nBest),
        }
      : {};
  return { ...rest, ...best, ...cut("cut_tokens", cutTokens) };
}

function describeTags({ words, spans, cutWords }: TaggedText): PredictedRow {
  return { words, spans, ...cut("cut_words", cutWords) };
}

function describeAnswer(result: AnsweredQuestion, wantsAll: boolean): PredictedRow {
  const { text, probability, start, end, answers, noAnswerOdds, windows, cutTokens } = result;
  const best: Answer = { text, probability, start, end };
  return {
    ...best,
    // JSON has no infinity: a context without words has no odds.
    no_answer_odds: Number.isFinite(noAnswerOdds) ? noAnswerOdds : null,
    ...(wantsAll ? { n_best: answers } : {}),
    ...(windows > 1 ? { windows } : {}),
    ...cut("cut_tokens", cutTokens),
  };
}
