import type { EngineTaskHead, FinetuningBatch, FinetuningTargets } from "../../engine/finetuning-types.js";
import type { MixedRow } from "../features/mixed-examples.js";
import type { TaskFeatures } from "../task.js";

/**
 * A batch of rows with what they are to learn, as long as its longest row. A padding row has no token, so nothing is
 * computed for it.
 *
 * @param heads of the run's tasks, by number
 */
export function finetuningBatch(
  rows: readonly MixedRow[],
  heads: readonly EngineTaskHead[],
): FinetuningBatch {
  const count = rows.length;
  const length = Math.max(1, ...rows.map(({ features }) => features?.inputIds.length ?? 0));
  const inputIds = new Int32Array(count * length);
  const segmentIds = new Int32Array(count * length);
  const lengths = new Int32Array(count);
  const taskIds = new Int32Array(count).fill(heads.length);
  const targets = new TargetArrays(rows, heads);
  for (const [row, { taskId, features }] of rows.entries()) {
    if (features === null) continue;
    inputIds.set(features.inputIds, row * length);
    segmentIds.set(features.segmentIds, row * length);
    lengths[row] = features.inputIds.length;
    taskIds[row] = taskId;
    targets.set(row, features);
  }
  return { inputIds, segmentIds, lengths, rows: count, length, taskIds, ...targets.parts() };
}

/** Arrays over all rows, of the kinds of target that the run's tasks have. */
class TargetArrays {
  readonly #kinds: ReadonlySet<EngineTaskHead["kind"]>;
  readonly #classes: Int32Array;
  /** Of the multi-label task that has most. */
  readonly #width: number;
  readonly #labels: Float32Array;
  readonly #values: Float32Array;
  readonly #offsets: Int32Array;
  readonly #positions: Int32Array;
  readonly #wordClasses: Int32Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  readonly #impossible: Int32Array;

  constructor(rows: readonly MixedRow[], heads: readonly EngineTaskHead[]) {
    const count = rows.length;
    this.#kinds = new Set(heads.map(({ kind }) => kind));
    this.#width = Math.max(0, ...heads.map((head) => (head.kind === "multi-label" ? head.classes : 0)));
    this.#classes = new Int32Array(count);
    this.#labels = new Float32Array(count * this.#width);
    this.#values = new Float32Array(count);
    this.#starts = new Int32Array(count);
    this.#ends = new Int32Array(count);
    this.#impossible = new Int32Array(count);
    this.#offsets = new Int32Array(count + 1);
    for (const [row, { features }] of rows.entries()) {
      this.#offsets[row + 1] = this.#offsets[row]! + wordsOf(features);
    }
    this.#positions = new Int32Array(this.#offsets[count]!);
    this.#wordClasses = new Int32Array(this.#offsets[count]!);
  }

  set(row: number, { target }: TaskFeatures): void {
    switch (target.kind) {
      case "classification":
        this.#classes[row] = target.label;
        return;
      case "multi-label":
        this.#labels.set(target.labels, row * this.#width);
        return;
      case "regression":
        this.#values[row] = target.value;
        return;
      case "tagging":
        this.#positions.set(target.positions, this.#offsets[row]);
        // Where nobody knows them there may be fewer labels than words.
        this.#wordClasses.set(target.labels.subarray(0, target.positions.length), this.#offsets[row]);
        return;
      case "span":
        this.#starts[row] = target.start;
        this.#ends[row] = target.end;
        this.#impossible[row] = target.impossible ? 1 : 0;
    }
  }

  parts(): Pick<FinetuningBatch, "words" | "targets"> {
    const has = (kind: EngineTaskHead["kind"]) => this.#kinds.has(kind);
    const targets: FinetuningTargets = {
      ...(has("classification") ? { classes: this.#classes } : {}),
      ...(has("multi-label") ? { labels: this.#labels } : {}),
      ...(has("regression") ? { values: this.#values } : {}),
      ...(has("tagging") ? { wordClasses: this.#wordClasses } : {}),
      ...(has("span") ? { starts: this.#starts, ends: this.#ends, impossible: this.#impossible } : {}),
    };
    return {
      ...(has("tagging") ? { words: { offsets: this.#offsets, positions: this.#positions } } : {}),
      targets,
    };
  }
}

function wordsOf(features: TaskFeatures | null): number {
  return features?.target.kind === "tagging" ? features.target.positions.length : 0;
}
