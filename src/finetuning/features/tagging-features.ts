import type { Tokenizer } from "../../tokenization/tokenizer.js";
import type { TaskFeatures } from "../task.js";
import type { WordSplitter } from "./word-pieces.js";

/** Words and their label ids. */
export interface LabelledWords {
  readonly eid: number;
  readonly words: readonly string[];
  readonly labels: readonly number[];
}

export interface TaggingFeaturesOptions {
  readonly splitter: WordSplitter;
  readonly tokenizer: Tokenizer;
  readonly maxSeqLength: number;
  /**
   * Cut where the pieces are too many; the reference counts the words where it means pieces, and cuts too early. It also
   * gives a word that is written `[SEP]` no place, so that all later labels slip to the word before.
   */
  readonly cutByPieces: boolean;
}

/**
 * The row of a sentence: the pieces of its words between `[CLS]` and `[SEP]`, all in segment 1 as in the reference, with the
 * place of each word's first piece. A word without pieces has the place of the next one. Words that do not fit, and their
 * labels, are left out.
 */
export function taggingFeatures(
  { eid, words, labels }: LabelledWords,
  { splitter, tokenizer, maxSeqLength, cutByPieces }: TaggingFeaturesOptions,
): TaskFeatures {
  const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
  // The reference asks of [CLS] too whether it fits.
  const ids: number[] = cutByPieces || words.length + 3 <= maxSeqLength ? [cls] : [];
  const positions: number[] = [];
  const split = words.map((word) => splitter.split(word));
  for (const { ids: pieces, special } of split) {
    const coming = cutByPieces ? pieces.length : words.length + 2;
    // Whether the word and a [SEP] still fit. The second half is our own: the reference dies of such words.
    if (coming + ids.length + 1 > maxSeqLength || pieces.length + ids.length + 1 > maxSeqLength) break;
    if (!special || cutByPieces) positions.push(ids.length);
    ids.push(...pieces);
  }
  ids.push(sep);
  return {
    eid,
    inputIds: Int32Array.from(ids),
    segmentIds: new Uint8Array(ids.length).fill(1),
    target: {
      kind: "tagging",
      labels: Int32Array.from(labels.slice(0, positions.length)),
      positions: Int32Array.from(positions),
    },
  };
}
