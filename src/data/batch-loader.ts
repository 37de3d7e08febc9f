import { ElectraError } from "../errors.js";
import { EpochPermutation } from "./epoch-permutation.js";
import type { RecordView } from "./record-dataset.js";

/** A batch of `rows` examples; `L` is the data set's `maxSeqLength`. */
export interface Batch {
  readonly rows: number;
  /** `[rows, L]`, padded with what the records hold behind their tokens (0). */
  readonly inputIds: Int32Array;
  /** `[rows, L]`. */
  readonly segmentIds: Int32Array;
  /** `[rows]`: real tokens of each row. */
  readonly lengths: Int32Array;
  /** Number of the first row in the endless stream of examples; after this batch the cursor is `firstRow + rows`. */
  readonly firstRow: number;
  /** `[rows]`: which record of the data set each row is. */
  readonly records: Float64Array;
}

/** Options of {@link BatchLoader}. */
export interface BatchLoaderOptions {
  /** A data set, or one side of a split. */
  readonly source: RecordView;
  readonly batchSize: number;
  /**
   * `shuffled`: an endless stream, every epoch in an order of its own that depends on seed and epoch alone.
   * `ordered`: once through the records as they lie, for evaluation; the last batch may be smaller.
   */
  readonly order: { readonly kind: "shuffled"; readonly seed: number } | { readonly kind: "ordered" };
  /** Examples consumed before: where to go on (default 0). */
  readonly cursor?: number;
  /** Batches prepared ahead (default 4). */
  readonly prefetch?: number;
  readonly signal?: AbortSignal;
}

/**
 * Delivers batches of records, some prepared ahead.
 *
 * The stream of examples is one endless sequence: row `r` is place `r mod n` of epoch `⌊r / n⌋`, n being the number of
 * records. Batches are consecutive pieces of it, so the end of an epoch may fall inside a batch, every example is used
 * exactly once per epoch, and none is dropped. `cursor` counts the rows that were handed out, not those prepared; a new loader
 * with that cursor continues with exactly the next row, whatever its batch size.
 */
export class BatchLoader implements AsyncIterable<Batch> {
  readonly #source: RecordView;
  readonly #batchSize: number;
  readonly #seed: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #prefetch: number;
  readonly #ahead: Promise<Batch>[] = [];
  #permutation: EpochPermutation | undefined;
  #permutationEpoch = -1;
  #cursor: number;
  /** First row that is not yet being prepared. */
  #next: number;
  #closed = false;

  constructor(options: BatchLoaderOptions) {
    const { source, batchSize, order } = options;
    const cursor = options.cursor ?? 0;
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new ElectraError(
        "ERR_ELECTRA_BATCH_SIZE",
        `the batch size must be a positive integer, not ${batchSize}`,
        {
          exitCode: 2,
        },
      );
    }
    if (!Number.isSafeInteger(cursor) || cursor < 0) {
      throw new RangeError(`the cursor must be a non-negative integer, not ${cursor}`);
    }
    if (source.length < 1) {
      throw new RangeError("there are no records to load");
    }
    this.#source = source;
    this.#batchSize = batchSize;
    this.#seed = order.kind === "shuffled" ? order.seed : undefined;
    this.#signal = options.signal;
    this.#prefetch = Math.max(1, options.prefetch ?? 4);
    this.#cursor = cursor;
    this.#next = cursor;
    this.#fill();
  }

  /** Rows handed out so far, counted from the beginning of training: store this to continue later. */
  get cursor(): number {
    return this.#cursor;
  }

  /** The epoch of the next row, counted from 0. */
  get epoch(): number {
    return Math.floor(this.#cursor / this.#source.length);
  }

  /**
   * The next batch; undefined at the end of an ordered pass or after `close`.
   *
   * @throws ElectraError about a record that cannot be used, as `RecordDataset.readRows`; the signal's reason when aborted
   */
  async next(): Promise<Batch | undefined> {
    this.#signal?.throwIfAborted();
    const first = this.#ahead[0];
    if (first === undefined || this.#closed) {
      return undefined;
    }
    // A failed batch stays at the front: asking again fails again instead of skipping it.
    const batch = await first;
    if (this.#closed) {
      return undefined;
    }
    if (this.#ahead[0] !== first) {
      throw new Error("next() was called again before the last call had ended");
    }
    this.#ahead.shift();
    this.#cursor = batch.firstRow + batch.rows;
    this.#fill();
    return batch;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    for (let batch = await this.next(); batch !== undefined; batch = await this.next()) {
      yield batch;
    }
  }

  /** Stops preparing batches. The data set stays open: it may serve other loaders. */
  close(): void {
    this.#closed = true;
    this.#ahead.length = 0;
  }

  #fill(): void {
    const end = this.#seed === undefined ? this.#source.length : Number.POSITIVE_INFINITY;
    while (!this.#closed && this.#ahead.length < this.#prefetch && this.#next < end) {
      const rows = Math.min(this.#batchSize, end - this.#next);
      const batch = this.#load(this.#next, rows);
      // The error is reported by next(); until then it must not count as unhandled.
      batch.catch(() => undefined);
      this.#ahead.push(batch);
      this.#next += rows;
    }
  }

  async #load(firstRow: number, rows: number): Promise<Batch> {
    const { dataset } = this.#source;
    const batch: Batch = {
      rows,
      inputIds: new Int32Array(rows * dataset.maxSeqLength),
      segmentIds: new Int32Array(rows * dataset.maxSeqLength),
      lengths: new Int32Array(rows),
      firstRow,
      records: new Float64Array(rows),
    };
    for (let row = 0; row < rows; row++) {
      batch.records[row] = this.#source.recordAt(this.#placeOf(firstRow + row));
    }
    await dataset.readRows(batch.records, batch, 0, this.#signal);
    return batch;
  }

  /** Index in the source of a row of the stream. */
  #placeOf(row: number): number {
    if (this.#seed === undefined) {
      return row;
    }
    const { length } = this.#source;
    const epoch = Math.floor(row / length);
    if (this.#permutation === undefined || this.#permutationEpoch !== epoch) {
      this.#permutation = new EpochPermutation(length, this.#seed, epoch);
      this.#permutationEpoch = epoch;
    }
    return this.#permutation.at(row % length);
  }
}
