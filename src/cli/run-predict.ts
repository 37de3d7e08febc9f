import { statSync } from "node:fs";
import { access } from "node:fs/promises";
import { ElectraError } from "../errors.js";
import { BadRows } from "../finetuning/reading/bad-rows.js";
import type { FinetunedModel } from "../inference/finetuned-model.js";
import { describedLayout } from "../inference/input/described-layout.js";
import { type InputColumns, type InputFormat, inputLayout } from "../inference/input/input-layout.js";
import { type PredictedRow, predictRows } from "../inference/predict-rows.js";
import { PredictionFile } from "../inference/prediction-file.js";
import { announceMachine } from "./announce-machine.js";
import { BytesProgress } from "./bytes-progress.js";
import type { Output } from "./output.js";
import type { RunOptions } from "./run-options.js";

/** Options of `predict` but for the model. */
export interface PredictCommandOptions extends RunOptions {
  readonly task?: string;
  readonly input: string;
  readonly format?: InputFormat;
  readonly header?: boolean;
  readonly columns?: InputColumns;
  readonly outputFile?: string;
  readonly overwrite: boolean;
  readonly skipBadRows: boolean;
  readonly batchSize: number;
  readonly nBest?: number;
  readonly threshold: number;
}

/** @throws ElectraError `ERR_ELECTRA_USAGE` if the file exists and is not to be replaced */
export async function checkOutputFile(path: string, overwrite: boolean): Promise<void> {
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  if (!exists || overwrite) return;
  throw new ElectraError("ERR_ELECTRA_USAGE", `${path} exists`, {
    hint: "Give another --output-file, or --overwrite.",
    exitCode: 2,
  });
}

/** Predicts the rows of a file, writes them as JSON Lines and says what there was to see. */
export async function runPredict(
  output: Output,
  signal: AbortSignal,
  model: FinetunedModel,
  options: PredictCommandOptions,
): Promise<void> {
  const task = model.task(["classification", "multi-label", "regression", "tagging", "span"], options.task);
  const { input: source, outputFile, batchSize, threshold, nBest } = options;
  const { hparams } = model;
  const described = await describedLayout({ source, task, hparams });
  const layout = inputLayout({ source, task, hparams, described, ...layoutOf(options) });
  announceMachine(output, model.engine.info);
  output.talk(`task ${task.name} (${task.head.kind}) of ${model.folder}`);
  if (layout.note !== undefined) output.talk(layout.note);
  if (nBest !== undefined && task.head.kind !== "classification" && task.head.kind !== "span") {
    output.warn(`--n-best says nothing about ${task.name}, whose head is ${task.head.kind}: left out`);
  }
  if (source === "-" && process.stdin.isTTY) output.talk("reading what you type; Ctrl-D ends it");

  const bad = new BadRows({ skip: options.skipBadRows, how: "--skip-bad-rows" });
  const progress = new Progress(output, source);
  const rows = predictRows(model, task, {
    source,
    layout,
    bad,
    batchSize,
    threshold,
    ...(nBest === undefined ? {} : { nBest }),
    signal,
    onBytes: (bytes) => progress.bytes(bytes),
    onTotal: (total) => progress.total(total),
  });
  const file = outputFile === undefined ? undefined : await PredictionFile.create(outputFile);
  const predictions: PredictedRow[] = [];
  try {
    for await (const row of rows) {
      if (file !== undefined) await file.writeLine(JSON.stringify(row));
      else if (output.json) predictions.push(row);
      else await output.data(`${JSON.stringify(row)}\n`);
      progress.row(row);
    }
    await file?.finish();
  } catch (error) {
    const kept = await file?.abandon();
    if (kept !== undefined) output.talk(`${progress.rows} rows were predicted; they are in ${kept}`);
    throw error;
  } finally {
    progress.stop();
  }
  const { count: skipped } = reportBadRows(output, bad);
  const { rows: count, cut, seconds } = progress;
  if (cut > 0) {
    output.warn(
      `${cut} of ${count} rows were longer than the model reads (${model.hparams.max_seq_length} tokens); what did not fit was cut`,
      "Their objects say how much: cut_tokens, cut_words.",
    );
  }
  output.talk(`${count} ${count === 1 ? "row" : "rows"} in ${seconds.toFixed(1)} s`);
  if (!output.json) return;
  output.result(
    {
      model: model.folder,
      step: model.step ?? null,
      task: task.name,
      head: task.head.kind,
      rows: count,
      skipped,
      cut,
      seconds,
      output_file: outputFile ?? null,
      ...(outputFile === undefined ? { predictions } : {}),
    },
    "",
  );
}

/** What was given, and nothing else. */
function layoutOf({ format, header, columns }: PredictCommandOptions) {
  return {
    ...(format === undefined ? {} : { format }),
    ...(header === undefined ? {} : { header }),
    ...(columns === undefined ? {} : { columns }),
  };
}

function reportBadRows(output: Output, bad: BadRows) {
  const summary = bad.summary();
  const { count, rows } = summary;
  if (count > 0) {
    const named = rows.map(({ file, place, reason }) => `\n  ${file}, ${place}: ${reason}`).join("");
    const more = count > rows.length ? `\n  … and ${count - rows.length} more` : "";
    output.warn(`${count} bad ${count === 1 ? "row was" : "rows were"} left out:${named}${more}`);
  }
  return summary;
}

/** Counts rows and shows how far the file is read. */
class Progress {
  rows = 0;
  cut = 0;
  readonly #bar: BytesProgress;
  readonly #started = performance.now();
  /** Of the file in bytes; 0 where nobody can tell. */
  readonly #size: number;
  #bytes = 0;
  /** Rows of a file that is read as a whole before the first one comes. */
  #total: number | undefined;

  constructor(output: Output, source: string) {
    this.#bar = new BytesProgress(output);
    this.#size = source === "-" ? 0 : (statSync(source, { throwIfNoEntry: false })?.size ?? 0);
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  bytes(count: number): void {
    this.#bytes = count;
  }

  total(count: number): void {
    this.#total = count;
  }

  row(row: PredictedRow): void {
    this.rows++;
    if ("cut_tokens" in row || "cut_words" in row) this.cut++;
    if (this.#total !== undefined)
      this.#bar.update(this.rows, this.#total, `${this.rows} of ${this.#total} rows`);
    else if (this.#size > 0) this.#bar.update(this.#bytes, this.#size, `${this.rows} rows`);
  }

  stop(): void {
    this.#bar.stop();
  }
}
