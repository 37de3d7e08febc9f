import { createRequire } from "node:module";
import { styleText } from "node:util";
import type cliProgress from "cli-progress";
import type { EventSink } from "./event-sink.js";
import { formatDuration } from "./reference-console.js";
import type { DoneEvent, EvalEvent, RunEvent, StepEvent, WarningEvent } from "./run-event.js";

export interface TerminalSinkOptions {
  /** Where to write; stderr, because stdout is for data. */
  readonly stream?: NodeJS.WriteStream;
  /** Seconds between two progress lines where no line can be redrawn (a file, CI); default 10. */
  readonly intervalSeconds?: number;
  /** Milliseconds of a clock; tests give their own. */
  readonly now?: () => number;
  /** Redraw one line (default: when the stream is a terminal) or print lines. */
  readonly interactive?: boolean;
}

const BAR_FORMAT = "{bar} {line}";

/** Shows a run to a person: one line redrawn on a terminal, a line every few seconds elsewhere. */
export class TerminalSink implements EventSink {
  readonly #stream: NodeJS.WriteStream;
  readonly #interval: number;
  readonly #now: () => number;
  readonly #interactive: boolean;
  #bar: cliProgress.SingleBar | undefined;
  #lastLine: number | undefined;
  #lastStep: StepEvent | undefined;
  #printedStep: number | undefined;

  constructor(options: TerminalSinkOptions = {}) {
    this.#stream = options.stream ?? process.stderr;
    this.#interval = (options.intervalSeconds ?? 10) * 1000;
    this.#now = options.now ?? Date.now;
    this.#interactive =
      options.interactive ?? (this.#stream.isTTY === true && process.env["CI"] === undefined);
  }

  emit(event: RunEvent): void {
    switch (event.type) {
      case "step":
        this.#step(event);
        return;
      case "eval":
        this.log(evalLine(event));
        return;
      case "checkpoint":
        this.log(
          this.#style(
            "dim",
            `saved ${event.path} (${megabytes(event.bytes)}, ${event.seconds.toFixed(1)} s)`,
          ),
        );
        return;
      case "warning":
        this.log(this.#style("yellow", warningLine(event)));
        return;
      case "done":
        this.#done(event);
        return;
    }
  }

  /** Prints a line above the progress line. */
  log(line: string): void {
    const bar = this.#bar;
    // The bar's own line has to be taken away first, and is drawn again by the next step.
    if (bar !== undefined) this.#removeBar();
    this.#stream.write(`${line}\n`);
  }

  async close(): Promise<void> {
    this.#removeBar();
  }

  #step(event: StepEvent): void {
    this.#lastStep = event;
    if (this.#interactive) {
      if (this.#bar === undefined) {
        // Loaded with the first bar: an import would be paid for by every program that imports the library.
        const { SingleBar, Presets } = createRequire(import.meta.url)("cli-progress") as typeof cliProgress;
        this.#bar = new SingleBar(
          {
            stream: this.#stream,
            format: BAR_FORMAT,
            barsize: 20,
            hideCursor: null,
            clearOnComplete: true,
            stopOnComplete: false,
            linewrap: false,
            // Signals belong to the command: it finishes the step and saves.
            gracefulExit: false,
            fps: 5,
          },
          Presets.shades_classic,
        );
        this.#bar.start(event.total_steps, event.step, { line: stepLine(event) });
      } else {
        this.#bar.update(event.step, { line: stepLine(event) });
      }
      return;
    }
    const now = this.#now();
    if (this.#lastLine === undefined || now - this.#lastLine >= this.#interval) {
      this.#lastLine = now;
      this.#printStep(event);
    }
  }

  #printStep(event: StepEvent): void {
    this.#printedStep = event.step;
    this.#stream.write(`${stepLine(event)}\n`);
  }

  #done(event: DoneEvent): void {
    this.#removeBar();
    // The last state of the run stays on the screen, whatever the interval.
    if (this.#lastStep !== undefined && this.#printedStep !== this.#lastStep.step)
      this.#printStep(this.#lastStep);
    const rate = event.tokens_per_s === undefined ? "" : `, ${compact(event.tokens_per_s)} tokens/s`;
    const waited =
      event.data_wait_s === undefined ? "" : `, ${event.data_wait_s.toFixed(1)} s of it waiting for data`;
    const message = event.message === undefined ? "" : `: ${event.message}`;
    const style = event.reason === "failed" ? "red" : "bold";
    this.log(
      this.#style(
        style,
        `${event.reason} at step ${event.step} after ${withUnit(event.seconds)}${rate}${waited}${message}`,
      ),
    );
  }

  #removeBar(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #style(style: "dim" | "bold" | "yellow" | "red", text: string): string {
    return styleText(style, text, { stream: this.#stream });
  }
}

/** `120/500 loss 42.1530 masked_lm_loss 6.2310 disc_loss 0.6712 lr 4.8e-4 5.1k tokens/s ETA 1:05` */
export function stepLine(event: StepEvent): string {
  const metrics = Object.entries(event.metrics).map(([name, value]) => `${name} ${number(value)}`);
  return [
    `${event.step}/${event.total_steps}`,
    `loss ${number(event.loss)}`,
    ...metrics,
    `lr ${event.learning_rate.toExponential(1)}`,
    `${compact(event.tokens_per_s)} tokens/s`,
    `ETA ${withUnit(event.eta_s)}`,
  ].join("  ");
}

/** Below a minute the reference's form is a bare number. */
function withUnit(seconds: number): string {
  const text = formatDuration(seconds);
  return /^\d+$/.test(text) ? `${text} s` : text;
}

function evalLine({ step, split, metrics, seconds }: EvalEvent): string {
  const values = Object.entries(metrics).map(([name, value]) => `${name} ${number(value)}`);
  return `evaluation (${split}) at step ${step}: ${values.join("  ")}  (${seconds.toFixed(1)} s)`;
}

function warningLine({ message, hint }: WarningEvent): string {
  return `warning: ${message}${hint === undefined ? "" : `\n  ${hint}`}`;
}

function number(value: number): string {
  return Number.isFinite(value) ? value.toFixed(4) : String(value);
}

function compact(value: number): string {
  if (!Number.isFinite(value)) return "?";
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
