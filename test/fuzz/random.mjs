// A small seeded generator (splitmix32 into mulberry32): a case is told by its seed and number alone.

export class Random {
  #state;

  constructor(seed, reader, number) {
    let state = seed >>> 0;
    for (const part of [...reader].map((character) => character.charCodeAt(0)).concat(number)) {
      state = Math.imul(state ^ part, 0x9e3779b1) + 0x7f4a7c15;
      state = Math.imul(state ^ (state >>> 15), 0x85ebca77) >>> 0;
    }
    this.#state = state;
  }

  /** In [0, 1). */
  unit() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number below `bound`. */
  below(bound) {
    return Math.floor(this.unit() * bound);
  }

  chance(probability) {
    return this.unit() < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}
