/** Growing list of scores with classes, in float32: evaluation keeps one per token. */
export class ScoreLog {
  #scores = new Float32Array(4096);
  #labels = new Uint8Array(4096);
  #count = 0;

  add(score: number, label: number): void {
    if (this.#count === this.#scores.length) {
      const scores = new Float32Array(2 * this.#count);
      scores.set(this.#scores);
      const labels = new Uint8Array(2 * this.#count);
      labels.set(this.#labels);
      this.#scores = scores;
      this.#labels = labels;
    }
    this.#scores[this.#count] = score;
    this.#labels[this.#count] = label ? 1 : 0;
    this.#count++;
  }

  /** Views, valid until the next `add`. */
  get scores(): Float32Array {
    return this.#scores.subarray(0, this.#count);
  }

  get labels(): Uint8Array {
    return this.#labels.subarray(0, this.#count);
  }
}
