import { ElectraError } from "../../errors.js";
import type { Tokenizer } from "../../tokenization/tokenizer.js";
import type { TaskFeatures, TaskTarget } from "../task.js";
import type { QuestionExample } from "./question-example.js";

export interface QuestionFeaturesOptions {
  readonly tokenizer: Tokenizer;
  readonly maxSeqLength: number;
  readonly maxQueryLength: number;
  /** Pieces from the start of one window to that of the next. */
  readonly docStride: number;
}

/** First piece and number of pieces of a window. */
interface Window {
  readonly start: number;
  readonly length: number;
}

/**
 * The rows of a question: `[CLS] question [SEP]` and, in segment 1, `window [SEP]` for each window of the context. While
 * training, a window that does not hold the whole answer points at `[CLS]`, but counts as answerable if the question is.
 *
 * @throws ElectraError `ERR_ELECTRA_HPARAM_CONFLICT` if the question leaves no room for the context
 */
export function questionFeatures(
  example: QuestionExample,
  training: boolean,
  options: QuestionFeaturesOptions,
): TaskFeatures[] {
  const { tokenizer, maxSeqLength, maxQueryLength, docStride } = options;
  const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
  const query = tokenizer.encode(example.question).subarray(0, maxQueryLength);
  const { pieces, wordOfPiece, firstPiece } = contextPieces(example.words, tokenizer);
  const room = maxSeqLength - query.length - 3;
  if (room < 1) {
    throw new ElectraError(
      "ERR_ELECTRA_HPARAM_CONFLICT",
      `max_seq_length ${maxSeqLength} leaves no room for the context beside a question of ${query.length} tokens.`,
      { hint: `Raise max_seq_length above ${query.length + 3}, or lower max_query_length.`, exitCode: 2 },
    );
  }
  const answer = training ? answerPieces(example, pieces, firstPiece, tokenizer) : undefined;
  const windows = windowsOf(pieces.length, room, docStride);
  return windows.map(({ start, length }, index) => {
    const inputIds = new Int32Array(query.length + length + 3);
    inputIds[0] = cls;
    inputIds.set(query, 1);
    inputIds[query.length + 1] = sep;
    inputIds.set(pieces.subarray(start, start + length), query.length + 2);
    inputIds[inputIds.length - 1] = sep;
    const firstPosition = query.length + 2;
    const shift = firstPosition - start;
    const inside = answer !== undefined && answer.first >= start && answer.last <= start + length - 1;
    const target: TaskTarget = {
      kind: "span",
      start: inside ? answer.first + shift : 0,
      end: inside ? answer.last + shift : 0,
      impossible: training && example.impossible,
    };
    return {
      eid: 1000 * example.eid + index,
      inputIds,
      segmentIds: new Uint8Array(inputIds.length).fill(1, firstPosition),
      target,
      window: {
        question: example.eid,
        index,
        firstPosition,
        wordOfPiece: wordOfPiece.slice(start, start + length),
        isMaxContext: Uint8Array.from({ length }, (_, i) =>
          maxContextWindow(windows, start + i) === index ? 1 : 0,
        ),
      },
    };
  });
}

/** The pieces of all words, each tokenized by itself. */
function contextPieces(words: readonly string[], tokenizer: Tokenizer) {
  const firstPiece = new Int32Array(words.length);
  const pieces: number[] = [];
  const wordOfPiece: number[] = [];
  words.forEach((word, i) => {
    firstPiece[i] = pieces.length;
    for (const id of tokenizer.encode(word)) {
      pieces.push(id);
      wordOfPiece.push(i);
    }
  });
  return { pieces: Int32Array.from(pieces), wordOfPiece: Int32Array.from(wordOfPiece), firstPiece };
}

/** Windows of up to `room` pieces, until one reaches the end. No pieces, no window. */
function windowsOf(pieces: number, room: number, stride: number): Window[] {
  const windows: Window[] = [];
  for (let start = 0; start < pieces; ) {
    const length = Math.min(pieces - start, room);
    windows.push({ start, length });
    if (start + length === pieces) break;
    start += Math.min(length, stride);
  }
  return windows;
}

/** The window that shows most of the piece's surroundings, the first of equals. */
function maxContextWindow(windows: readonly Window[], piece: number): number {
  let best = -1;
  let bestScore = -Infinity;
  windows.forEach(({ start, length }, index) => {
    const left = piece - start;
    const right = start + length - 1 - piece;
    if (left < 0 || right < 0) return;
    const score = Math.min(left, right) + 0.01 * length;
    if (score <= bestScore) return;
    best = index;
    bestScore = score;
  });
  return best;
}

/** First and last piece of the answer, narrowed to the pieces that the answer's text alone would have. */
function answerPieces(
  { startWord, endWord, impossible, words, answerText }: QuestionExample,
  pieces: Int32Array,
  firstPiece: Int32Array,
  tokenizer: Tokenizer,
): { readonly first: number; readonly last: number } | undefined {
  if (impossible || startWord === null || endWord === null) return undefined;
  const first = firstPiece[startWord] ?? 0;
  const last = endWord < words.length - 1 ? firstPiece[endWord + 1]! - 1 : pieces.length - 1;
  const wanted = tokenizer.encode(answerText);
  for (let start = first; start <= last; start++) {
    const end = start + wanted.length - 1;
    // Of several ends only the one that gives the right number of pieces can be equal.
    if (end >= start && end <= last && wanted.every((id, i) => pieces[start + i] === id)) {
      return { first: start, last: end };
    }
  }
  return { first, last };
}
