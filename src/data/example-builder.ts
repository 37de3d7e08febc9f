import { ElectraError } from "../errors.js";
import type { RandomSource } from "./random-source.js";

/** Options of {@link ExampleBuilder}. */
export interface ExampleBuilderOptions {
  /** Length `L` of an example with [CLS] and [SEP]; at least 5. */
  readonly maxSeqLength: number;
  /** Ids of `[CLS]` and `[SEP]`. */
  readonly clsId: number;
  readonly sepId: number;
  /** Asked in the reference's order: u₁, one draw per ambiguous sentence, u₂, and the short length when u₂ < 0.05. */
  readonly random: RandomSource;
  /** Text tokens to gather for the first example (default `L`): the {@link ExampleBuilder.targetLength} to go on from. */
  readonly targetLength?: number;
}

/** One example, without padding. */
export interface BuiltExample {
  /**
   * `[CLS] first [SEP]`, followed by `second [SEP]` when there is a second segment; 3 to `L` ids. The builder's own memory: the
   * next example overwrites it.
   */
  readonly inputIds: Int32Array;
  /** Leading positions with segment id 0. */
  readonly firstSegmentLength: number;
  /** Text tokens that were gathered for this example but did not fit. */
  readonly discardedTokens: number;
}

/** First-segment target of an example that shall have one segment only: larger than any length. */
const oneSegment = 100_000;

/**
 * Gathers sentences into pre-training examples, exactly as the reference's `ExampleBuilder`; the state lives on across
 * documents and files.
 *
 * The target length counts text tokens only; the sentence that crosses it is kept whole and what does not fit is thrown away,
 * never carried over. After a sentence went to the second segment a later, shorter one may still go to the first.
 */
export class ExampleBuilder {
  readonly #options: ExampleBuilderOptions;
  readonly #example: Int32Array;
  /** Ids of the gathered sentences, one after the other, and where each of them ends. */
  #ids = new Int32Array(1024);
  #ends: number[] = [];
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
    this.#example = new Int32Array(options.maxSeqLength);
    this.#targetLength = options.targetLength ?? options.maxSeqLength;
  }

  /** Text tokens to gather for the next example: between two documents, all that the builder remembers. */
  get targetLength(): number {
    return this.#targetLength;
  }

  /**
   * Takes the first `count` ids of `ids` (all by default) as a sentence, without keeping the array, and returns the example
   * that it completes, if any.
   */
  addSentence(ids: ArrayLike<number>, count = ids.length): BuiltExample | undefined {
    // The reference gathers sentences without tokens as well. They never have an effect: such a sentence goes to the first
    // segment without a draw while that is empty or short of its target, and else to the second without a draw. Leaving
    // them out keeps memory from growing.
    if (count === 0) {
      return undefined;
    }
    const start = this.#gathered;
    const end = start + count;
    if (end > this.#ids.length) {
      const larger = new Int32Array(Math.max(end, 2 * this.#ids.length));
      larger.set(this.#ids);
      this.#ids = larger;
    }
    const gathered = this.#ids;
    for (let index = 0; index < count; index++) {
      gathered[start + index] = ids[index]!;
    }
    this.#ends.push(end);
    return end >= this.#targetLength ? this.#createExample() : undefined;
  }

  /** Ends the document (the reference's empty line) and returns the example of what was gathered, if anything was. */
  endDocument(): BuiltExample | undefined {
    return this.#ends.length > 0 ? this.#createExample() : undefined;
  }

  get #gathered(): number {
    return this.#ends.at(-1) ?? 0;
  }

  #createExample(): BuiltExample {
    const { maxSeqLength, random, clsId, sepId } = this.#options;
    const firstTarget = random.random() < 0.1 ? oneSegment : Math.floor((this.#targetLength - 3) / 2);
    const gathered = this.#gathered;
    const first: number[] = [];
    const second: number[] = [];
    let firstLength = 0;
    let secondLength = 0;
    let start = 0;
    for (let sentence = 0; sentence < this.#ends.length; sentence++) {
      const end = this.#ends[sentence]!;
      const length = end - start;
      if (
        firstLength === 0 ||
        firstLength + length < firstTarget ||
        (secondLength === 0 && firstLength < firstTarget && random.random() < 0.5)
      ) {
        first.push(start, end);
        firstLength += length;
      } else {
        second.push(start, end);
        secondLength += length;
      }
      start = end;
    }
    firstLength = Math.min(firstLength, maxSeqLength - 2);
    secondLength = Math.min(secondLength, Math.max(0, maxSeqLength - firstLength - 3));

    // To make an array of this size costs about as much as all else that is done here.
    const inputIds = this.#example.subarray(0, firstLength + 2 + (secondLength > 0 ? secondLength + 1 : 0));
    inputIds[0] = clsId;
    this.#copyIds(first, firstLength, inputIds, 1);
    inputIds[firstLength + 1] = sepId;
    if (secondLength > 0) {
      this.#copyIds(second, secondLength, inputIds, firstLength + 2);
      inputIds[firstLength + 2 + secondLength] = sepId;
    }

    this.#ends.length = 0;
    this.#targetLength = random.random() < 0.05 ? random.randint(5, maxSeqLength) : maxSeqLength;
    return {
      inputIds,
      firstSegmentLength: firstLength + 2,
      discardedTokens: gathered - firstLength - secondLength,
    };
  }

  /** Copies the first `count` ids of sentences, given by where they begin and end in turn, to `target[at …]`. */
  #copyIds(sentences: readonly number[], count: number, target: Int32Array, at: number): void {
    const ids = this.#ids;
    const last = at + count;
    let next = at;
    for (let index = 0; index < sentences.length && next < last; index += 2) {
      const end = sentences[index + 1]!;
      for (let from = sentences[index]!; from < end && next < last; from++) {
        target[next++] = ids[from]!;
      }
    }
  }
}
