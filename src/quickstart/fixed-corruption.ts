import type { SeededRandom } from "../metrics/seeded-random.js";

/** Draws token ids as often as they occur in a text. */
export class UnigramSampler {
  /** cumulative[id] = occurrences of all ids up to and including it. */
  readonly #cumulative: Float64Array;
  readonly #total: number;

  /** @param counts occurrences of every id; at least one is above 0 */
  constructor(counts: ArrayLike<number>) {
    this.#cumulative = new Float64Array(counts.length);
    let total = 0;
    for (let id = 0; id < counts.length; id++) {
      total += counts[id] ?? 0;
      this.#cumulative[id] = total;
    }
    if (!(total > 0)) throw new RangeError("there is nothing to draw from: all counts are 0");
    this.#total = total;
  }

  draw(random: SeededRandom): number {
    // 53 bits, so that rare tokens of large texts keep their share.
    const uniform = ((random.uint32() >>> 5) * 2 ** 26 + (random.uint32() >>> 6)) / 2 ** 53;
    const target = uniform * this.#total;
    let low = 0;
    let high = this.#cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#cumulative[middle]! > target) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

export interface CorruptionSource {
  /** [rows · length] */
  readonly inputIds: Int32Array;
  /** [rows] */
  readonly lengths: Int32Array;
  readonly rows: number;
  readonly length: number;
}

export interface FixedCorruptionOptions {
  readonly sampler: UnigramSampler;
  /** Chance of every candidate to be redrawn. */
  readonly share: number;
  /** Ids that are never touched and not counted as candidates: [CLS], [SEP]. */
  readonly special: ReadonlySet<number>;
  readonly random: SeededRandom;
}

/** Rows with some tokens redrawn; arrays as long as the ids. */
export interface CorruptedRows {
  readonly inputIds: Int32Array;
  /** 1 where a token could have been redrawn: real and not special. */
  readonly candidates: Uint8Array;
  /** 1 where it is another one now; a draw that hits the original leaves a real token, as in ELECTRA's training. */
  readonly labels: Uint8Array;
}

/**
 * Redraws tokens from the unigram distribution of the training text. Unlike the generator's replacements this corruption
 * does not change while the model learns, so that areas under the ROC curve of different models can be compared.
 */
export function corruptRows(source: CorruptionSource, options: FixedCorruptionOptions): CorruptedRows {
  const { sampler, share, special, random } = options;
  const inputIds = source.inputIds.slice();
  const candidates = new Uint8Array(inputIds.length);
  const labels = new Uint8Array(inputIds.length);
  for (let row = 0; row < source.rows; row++) {
    const begin = row * source.length;
    for (let at = begin; at < begin + source.lengths[row]!; at++) {
      const id = inputIds[at]!;
      if (special.has(id)) continue;
      candidates[at] = 1;
      if (random.uint32() / 2 ** 32 >= share) continue;
      const drawn = sampler.draw(random);
      inputIds[at] = drawn;
      labels[at] = drawn === id ? 0 : 1;
    }
  }
  return { inputIds, candidates, labels };
}
