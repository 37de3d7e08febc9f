/** Longest key in bytes: longer words are too rare to be worth a place. */
export const MAX_CACHED_BYTES = 64;

/** Numbers of an entry: hash, start of the key, key length + 256 · number of ids, the id or the start of the ids. */
const STRIDE = 4;
const FIRST_SLOTS = 1 << 10;
// Room for keys and ids per slot; slots are at most half used, so twice as much per word.
const KEY_BYTES_PER_SLOT = 8;
const IDS_PER_SLOT = 2;

/**
 * Words already cut, as bytes → ids, in typed arrays: a look-up makes no object. Memory is bounded: the table doubles
 * up to its capacity, and when that (or the room for keys or ids) is used up everything is forgotten at once — frequent
 * words are back within a few lines, and no book-keeping burdens the look-ups.
 */
export class WordCache {
  readonly #capacity: number;
  #slots = new Int32Array(FIRST_SLOTS * STRIDE);
  #mask = FIRST_SLOTS - 1;
  #keys = new Uint8Array(FIRST_SLOTS * KEY_BYTES_PER_SLOT);
  #ids = new Int32Array(FIRST_SLOTS * IDS_PER_SLOT);
  #size = 0;
  #keyEnd = 0;
  #idEnd = 0;

  /** @param capacity the most words kept; about 100 bytes each. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Number of words in the cache. */
  get size(): number {
    return this.#size;
  }

  /**
   * Looks the key `bytes[start, end)` up and, if it is there, writes its ids to `out` from `offset` on.
   *
   * @param hash any function of the key, the same as in {@link add}
   * @returns the number of ids, or −1 if the key is not there
   */
  lookup(
    hash: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    out: Int32Array,
    offset: number,
  ): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const keys = this.#keys;
    const length = end - start;
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * STRIDE;
      const shape = slots[at + 2]!;
      if (shape === 0) return -1;
      if (slots[at] !== hash || (shape & 255) !== length) continue;
      const key = slots[at + 1]! - start;
      let i = start;
      while (i < end && keys[key + i] === bytes[i]!) i++;
      if (i < end) continue;
      const value = slots[at + 3]!;
      const count = shape >> 8;
      if (count === 1) {
        out[offset] = value;
        return 1;
      }
      for (let k = 0; k < count; k++) out[offset + k] = this.#ids[value + k]!;
      return count;
    }
  }

  /**
   * Remembers `ids[idStart, idEnd)` for a key that {@link lookup} did not find; at most {@link MAX_CACHED_BYTES} bytes
   * and as many ids.
   */
  add(
    hash: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    ids: Int32Array,
    idStart: number,
    idEnd: number,
  ): void {
    this.#makeRoom();
    let slot = spread(hash) & this.#mask;
    while (this.#slots[slot * STRIDE + 2] !== 0) slot = (slot + 1) & this.#mask;
    const at = slot * STRIDE;
    const count = idEnd - idStart;
    this.#slots[at] = hash;
    this.#slots[at + 1] = this.#keyEnd;
    this.#slots[at + 2] = (end - start) | (count << 8);
    for (let i = start; i < end; i++) this.#keys[this.#keyEnd++] = bytes[i]!;
    if (count === 1) {
      this.#slots[at + 3] = ids[idStart]!;
    } else {
      this.#slots[at + 3] = this.#idEnd;
      for (let k = idStart; k < idEnd; k++) this.#ids[this.#idEnd++] = ids[k]!;
    }
    this.#size++;
  }

  /** Forgets everything. */
  clear(): void {
    this.#slots.fill(0);
    this.#size = this.#keyEnd = this.#idEnd = 0;
  }

  /** Grows where another word might not fit, up to what the capacity allows; forgets everything beyond that. */
  #makeRoom(): void {
    const crowded =
      this.#size * 2 > this.#mask ||
      this.#keyEnd + MAX_CACHED_BYTES > this.#keys.length ||
      this.#idEnd + MAX_CACHED_BYTES > this.#ids.length;
    if (this.#size >= this.#capacity) this.clear();
    else if (crowded && this.#mask < this.#capacity * 2) this.#grow();
    else if (crowded) this.clear();
  }

  #grow(): void {
    const keys = new Uint8Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
    const ids = new Int32Array(this.#ids.length * 2);
    ids.set(this.#ids);
    this.#ids = ids;
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    for (let from = 0; from < old.length; from += STRIDE) {
      if (old[from + 2] === 0) continue;
      let slot = spread(old[from]!) & this.#mask;
      while (this.#slots[slot * STRIDE + 2] !== 0) slot = (slot + 1) & this.#mask;
      for (let k = 0; k < STRIDE; k++) this.#slots[slot * STRIDE + k] = old[from + k]!;
    }
  }
}

/** The multiplicative hash that makes the keys' hashes has its best bits on top. */
function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}
