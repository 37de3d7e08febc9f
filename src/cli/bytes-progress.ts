import cliProgress from "cli-progress";
import type { Output } from "./output.js";

/** Progress over a known number of bytes: a bar on a terminal, a line every ten seconds elsewhere. */
export class BytesProgress {
  readonly #output: Output;
  #bar: cliProgress.SingleBar | undefined;
  #lastLine = Date.now();

  constructor(output: Output) {
    this.#output = output;
  }

  /** @param note what else there is to say, e.g. "120 examples" */
  update(done: number, total: number, note: string): void {
    const stream = this.#output.talkStream;
    if (stream.isTTY && process.env["CI"] === undefined) {
      if (this.#bar === undefined) {
        const format = "{bar} {percentage} %  {note}";
        this.#bar = new cliProgress.SingleBar(
          { stream, format, clearOnComplete: true, hideCursor: null, barsize: 30, fps: 5 },
          cliProgress.Presets.shades_classic,
        );
        this.#bar.start(total, done, { note });
      }
      this.#bar.update(done, { note });
      return;
    }
    const now = Date.now();
    if (now - this.#lastLine < 10_000) return;
    this.#lastLine = now;
    this.#output.talk(`${((100 * done) / Math.max(1, total)).toFixed(0)} %  ${note}`);
  }

  /** Takes the bar off the screen. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
