import { ElectraError } from "../errors.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";

import type { RandomSource } from "./random-source.js";

/** Options of {@link ExampleBuilder}. */
export interface ExampleBuilderOptions {
  /** Length `L` of an example with [CLS] and [SEP]; at least 5. */
  readonly maxSeqLength: number;
  /** Ids of `[CLS]` and `[SEP]`. */
  readonly clsId: number;
  readonly sepId: number;
  /** WordPiece ids of a stripped, non-empty line. */
  readonly tokenize: (line: string) => ArrayLike<number>;
  /** Asked in the reference's order: u₁, one draw per ambiguous sentence, u₂, and the short length when u₂ < 0.05. */
  readonly random: RandomSource;
  /** Text tokens to gather for the first example (default `L`): the {@link ExampleBuilder.targetLength} to go on from. */
  readonly targetLength?: number;
}

/** One example, without padding. */
export interface BuiltExample {
  /** `[CLS] first [SEP]`, followed by `second [SEP]` when there is a second segment; 3 to `L` ids. */
  readonly inputIds: Int32Array;
  /** Leading positions with segment id 0. */
  readonly firstSegmentLength: number;
  /** Text tokens that were gathered for this example but did not fit. */
  readonly discardedTokens: number;
}

/** First-segment target of an example that shall have one segment only: larger than any length. */
const oneSegment = 100_000;

/**
 * Gathers lines into pre-training examples, exactly as the reference's `ExampleBuilder`: a line is a sentence, an empty line
 * ends a document, and the state lives on across lines and files.
 *
 * The target length counts text tokens only; the line that crosses it is kept whole and what does not fit is thrown away,
 * never carried over. After a sentence went to the second segment a later, shorter one may still go to the first.
 */
export class ExampleBuilder {
  readonly #options: ExampleBuilderOptions;
  #sentences: ArrayLike<number>[] = [];
  #currentLength = 0;
  #targetLength: number;

  constructor(options: ExampleBuilderOptions) {
    // The shortest random target is 5 tokens, which must not exceed the maximum.
    if (!Number.isInteger(options.maxSeqLength) || options.maxSeqLength < 5) {
      throw new ElectraError(
        "ERR_ELECTRA_MAX_SEQ_LENGTH",
        `max_seq_length must be an integer of at least 5, not ${options.maxSeqLength}`,
        { exitCode: 2 },
      );
    }
    this.#options = options;
    this.#targetLength = options.targetLength ?? options.maxSeqLength;
  }

  /** Text tokens to gather for the next example: between two documents, all that the builder remembers. */
  get targetLength(): number {
    return this.#targetLength;
  }

  /** Feeds one line (an empty one ends the document) and returns the example that it completes, if any. */
  addLine(line: string): BuiltExample | undefined {
    const stripped = stripWhiteSpace(line);
    if (stripped === "") {
      if (this.#currentLength !== 0) {
        return this.#createExample();
      }
      // The reference appends an empty sentence here, and for a line without tokens. It never has an effect: it goes to
      // the first segment without a draw while that is empty or short of its target, and else to the second without a
      // draw. Leaving it out keeps memory from growing with runs of blank lines.
      return undefined;
    }
    const ids = this.#options.tokenize(stripped);
    if (ids.length > 0) {
      this.#sentences.push(ids);
      this.#currentLength += ids.length;
    }
    return this.#currentLength >= this.#targetLength ? this.#createExample() : undefined;
  }

  #createExample(): BuiltExample {
    const { maxSeqLength, random, clsId, sepId } = this.#options;
    const firstTarget = random.random() < 0.1 ? oneSegment : Math.floor((this.#targetLength - 3) / 2);
    const first: ArrayLike<number>[] = [];
    const second: ArrayLike<number>[] = [];
    let firstLength = 0;
    let secondLength = 0;
    for (const sentence of this.#sentences) {
      if (
        firstLength === 0 ||
        firstLength + sentence.length < firstTarget ||
        (secondLength === 0 && firstLength < firstTarget && random.random() < 0.5)
      ) {
        first.push(sentence);
        firstLength += sentence.length;
      } else {
        second.push(sentence);
        secondLength += sentence.length;
      }
    }
    const gathered = this.#currentLength;
    firstLength = Math.min(firstLength, maxSeqLength - 2);
    secondLength = Math.min(secondLength, Math.max(0, maxSeqLength - firstLength - 3));

    const inputIds = new Int32Array(firstLength + 2 + (secondLength > 0 ? secondLength + 1 : 0));
    inputIds[0] = clsId;
    copyIds(first, firstLength, inputIds, 1);
    inputIds[firstLength + 1] = sepId;
    if (secondLength > 0) {
      copyIds(second, secondLength, inputIds, firstLength + 2);
      inputIds[firstLength + 2 + secondLength] = sepId;
    }

    this.#sentences = [];
    this.#currentLength = 0;
    this.#targetLength = random.random() < 0.05 ? random.randint(5, maxSeqLength) : maxSeqLength;
    return {
      inputIds,
      firstSegmentLength: firstLength + 2,
      discardedTokens: gathered - firstLength - secondLength,
    };
  }
}

/** Copies the first `count` ids of the sentences to `target[at …]`. */
function copyIds(
  sentences: readonly ArrayLike<number>[],
  count: number,
  target: Int32Array,
  at: number,
): void {
  let copied = 0;
  for (const sentence of sentences) {
    for (let index = 0; index < sentence.length && copied < count; index++) {
      target[at + copied++] = sentence[index]!;
    }
  }
}
