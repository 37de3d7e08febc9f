import type { JsonValue } from "../../checkpoint/training-state.js";
import { ElectraError } from "../../errors.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import { pairInput } from "../features/pair-input.js";
import { BadRows } from "../reading/bad-rows.js";
import { BadCell, type Column, mapTableRows, type TableFormat, textCell } from "../reading/table-rows.js";
import { findTaskFile, readTaskText } from "../reading/task-file.js";
import type {
  ExampleSet,
  Split,
  Task,
  TaskFeatures,
  TaskHead,
  TaskOrigin,
  TaskScorer,
  TaskTarget,
} from "../task.js";
import type { SentenceExample } from "./sentence-example.js";
import { type SentenceMetric, SentenceScorer } from "./sentence-scorer.js";
import type { TaskSettings } from "./task-settings.js";

/** The file of a split: places relative to the task's folder, the preferred one first, and its columns. */
export interface SentenceFile {
  readonly candidates: readonly string[];
  readonly format: TableFormat;
  readonly header: boolean;
  readonly textA: Column;
  readonly textB?: Column;
  /** Absent where there are no labels. */
  readonly label?: Column;
}

export type SentenceTarget =
  /** Without `labels` they are those of the training data, sorted. */
  | { readonly kind: "classification"; readonly labels?: readonly string[] }
  | {
      readonly kind: "multi-label";
      readonly labels?: readonly string[];
      /** Between the labels in a cell. A jsonl field may be a list instead. */
      readonly separator: string;
    }
  | { readonly kind: "regression"; readonly minimum: number; readonly maximum: number };

export interface SentenceTaskDescription {
  readonly name: string;
  readonly target: SentenceTarget;
  readonly files: Readonly<Record<Split, SentenceFile>>;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
  readonly metrics: readonly SentenceMetric[];
  /** The order of the two texts means nothing: with `double_unordered` training sees both orders. */
  readonly unordered?: boolean;
}

/** While trying things out the reference reads so many rows, header included. */
const DEBUG_ROWS = 100;

/** A task on one text or two: a class, several labels, or a number. */
export class SentenceTask implements Task<SentenceExample> {
  readonly name: string;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
  readonly oneRow = true;
  readonly #description: SentenceTaskDescription;
  readonly #settings: TaskSettings;
  #labels: Promise<ReadonlyMap<string, number>> | undefined;

  constructor(description: SentenceTaskDescription, settings: TaskSettings) {
    this.name = description.name;
    this.devSplits = description.devSplits;
    this.testSplits = description.testSplits;
    this.#description = description;
    this.#settings = settings;
  }

