import { basename, dirname } from "node:path";
import { ElectraError } from "../errors.js";
import { crc32c } from "./crc32c.js";
import { type DataFingerprint, fingerprintFiles } from "./data-fingerprint.js";
import { manifestName, readManifest } from "./dataset-manifest.js";
import { FilePool } from "./file-pool.js";
import { globFiles } from "./glob-files.js";
import type { IndexedFile } from "./indexed-file.js";
import { PretrainingExampleDecoder } from "./pretraining-example-decoder.js";
import { type IndexRecordFilesOptions, indexRecordFiles } from "./record-index.js";
import { invalidRecord, type RecordPlace } from "./record-place.js";
import { continueLengthsCrc } from "./shard-set.js";
import { checkRecordHeader, checkRecordPayload, recordHeaderBytes } from "./tfrecord-reader.js";
import { recordOverhead } from "./tfrecord-writer.js";

/** Options of {@link RecordDataset.open}. */
export interface RecordDatasetOptions extends IndexRecordFilesOptions {
  /** Comma-separated glob patterns, as the hparam `pretrain_tfrecords`. */
  readonly patterns: string;
  /** Every record must have this many ids. */
  readonly maxSeqLength: number;
  /** Every id must be below this. */
  readonly vocabSize: number;
  /** Every segment id must be below this (default 2). */
  readonly typeVocabSize?: number;
}

/** Some records of a data set, numbered from 0: all, or one side of a split. */
export interface RecordView {
  readonly dataset: RecordDataset;
  readonly length: number;
  /** Number in the data set of this view's record `index`. */
  recordAt(index: number): number;
}

/** Where decoded rows go. Row `r` begins at `r · maxSeqLength`. */
export interface RowTarget {
  readonly inputIds: Int32Array;
  readonly segmentIds: Int32Array;
  /** Real tokens of each row. */
  readonly lengths: Int32Array;
}

/** Reads under way at once per call of `readRows`: enough for the disk, and decoding never blocks the thread for long. */
const group = 64;

interface DataFile {
  readonly path: string;
  readonly firstRecord: number;
  /** CRC-32C of the file's name, without its folder. */
  readonly nameCrc: number;
  /** Offsets of the records, and of the end. */
  readonly offsets: Uint32Array | Float64Array;
}

/**
 * Pre-training records in any number of files, each reachable at once by its number. Every record is checked whenever it is
 * read: both check sums, the three features, `max_seq_length` values in each, ids within the vocabulary, a mask of ones
 * followed by zeros.
 */
export class RecordDataset implements RecordView {
  /** Records in all files. */
  readonly length: number;
  readonly maxSeqLength: number;
  readonly fingerprint: DataFingerprint;
  readonly #files: readonly DataFile[];
  readonly #pool: FilePool;
  readonly #decoder: PretrainingExampleDecoder;

