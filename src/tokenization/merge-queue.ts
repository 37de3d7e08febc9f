/** A pair of neighbouring pieces that may become one. */
export interface MergeCandidate {
  /** How often the pair occurs now; changes while the candidate waits. */
  readonly count: number;
}

/**
 * Hands out the most frequent candidate, equal counts in the order of `compareTies`. Counts may change while candidates
 * wait: after a rise the candidate has to be pushed again, falls are noticed when it comes up.
 */
export class MergeQueue<T extends MergeCandidate> {
  readonly #compareTies: (a: T, b: T) => number;
  // A binary heap in two arrays; the count is the candidate's at the time it was pushed.
  readonly #counts: number[] = [];
  readonly #candidates: T[] = [];

  constructor(compareTies: (a: T, b: T) => number) {
    this.#compareTies = compareTies;
  }

  push(candidate: T): void {
    let at = this.#counts.length;
    const count = candidate.count;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#precedes(count, candidate, parent)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#counts[at] = count;
    this.#candidates[at] = candidate;
  }

  /** The first candidate of at least `minCount`, which leaves the queue, or undefined. */
  pop(minCount: number): T | undefined {
    while (this.#counts.length > 0) {
      const count = this.#counts[0]!;
      if (count < minCount) return undefined;
      const candidate = this.#candidates[0]!;
      this.#removeFirst();
      if (candidate.count === count) return candidate;
      // Below what it was pushed with: back to its place. Above: it was pushed again, that entry counts.
      if (candidate.count < count && candidate.count >= minCount) this.push(candidate);
    }
    return undefined;
  }

  #removeFirst(): void {
    const count = this.#counts.pop()!;
    const candidate = this.#candidates.pop()!;
    const size = this.#counts.length;
    if (size === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#precedes(this.#counts[child + 1]!, this.#candidates[child + 1]!, child))
        child++;
      if (this.#precedes(count, candidate, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#counts[at] = count;
    this.#candidates[at] = candidate;
  }

  #precedes(count: number, candidate: T, at: number): boolean {
    const other = this.#counts[at]!;
    return count !== other ? count > other : this.#compareTies(candidate, this.#candidates[at]!) < 0;
  }

  #move(from: number, to: number): void {
    this.#counts[to] = this.#counts[from]!;
    this.#candidates[to] = this.#candidates[from]!;
  }
}