  async head(): Promise<TaskHead> {
    const { target } = this.#description;
    if (target.kind === "regression") return target;
    return { kind: target.kind, labels: [...(await this.#labelIds()).keys()] };
  }

  async examples(split: Split): Promise<ExampleSet<SentenceExample>> {
    const labels = await this.#labelIds();
    const { file, text, columns } = await this.#read(split);
    const bad = new BadRows({ skip: this.#settings.hparams.skip_bad_rows });
    const rows = mapTableRows(text, file, this.#table(columns), bad, (row): SentenceExample => {
      const textA = textCell(row, columns.textA);
      const textB = columns.textB === undefined ? undefined : textCell(row, columns.textB);
      const label =
        columns.label === undefined || isUnlabelled(split)
          ? this.#dummyLabel(labels.size)
          : this.#label(row.cell(columns.label), labels);
      return { eid: row.index, textA, ...(textB === undefined ? {} : { textB }), label };
    });
    const { unordered = false } = this.#description;
    const doubled = unordered && this.#settings.hparams.double_unordered && split === "train";
    const swapped = doubled ? rows.map((example) => swap(example, rows.length)) : [];
    return { examples: [...rows, ...swapped], skipped: bad.summary() };
  }

  featurize({ eid, textA, textB, label }: SentenceExample): readonly TaskFeatures[] {
    const { hparams, tokenizer } = this.#settings;
    return [
      { eid, ...pairInput(tokenizer, hparams.max_seq_length, textA, textB), target: this.#target(label) },
    ];
  }

  async scorer(): Promise<TaskScorer> {
    return new SentenceScorer(this.#description.target, this.#description.metrics);
  }

  #target(label: number | readonly number[]): TaskTarget {
    const { target } = this.#description;
    if (typeof label !== "number") return { kind: "multi-label", labels: Uint8Array.from(label) };
    if (target.kind !== "regression") return { kind: "classification", label };
    // The reference divides by the maximum, not by the range; for 0 to 5 that is the same.
    return { kind: "regression", value: (label - target.minimum) / target.maximum };
  }

  #dummyLabel(labels: number): number | readonly number[] {
    return this.#description.target.kind === "multi-label" ? new Array<number>(labels).fill(0) : 0;
  }

  #label(cell: unknown, labels: ReadonlyMap<string, number>): number | readonly number[] {
    const { target } = this.#description;
    if (target.kind === "regression") {
      const value = typeof cell === "string" && cell.trim() !== "" ? Number(cell) : cell;
      if (typeof value === "number" && value >= target.minimum && value <= target.maximum) return value;
      throw new BadCell(
        `the value ${JSON.stringify(cell)} is no number from ${target.minimum} to ${target.maximum}`,
        "Correct the value, or the range that the task states.",
      );
    }
    const idOf = (label: string): number => {
      const id = labels.get(label);
      if (id !== undefined) return id;
      throw new BadCell(
        `unknown label ${JSON.stringify(label)}`,
        `The labels are ${[...labels.keys()].map((known) => JSON.stringify(known)).join(", ")}.`,
      );
    };
    if (target.kind === "classification") return idOf(String(cell));
    const bits = new Array<number>(labels.size).fill(0);
    for (const label of labelsOfCell(cell, target.separator)) bits[idOf(label)] = 1;
    return bits;
  }

  #labelIds(): Promise<ReadonlyMap<string, number>> {
    this.#labels ??= this.#findLabels();
    return this.#labels;
  }

  async #findLabels(): Promise<ReadonlyMap<string, number>> {
    const { target } = this.#description;
    if (target.kind === "regression") return new Map();
    if (target.labels !== undefined) return new Map(target.labels.map((label, id) => [label, id]));
    const { file, text, columns } = await this.#read("train");
    const { label } = columns;
    const bad = new BadRows({ skip: true });
    const found = mapTableRows(text, file, { ...this.#table(columns), limit: Infinity }, bad, (row) => {
      if (label === undefined) return [];
      const cell = row.cell(label);
      return target.kind === "classification" ? [String(cell)] : labelsOfCell(cell, target.separator);
    });
    const labels = [...new Set(found.flat())].sort();
    if (labels.length < 2) {
      throw new ElectraError(
        "ERR_ELECTRA_TASK",
        `Task ${this.name} has ${labels.length === 0 ? "no labels" : `the one label "${labels[0]}"`} in ${file}: nothing to learn.`,
        { hint: "Does the task name the right label column, and does the file have a header?", exitCode: 2 },
      );
    }
    return new Map(labels.map((name, id) => [name, id]));
  }

  async origin(split: Split): Promise<TaskOrigin> {
    const { file } = await this.#find(split);
    return { files: [file], description: this.#description as unknown as JsonValue };
  }

  async #read(split: Split) {
    const { file, columns } = await this.#find(split);
    return { file, columns, text: await readTaskText(file) };
  }

  async #find(split: Split) {
    const columns = this.#description.files[split];
    if (columns === undefined) {
      throw new ElectraError("ERR_ELECTRA_TASK", `Task ${this.name} has no split ${split}.`, {
        hint: `Its splits are ${Object.keys(this.#description.files).join(", ")}.`,
        exitCode: 2,
      });
    }
    const folder = fillPlace(this.#settings.hparams.raw_data_dir, { task: this.name });
    const { candidates } = columns;
    return { file: await findTaskFile({ task: this.name, split, candidates, folder }), columns };
  }

  #table({ format, header }: SentenceFile) {
    return { format, header, ...(this.#settings.hparams.debug ? { limit: DEBUG_ROWS } : {}) };
  }
}

/** Splits whose labels nobody gives away. */
export function isUnlabelled(split: Split): boolean {
  return split.includes("test") || split.includes("diagnostic");
}

function labelsOfCell(cell: unknown, separator: string): string[] {
  if (Array.isArray(cell)) return cell.map(String);
  if (cell === null) return [];
  return String(cell)
    .split(separator)
    .map((label) => label.trim())
    .filter((label) => label !== "");
}

function swap(example: SentenceExample, offset: number): SentenceExample {
  const { eid, textA, textB = "", label } = example;
  return { eid: eid + offset, textA: textB, textB: textA, label };
}
