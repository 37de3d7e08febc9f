/** Most letters of a key: at six bits each, what two integers of 30 bits hold. */
export const MAX_PACKED_LETTERS = 10;

/** The 30 bits of a key's half. */
export const PACKED_HALF = 0x3fffffff;

/** Numbers of a slot: the halves of the key, the value, one unused (a power of two keeps a slot in one cache line). */
const STRIDE = 4;
const FIRST_SLOTS = 1 << 12;
const IDS_PER_SLOT = 2;
/** A word of ten letters has at most as many ids. */
const MOST_NUMBERS = MAX_PACKED_LETTERS + 1;

/**
 * Short words of ASCII letters and digits already cut: word → ids. A word is its own key, packed into two integers, six
 * bits a letter (1 to 62, the last letter lowest: `low = (low << 6 | letter) & 2³⁰ − 1`, what falls out goes to `high`), so
 * that a look-up compares two numbers and reads no text. Nine of ten words of running text are that short.
 *
 * Memory is bounded as in {@link WordCache}: the table doubles up to its capacity, then everything is forgotten at once.
 */
export class ShortWordCache {
  readonly #capacity: number;
  #slots: Int32Array;
  #mask: number;
  /** Of words that have not just one id: their number, then the ids. */
  #ids: Int32Array;
  #size = 0;
  #idEnd = 0;

  /**
   * @param capacity the most words kept; about 40 bytes each.
   * @param expected words that will be added soon, for which room is made at once.
   */
  constructor(capacity: number, expected = 0) {
    this.#capacity = capacity;
    let slots = FIRST_SLOTS;
    while (slots <= 2 * Math.min(expected, capacity)) slots *= 2;
    this.#slots = new Int32Array(slots * STRIDE);
    this.#mask = slots - 1;
    this.#ids = new Int32Array(slots * IDS_PER_SLOT);
  }

  /** Number of words in the cache. */
  get size(): number {
    return this.#size;
  }

  /**
   * Looks a word up and, if it is there, writes its ids to `out` from `offset` on.
   *
   * @param low the last five letters, packed; never 0
   * @param high the letters before, packed
   * @returns the number of ids, or −1 if the word is not there
   */
  lookup(low: number, high: number, out: Int32Array, offset: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hashOf(low, high) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * STRIDE;
      const key = slots[at]!;
      if (key === low && slots[at + 1] === high) {
        const value = slots[at + 2]!;
        if (value >= 0) {
          out[offset] = value;
          return 1;
        }
        const first = ~value;
        const count = this.#ids[first]!;
        for (let k = 0; k < count; k++) out[offset + k] = this.#ids[first + 1 + k]!;
        return count;
      }
      if (key === 0) return -1;
    }
  }

  /** Remembers `ids[idStart, idEnd)`, one to ten, for a word that {@link lookup} did not find. */
  add(low: number, high: number, ids: Int32Array, idStart: number, idEnd: number): void {
    this.#makeRoom();
    const at = this.#freeSlot(low, high) * STRIDE;
    this.#slots[at] = low;
    this.#slots[at + 1] = high;
    if (idEnd - idStart === 1) {
      this.#slots[at + 2] = ids[idStart]!;
    } else {
      this.#slots[at + 2] = ~this.#idEnd;
      this.#ids[this.#idEnd++] = idEnd - idStart;
      for (let k = idStart; k < idEnd; k++) this.#ids[this.#idEnd++] = ids[k]!;
    }
    this.#size++;
  }

  /** Forgets everything. */
  clear(): void {
    this.#slots.fill(0);
    this.#size = this.#idEnd = 0;
  }

  #freeSlot(low: number, high: number): number {
    let slot = hashOf(low, high) & this.#mask;
    while (this.#slots[slot * STRIDE] !== 0) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** Grows where another word might not fit, up to what the capacity allows; forgets everything beyond that. */
  #makeRoom(): void {
    const crowded = this.#size * 2 > this.#mask || this.#idEnd + MOST_NUMBERS > this.#ids.length;
    if (this.#size >= this.#capacity) this.clear();
    else if (crowded && this.#mask < this.#capacity * 2) this.#grow();
    else if (crowded) this.clear();
  }

  #grow(): void {
    const ids = new Int32Array(this.#ids.length * 2);
    ids.set(this.#ids);
    this.#ids = ids;
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    for (let from = 0; from < old.length; from += STRIDE) {
      if (old[from] === 0) continue;
      const at = this.#freeSlot(old[from]!, old[from + 1]!) * STRIDE;
      for (let k = 0; k < STRIDE; k++) this.#slots[at + k] = old[from + k]!;
    }
  }
}

/** Multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4); the best bits are on top. */
function hashOf(low: number, high: number): number {
  const product = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return product >>> 12;
}
