import { answerOffsets } from "../finetuning/answers/answer-offsets.js";
import {
  type AnsweredWindow,
  type AnswerPrediction,
  predictAnswers,
} from "../finetuning/answers/answer-predictor.js";
import { type ContextWords, contextWords } from "../finetuning/features/context-words.js";
import { questionFeatures } from "../finetuning/features/question-features.js";
import type { FinetunedTask } from "../finetuning/finetuned-file.js";
import type { TaskFeatures, TaskHead } from "../finetuning/task.js";
import type { OpenTaskOptions } from "./classifier.js";
import { FinetunedModel, type PredictRowsOptions } from "./finetuned-model.js";
import { mapInBlocks, type Source } from "./map-in-blocks.js";
import { softmax } from "./probabilities.js";

export interface QuestionInput {
  readonly question: string;
  readonly context: string;
}

/** A part of a context. */
export interface Answer {
  /** As the evaluation takes it: with single spaces between words. */
  readonly text: string;
  /** Among the candidates that were considered (`n_best_size`), not of being right. */
  readonly probability: number;
  /** UTF-16 offsets in the context, the end excluded: but for its white space, `context.slice(start, end)` is the text. */
  readonly start: number;
  readonly end: number;
}

/** The best answer, and whether there is any. */
export interface AnsweredQuestion extends Answer {
  /** The `nBest` best answers, this one first. Empty if the context has none: then the text is "" at 0. */
  readonly answers: readonly Answer[];
  /**
   * Log-odds that the context does not answer the question. The evaluation of SQuAD 2.0 takes it as unanswered above
   * `qa_na_threshold`. Infinity if the context is empty.
   */
  readonly noAnswerOdds: number;
  /** Tokens at the end of the question that the model did not see, because it reads `max_query_length` of them. */
  readonly cutTokens: number;
  /** Windows that the context was read in. */
  readonly windows: number;
}

export interface AnswerOptions extends PredictRowsOptions {
  /** How many answers are wanted for each question. Default 1; never more than the model's `n_best_size`. */
  readonly nBest?: number;
  /** Longest answer in tokens. Default: as in the training's settings. */
  readonly maxAnswerLength?: number;
}

/** Questions of a block; each has one row or more. */
const BLOCK = 128;

/**
 * Answers questions with parts of given contexts. A context that is longer than the model reads is read in overlapping
 * windows, as in the training; nothing of it is cut.
 *
 * @example
 * await using answerer = await QuestionAnswerer.open("data/models/electra_small/finetuning_models/squad_model_1");
 * const [answer] = await answerer.answer([{ question: "Where is the ferry?", context: "The ferry is at pier 7." }]);
 * console.log(answer.text, answer.start, answer.noAnswerOdds);
 */
export class QuestionAnswerer {
  readonly model: FinetunedModel;
  readonly task: FinetunedTask & { readonly head: Extract<TaskHead, { kind: "span" }> };

  /** @throws ElectraError `ERR_ELECTRA_TASK` if the model has no such task, or several and none is named */
  constructor(model: FinetunedModel, task?: string) {
    this.model = model;
    this.task = model.task(["span"], task);
  }

  /** @param path folder of a fine-tuned model, see {@link FinetunedModel.open} */
  static async open(path: string, { task, ...options }: OpenTaskOptions = {}): Promise<QuestionAnswerer> {
    const model = await FinetunedModel.open(path, options);
    try {
      return new QuestionAnswerer(model, task);
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /** A result for each question, in their order. */
  async answer(inputs: readonly QuestionInput[], options: AnswerOptions = {}): Promise<AnsweredQuestion[]> {
    const contexts = inputs.map(({ context }) => contextWords(context));
    const rowsOf = inputs.map(({ question }, i) => this.featurize(question, contexts[i]!));
    const outputs = await this.model.predict(this.task, rowsOf.flat(), options);
    let next = 0;
    return inputs.map(({ question }, i) => {
      const windows = rowsOf[i]!.map((row): AnsweredWindow => ({ row, output: outputs[next++]! }));
      return this.#result(contexts[i]!, windows, this.#cutTokens(question, rowsOf[i]!), options);
    });
  }

  /** The same for questions without end, with bounded memory: answers come while questions are still being read. */
  answerStream(
    inputs: Source<QuestionInput>,
    options: AnswerOptions = {},
  ): AsyncGenerator<AnsweredQuestion, void, undefined> {
    const { signal } = options;
    return mapInBlocks(inputs, (block) => this.answer(block, options), {
      size: BLOCK,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The rows that the model sees of a question: one for each window of the context. */
  featurize(question: string, { words }: Pick<ContextWords, "words">): readonly TaskFeatures[] {
    const { tokenizer, hparams } = this.model;
    const example = { eid: 0, id: "", answerText: "", startWord: null, endWord: null, impossible: false };
    return questionFeatures({ ...example, question, words }, false, {
      tokenizer,
      maxSeqLength: hparams.max_seq_length,
      maxQueryLength: hparams.max_query_length,
      docStride: hparams.doc_stride,
    });
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #cutTokens(question: string, [row]: readonly TaskFeatures[]): number {
    const { tokenizer, hparams } = this.model;
    // [CLS] and [SEP] stand beside the question.
    const kept = row === undefined ? 0 : row.window!.firstPosition - 2;
    if (kept < hparams.max_query_length) return 0;
    return tokenizer.encode(question).length - kept;
  }

  #result(
    context: ContextWords,
    windows: readonly AnsweredWindow[],
    cutTokens: number,
    { nBest = 1, maxAnswerLength }: AnswerOptions,
  ): AnsweredQuestion {
    const { tokenizer, hparams } = this.model;
    const { answerableClassifier } = this.task.head;
    const prediction = predictAnswers(context, windows, {
      tokenizer,
      answerableClassifier,
      nBestSize: hparams.n_best_size,
      maxAnswerLength: maxAnswerLength ?? hparams.max_answer_length,
    });
    const found = prediction.answers.filter(({ words }) => words !== undefined);
    const probabilities = softmax(found.map(({ startScore, endScore }) => startScore + endScore));
    const answers = found.slice(0, Math.max(1, nBest)).map((answer, i): Answer => {
      const [start, end] = answerOffsets(context, answer)!;
      return { text: answer.text, probability: probabilities[i]!, start, end };
    });
    const best = answers[0] ?? { text: "", probability: 0, start: 0, end: 0 };
    const noAnswerOdds = windows.length === 0 ? Infinity : oddsOf(prediction, answerableClassifier);
    return { ...best, answers, noAnswerOdds, cutTokens, windows: windows.length };
  }
}

/** As in the task's evaluation. */
function oddsOf({ answers, nullScore }: AnswerPrediction, answerableClassifier: boolean): number {
  const [best] = answers;
  return answerableClassifier || best === undefined ? nullScore : nullScore - best.startScore - best.endScore;
}