  private constructor(files: readonly IndexedFile[], options: RecordDatasetOptions) {
    let total = 0;
    this.#files = files.map(({ path, bytes, lengths }) => {
      const firstRecord = total;
      total += lengths.length;
      // Four bytes a record instead of eight, wherever they are enough.
      const offsets = new (bytes < 2 ** 32 ? Uint32Array : Float64Array)(lengths.length + 1);
      for (const [index, length] of lengths.entries()) {
        offsets[index + 1] = offsets[index]! + length + recordOverhead;
      }
      return { path, firstRecord, nameCrc: crc32c(new TextEncoder().encode(basename(path))), offsets };
    });
    this.length = total;
    this.maxSeqLength = options.maxSeqLength;
    this.fingerprint = fingerprintFiles(
      files.map(({ path, bytes, lengths }) => ({
        path,
        bytes,
        records: lengths.length,
        lengthsCrc: lengths.reduce(continueLengthsCrc, 0),
      })),
    );
    this.#pool = new FilePool(files.map((file) => file.path));
    this.#decoder = new PretrainingExampleDecoder(options);
  }

  /**
   * Opens all files that match the patterns and checks the first record of each. A file that matches several patterns
   * counts once; empty files are left out.
   *
   * @throws ElectraError `ERR_ELECTRA_NO_RECORDS` when nothing matches, all files are empty, or the folder holds an unfinished
   *   dataset; `ERR_ELECTRA_RECORD_LENGTH`, `ERR_ELECTRA_RECORD_INVALID`, `ERR_ELECTRA_RECORD_DAMAGED`, `ERR_ELECTRA_FILE`
   */
  static async open(options: RecordDatasetOptions): Promise<RecordDataset> {
    const paths = new Set<string>();
    for (const pattern of options.patterns.split(",").map((part) => part.trim())) {
      if (pattern !== "") {
        for (const path of await globFiles(pattern)) {
          paths.add(path);
        }
      }
    }
    await refuseUnfinished(paths, options.patterns);
    if (paths.size === 0) {
      throw new ElectraError(
        "ERR_ELECTRA_NO_RECORDS",
        `no file matches ${JSON.stringify(options.patterns)}`,
        {
          hint: "build the records first (build-dataset), or set pretrain_tfrecords to where they are",
          exitCode: 2,
        },
      );
    }
    const files = await indexRecordFiles([...paths], options);
    const filled = files.filter((file) => file.lengths.length > 0);
    if (filled.length === 0) {
      throw new ElectraError(
        "ERR_ELECTRA_NO_RECORDS",
        `the ${files.length} files that match ${JSON.stringify(options.patterns)} hold no records: all are empty`,
        { hint: "build the records again from a corpus with text", exitCode: 2 },
      );
    }
    const dataset = new RecordDataset(filled, options);
    try {
      await dataset.#checkFirstRecords(options.signal);
    } catch (error) {
      dataset.close();
      throw error;
    }
    return dataset;
  }

  recordAt(index: number): number {
    return index;
  }

  get dataset(): RecordDataset {
    return this;
  }

  /** Where a record lies. */
  place(record: number): RecordPlace {
    const file = this.#files[this.#fileOf(record)]!;
    const number = record - file.firstRecord;
    return { file: file.path, record: number, offset: file.offsets[number]! };
  }

  /**
   * Reads records into consecutive rows of `target`, beginning with `firstRow`.
   *
   * @throws ElectraError `ERR_ELECTRA_RECORD_LENGTH`, `ERR_ELECTRA_RECORD_INVALID`, `ERR_ELECTRA_RECORD_DAMAGED`, `ERR_ELECTRA_FILE`
   */
  async readRows(
    records: ArrayLike<number>,
    target: RowTarget,
    firstRow = 0,
    signal?: AbortSignal,
  ): Promise<void> {
    for (let start = 0; start < records.length; start += group) {
      signal?.throwIfAborted();
      const count = Math.min(group, records.length - start);
      await this.#readGroup(records, start, count, target, firstRow + start);
    }
  }

  /** Closes the files. */
  close(): void {
    this.#pool.close();
  }

  #readGroup(
    records: ArrayLike<number>,
    start: number,
    count: number,
    target: RowTarget,
    firstRow: number,
  ): Promise<void> {
    const places = new Array<RecordPlace>(count);
    const fileNumbers = new Array<number>(count);
    const starts = new Int32Array(count + 1);
    for (let index = 0; index < count; index++) {
      const record = records[start + index]!;
      const number = this.#fileOf(record);
      const { path, firstRecord, offsets } = this.#files[number]!;
      const local = record - firstRecord;
      const offset = offsets[local]!;
      fileNumbers[index] = number;
      places[index] = { file: path, record: local, offset };
      starts[index + 1] = starts[index]! + (offsets[local + 1]! - offset);
    }
    const bytes = Buffer.allocUnsafe(starts[count]!);
    return new Promise((resolve, reject) => {
      let left = count;
      let failure: unknown;
      const done = (error: unknown): void => {
        failure ??= error;
        if (--left > 0) {
          return;
        }
        if (failure !== undefined) {
          reject(failure);
          return;
        }
        try {
          for (let index = 0; index < count; index++) {
            this.#decode(bytes, starts[index]!, starts[index + 1]!, target, firstRow + index, places[index]!);
          }
          // Whatever else waits in the event loop comes first: reads may all have been made at once.
          setImmediate(resolve);
        } catch (error) {
          reject(error);
        }
      };
      for (let index = 0; index < count; index++) {
        const at = starts[index]!;
        this.#pool.read(fileNumbers[index]!, bytes, at, starts[index + 1]! - at, places[index]!.offset, done);
      }
    });
  }

  #decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    target: RowTarget,
    row: number,
    place: RecordPlace,
  ): void {
    const length = checkRecordHeader(bytes, start, end - start, place);
    if (length + recordOverhead !== end - start) {
      throw invalidRecord(place, "the file was changed after it was indexed", "start again");
    }
    const payload = start + recordHeaderBytes;
    checkRecordPayload(bytes, payload, length, place);
    target.lengths[row] = this.#decoder.decode(
      bytes,
      payload,
      payload + length,
      target.inputIds,
      target.segmentIds,
      row * this.maxSeqLength,
      place,
    );
  }

  async #checkFirstRecords(signal: AbortSignal | undefined): Promise<void> {
    const target = {
      inputIds: new Int32Array(group * this.maxSeqLength),
      segmentIds: new Int32Array(group * this.maxSeqLength),
      lengths: new Int32Array(group),
    };
    for (let start = 0; start < this.#files.length; start += group) {
      const some = this.#files.slice(start, start + group);
      await this.readRows(
        some.map((file) => file.firstRecord),
        target,
        0,
        signal,
      );
    }
  }

  /** Number of the file that holds a record. */
  #fileOf(record: number): number {
    if (!(record >= 0 && record < this.length)) {
      throw new RangeError(`record ${record} does not exist: there are ${this.length}`);
    }
    let low = 0;
    let high = this.#files.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#files[middle]!.firstRecord <= record) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /**
   * A number in 0 … 2³² − 1 that a record keeps when files are added or moved: it depends on the name of its file and its
   * number there.
   */
  recordHash(record: number): number {
    const file = this.#files[this.#fileOf(record)]!;
    return mix((file.nameCrc ^ mix(record - file.firstRecord)) >>> 0);
  }
}

/** The finalizer of MurmurHash3: every bit of the input changes every bit of the output with probability one half. */
function mix(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A build that was interrupted while it replaced its files leaves a folder that looks whole. */
async function refuseUnfinished(paths: ReadonlySet<string>, patterns: string): Promise<void> {
  const folders = new Set(
    paths.size > 0 ? [...paths].map((path) => dirname(path)) : [dirname(patterns.split(",")[0]!)],
  );
  for (const folder of folders) {
    if (/[*?[]/.test(folder)) {
      continue;
    }
    const manifest = await readManifest(folder);
    if (manifest?.status === "building") {
      throw new ElectraError(
        "ERR_ELECTRA_NO_RECORDS",
        `the dataset in ${folder} is not complete: ${manifestName} says that its build was interrupted or is still running`,
        { hint: "run build-dataset again with the same options", exitCode: 2 },
      );
    }
  }
}
