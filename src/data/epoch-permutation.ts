import { philox4x32 } from "./philox.js";

const rounds = 8;

/**
 * A pseudo-random order of the numbers 0 … length − 1 that is computed place by place, in O(1) memory: a Feistel network on
 * pairs (left, right) from a grid a × b ≥ length that is as nearly square as possible, with modular additions instead of XOR
 * (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). The few places of the grid beyond `length` are
 * skipped by walking on along the cycle. Eight rounds, keyed by Philox from seed and epoch.
 */
export class EpochPermutation {
  readonly length: number;
  readonly #rows: number;
  readonly #columns: number;
  readonly #keys = new Uint32Array(rounds);

  /** @param length number of elements, up to 2⁵² */
  constructor(length: number, seed: number, epoch: number) {
    this.length = length;
    this.#rows = Math.ceil(Math.sqrt(length));
    this.#columns = Math.ceil(length / this.#rows);
    const key = Uint32Array.of(seed % 2 ** 32, Math.floor(seed / 2 ** 32));
    // The last word keeps these draws apart from all others under the same seed.
    const counter = Uint32Array.of(0, epoch % 2 ** 32, Math.floor(epoch / 2 ** 32), 0xfffffffe);
    const words = new Uint32Array(4);
    for (let block = 0; block < rounds / 4; block++) {
      counter[0] = block;
      philox4x32(key, counter, words);
      this.#keys.set(words, 4 * block);
    }
  }

  /** The element at place `index`. */
  at(index: number): number {
    if (!(index >= 0 && index < this.length)) {
      throw new RangeError(`place ${index} does not exist: there are ${this.length}`);
    }
    const columns = this.#columns;
    let value = index;
    do {
      let left = Math.floor(value / columns);
      let right = value % columns;
      for (let round = 0; round < rounds; round += 2) {
        left = (left + hash(right, this.#keys[round]!)) % this.#rows;
        right = (right + hash(left, this.#keys[round + 1]!)) % columns;
      }
      value = left * columns + right;
    } while (value >= this.length);
    return value;
  }
}

/** A keyed hash of a number below 2³² to 0 … 2³² − 1: two rounds of MurmurHash3's finalizer. */
function hash(value: number, key: number): number {
  let bits = (value ^ key) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  bits = (bits ^ (bits >>> 16)) + key;
  bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return (bits ^ (bits >>> 16)) >>> 0;
}
