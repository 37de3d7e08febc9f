import { ElectraError } from "../errors.js";
import { philox4x32 } from "./philox.js";

/**
 * The random draws of the example builder, in the form of the reference's calls (Python's `random` module), so that a
 * recorded run of the reference can be replayed.
 */
export interface RandomSource {
  /** Uniform in [0, 1). */
  random(): number;
  /** A uniform integer in [low, high], both ends included. */
  randint(low: number, high: number): number;
}

/**
 * A seeded source: words of Philox4x32-10 with the seed as key and (block number, stream) as counter. The same numbers on
 * every platform; sources with the same seed and different streams are independent.
 *
 * - `random()` takes two words `a`, `b` and gives (⌊a/2⁵⌋·2²⁶ + ⌊b/2⁶⌋) / 2⁵³, as Python does with its generator's words;
 * - `randint(low, high)` takes one word at a time until it lies below the largest multiple of the number of choices that
 *   fits in 2³², and reduces it by the remainder: every choice is equally likely.
 */
export class SeededRandomSource implements RandomSource {
  readonly #key = new Uint32Array(2);
  readonly #counter = new Uint32Array(4);
  readonly #words = new Uint32Array(4);
  #used = 4;
  #position: number;

  /**
   * @param seed a non-negative safe integer
   * @param stream a non-negative safe integer: the number of the sequence under this seed
   * @param position words of the sequence to pass over: the {@link position} of a source to go on from
   */
  constructor(seed: number, stream = 0, position = 0) {
    for (const [name, value] of [
      ["seed", seed],
      ["stream", stream],
      ["position", position],
    ] as const) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new ElectraError("ERR_ELECTRA_SEED", `${name} must be a non-negative integer, not ${value}`, {
          exitCode: 2,
        });
      }
    }
    this.#key.set([seed % 2 ** 32, Math.floor(seed / 2 ** 32)]);
    const block = Math.floor(position / 4);
    this.#counter.set([
      block % 2 ** 32,
      Math.floor(block / 2 ** 32),
      stream % 2 ** 32,
      Math.floor(stream / 2 ** 32),
    ]);
    this.#position = 4 * block;
    while (this.#position < position) {
      this.#word();
    }
  }

  /** Words taken from the sequence so far. */
  get position(): number {
    return this.#position;
  }

  random(): number {
    const a = this.#word() >>> 5;
    const b = this.#word() >>> 6;
    return (a * 2 ** 26 + b) / 2 ** 53;
  }

  randint(low: number, high: number): number {
    const choices = high - low + 1;
    if (!Number.isInteger(low) || !Number.isInteger(high) || choices < 1 || choices > 2 ** 32) {
      throw new RangeError(`no random integer lies between ${low} and ${high}`);
    }
    const limit = 2 ** 32 - (2 ** 32 % choices);
    let word = this.#word();
    while (word >= limit) {
      word = this.#word();
    }
    return low + (word % choices);
  }

  #word(): number {
    if (this.#used === 4) {
      philox4x32(this.#key, this.#counter, this.#words);
      this.#counter[0]!++;
      if (this.#counter[0] === 0) {
        this.#counter[1]!++;
      }
      this.#used = 0;
    }
    this.#position++;
    return this.#words[this.#used++]!;
  }
}

/** One recorded call: `["random", value]` or `["randint", low, high, value]`. */
export type RecordedDraw =
  | readonly [call: "random", value: number]
  | readonly [call: "randint", low: number, high: number, value: number];

/** Replays recorded calls and insists that they are asked for in the same order with the same arguments. */
export class RecordedRandomSource implements RandomSource {
  readonly #draws: readonly RecordedDraw[];
  #next = 0;

  constructor(draws: readonly RecordedDraw[]) {
    this.#draws = draws;
  }

  /** Calls not yet replayed. */
  get remaining(): number {
    return this.#draws.length - this.#next;
  }

  random(): number {
    const draw = this.#take("random()");
    if (draw[0] !== "random") {
      throw this.#mismatch("random()", draw);
    }
    return draw[1];
  }

  randint(low: number, high: number): number {
    const asked = `randint(${low}, ${high})`;
    const draw = this.#take(asked);
    if (draw[0] !== "randint" || draw[1] !== low || draw[2] !== high) {
      throw this.#mismatch(asked, draw);
    }
    return draw[3];
  }

  #take(asked: string): RecordedDraw {
    const draw = this.#draws[this.#next];
    if (draw === undefined) {
      throw new ElectraError(
        "ERR_ELECTRA_RECORDED_DRAWS",
        `${asked} was asked for, but all ${this.#draws.length} recorded draws are used up`,
      );
    }
    this.#next++;
    return draw;
  }

  #mismatch(asked: string, draw: RecordedDraw): ElectraError {
    const recorded = draw[0] === "random" ? "random()" : `randint(${draw[1]}, ${draw[2]})`;
    return new ElectraError(
      "ERR_ELECTRA_RECORDED_DRAWS",
      `draw ${this.#next - 1}: ${asked} was asked for, but ${recorded} was recorded`,
    );
  }
}
