import { ElectraError } from "../errors.js";

/** Nodes times 256 bytes have to fit 31 bits. */
const MAX_NODES = 1 << 23;
const FIRST_SLOTS = 1 << 10;

/**
 * All tokens of a vocabulary as one trie over UTF-8 bytes, for the longest match from the left. The longest match in
 * bytes is the longest in characters, as both sides are well-formed. Continuations (`##ing`) are the subtree below
 * `##`, so a token is in the trie once, under its full name.
 *
 * Edges live in one open-addressing table of [key, child] pairs (key = node · 256 + byte + 1, 0 is empty): compact,
 * built in milliseconds, one probe a byte.
 */
export class PieceTrie {
  #edges: Int32Array;
  #mask: number;
  #shift: number;
  /** Id of the token that ends at a node, or −1. */
  #ids: Int32Array;
  #nodeCount = 1;
  #edgeCount = 0;
  readonly #continuation: number;

  /** @param tokens the token of every id; the last of equal ones counts, empty ones are left out. */
  constructor(tokens: readonly string[]) {
    let slots = FIRST_SLOTS;
    while (slots < 4 * tokens.length) slots *= 2;
    this.#edges = new Int32Array(2 * slots);
    this.#mask = slots - 1;
    this.#shift = 32 - Math.log2(slots);
    this.#ids = new Int32Array(slots / 2).fill(-1);
    const encoder = new TextEncoder();
    let utf8 = new Uint8Array(256);
    const insert = (token: string): number => {
      if (token.length * 3 > utf8.length) utf8 = new Uint8Array(token.length * 3);
      const { written } = encoder.encodeInto(token, utf8);
      let node = 0;
      for (let i = 0; i < written; i++) node = this.#child(node, utf8[i]!);
      return node;
    };
    tokens.forEach((token, id) => {
      const node = insert(token); // may replace the array of ids
      if (node !== 0) this.#ids[node] = id;
    });
    this.#continuation = insert("##");
  }

  /**
   * Cuts the word `bytes[start, end)` into its longest tokens from the left and writes their ids to `out` from
   * `offset` on.
   *
   * @returns the number of ids, or −1 if some rest of the word matches nothing (`out` may then hold leftovers).
   */
  segment(bytes: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    const edges = this.#edges;
    const mask = this.#mask;
    const shift = this.#shift;
    const ids = this.#ids;
    let root = 0;
    let from = start;
    let count = 0;
    while (from < end) {
      let node = root;
      let best = -1;
      let bestEnd = from;
      for (let i = from; i < end; i++) {
        const key = node * 256 + bytes[i]! + 1;
        let slot = Math.imul(key, 0x9e3779b1) >>> shift;
        let found = edges[2 * slot]!;
        while (found !== key && found !== 0) {
          slot = (slot + 1) & mask;
          found = edges[2 * slot]!;
        }
        if (found === 0) break;
        node = edges[2 * slot + 1]!;
        const id = ids[node]!;
        if (id >= 0) {
          best = id;
          bestEnd = i + 1;
        }
      }
      if (best < 0) return -1;
      out[offset + count++] = best;
      from = bestEnd;
      root = this.#continuation;
    }
    return count;
  }

  #child(node: number, byte: number): number {
    const key = node * 256 + byte + 1;
    const slot = this.#find(key);
    if (this.#edges[2 * slot] === key) return this.#edges[2 * slot + 1]!;
    const child = this.#nodeCount++;
    if (child >= MAX_NODES) {
      throw new ElectraError(
        "ERR_ELECTRA_VOCABULARY_TOO_LARGE",
        `The vocabulary needs over ${MAX_NODES} trie nodes.`,
      );
    }
    this.#edges[2 * slot] = key;
    this.#edges[2 * slot + 1] = child;
    if (++this.#edgeCount * 2 > this.#mask) this.#growEdges();
    if (child >= this.#ids.length) {
      const ids = new Int32Array(this.#ids.length * 2).fill(-1);
      ids.set(this.#ids);
      this.#ids = ids;
    }
    return child;
  }

  #find(key: number): number {
    let slot = Math.imul(key, 0x9e3779b1) >>> this.#shift;
    while (this.#edges[2 * slot] !== 0 && this.#edges[2 * slot] !== key) slot = (slot + 1) & this.#mask;
    return slot;
  }

  #growEdges(): void {
    const old = this.#edges;
    this.#edges = new Int32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    this.#shift--;
    for (let i = 0; i < old.length; i += 2) {
      const key = old[i]!;
      if (key === 0) continue;
      const slot = this.#find(key);
      this.#edges[2 * slot] = key;
      this.#edges[2 * slot + 1] = old[i + 1]!;
    }
  }
}
