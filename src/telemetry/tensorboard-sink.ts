import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { EventSink } from "./event-sink.js";
import type { RunEvent } from "./run-event.js";
import { fileVersionRecord, type Scalar, scalarsRecord, sessionStartRecord } from "./tensorboard-event.js";

export interface TensorboardSinkOptions {
  /** Folder of the event files, e.g. `models/<name>/tensorboard`; made if missing. */
  readonly folder: string;
  /** First step that this run will report: 1, or the restored step + 1. */
  readonly firstStep?: number;
  /** Seconds since 1970, for the file's name and its first record. */
  readonly now?: () => number;
}

let filesOfThisProcess = 0;

/** Writes step and evaluation scalars as a TensorBoard event file, readable while the run goes on. */
export class TensorboardSink implements EventSink {
  readonly path: string;
  #descriptor: number | undefined;

  constructor({ folder, firstStep = 1, now = () => Date.now() / 1000 }: TensorboardSinkOptions) {
    mkdirSync(folder, { recursive: true });
    const time = now();
    const seconds = String(Math.floor(time)).padStart(10, "0");
    const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${filesOfThisProcess++}`;
    this.path = join(folder, name);
    this.#descriptor = openSync(this.path, "wx");
    writeSync(this.#descriptor, fileVersionRecord(time));
    writeSync(this.#descriptor, sessionStartRecord(time, firstStep));
  }

  emit(event: RunEvent): void {
    const scalars = scalarsOf(event);
    if (scalars.length === 0 || !("step" in event) || event.step === undefined) return;
    if (this.#descriptor === undefined) throw new Error("the TensorBoard file is closed");
    writeSync(this.#descriptor, scalarsRecord(event.time, event.step, scalars));
  }

  async close(): Promise<void> {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

function scalarsOf(event: RunEvent): Scalar[] {
  const under = (group: string, metrics: Readonly<Record<string, number>>): Scalar[] =>
    Object.entries(metrics).map(([name, value]) => ({ tag: `${group}/${name}`, value }));
  if (event.type === "eval") return under(`eval_${event.split}`, event.metrics);
  if (event.type !== "step") return [];
  return [
    { tag: "train/loss", value: event.loss },
    ...under("train", event.metrics),
    { tag: "train/learning_rate", value: event.learning_rate },
    { tag: "speed/tokens_per_s", value: event.tokens_per_s },
    ...(event.data_wait_s === undefined ? [] : [{ tag: "speed/data_wait_s", value: event.data_wait_s }]),
  ];
}
