import { closeSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { crc32c } from "./crc32c.js";
import { fileFailure } from "./file-failure.js";
import { recordOverhead } from "./tfrecord-writer.js";

/** Bytes that a whole set may hold back before they are written. */
const bufferBudget = 16 * 2 ** 20;

/** Bytes that a file may hold back: more would not make writing cheaper, only fill memory that is new to the process. */
const mostPending = 256 * 2 ** 10;

/** One finished file of records. */
export interface ShardSummary {
  readonly path: string;
  readonly bytes: number;
  readonly records: number;
  /** CRC-32C over the payload lengths (as little-endian 32-bit numbers) of all records. */
  readonly lengthsCrc: number;
}

/** How far a set has come: what {@link ShardSet.save} gives, as plain data. */
export interface ShardSetState {
  /** Number of the file that takes the next record. */
  readonly next: number;
  /** Of each file: bytes, records and CRC of the lengths. */
  readonly shards: readonly (readonly [bytes: number, records: number, lengthsCrc: number])[];
}

interface Shard {
  readonly path: string;
  /** Whether the file is there; until then the first write makes it. */
  made: boolean;
  /** Records not yet written: the first `pendingBytes` of `pending`, which grows up to what is held back. */
  pending: Uint8Array;
  pendingBytes: number;
  bytes: number;
  records: number;
  lengthsCrc: number;
}

/**
 * A set of record files that is filled round robin: record `n` goes to file `n mod count`. No file stays open (a thousand
 * files are more than many systems allow at once): records are gathered in memory, at most 256 KiB a file and 16 MiB for the
 * whole set, and appended.
 */
export class ShardSet {
  readonly #shards: readonly Shard[];
  readonly #flushBytes: number;
  #next = 0;

  /**
   * A set of new files; existing ones are emptied. Files are made by their first write, or empty by {@link finish} and
   * {@link save}. With a saved state, which must pass {@link ShardSet.matches}, they are cut back to what they held then.
   *
   * @throws ElectraError `ERR_ELECTRA_FILE`
   */
  constructor(paths: readonly string[], saved?: ShardSetState) {
    this.#flushBytes = Math.min(
      mostPending,
      Math.max(4096, Math.floor(bufferBudget / Math.max(1, paths.length))),
    );
    this.#next = saved?.next ?? 0;
    this.#shards = paths.map((path, index) => {
      const [bytes, records, lengthsCrc] = saved?.shards[index] ?? [0, 0, 0];
      if (saved !== undefined) {
        try {
          truncateSync(path, bytes);
        } catch (error) {
          throw fileFailure(error, "cannot create", path);
        }
      }
      const made = saved !== undefined;
      return { path, made, pending: new Uint8Array(0), pendingBytes: 0, bytes, records, lengthsCrc };
    });
  }

  /** Whether files of these names hold at least what a saved state counts. */
  static matches(paths: readonly string[], saved: ShardSetState): boolean {
    return (
      saved.shards.length === paths.length &&
      paths.every((path, index) => {
        const file = statSync(path, { throwIfNoEntry: false });
        return file?.isFile() === true && file.size >= saved.shards[index]![0];
      })
    );
  }

  /** Writes what is still held back and tells how to go on from here. @throws ElectraError `ERR_ELECTRA_FILE` */
  save(): ShardSetState {
    return {
      next: this.#next,
      shards: this.finish().map(({ bytes, records, lengthsCrc }) => [bytes, records, lengthsCrc]),
    };
  }

  /** Adds one whole record, frame included. @throws ElectraError as {@link ShardSet.write} */
  append(record: Uint8Array): void {
    this.write(record.length, (target, at) => {
      target.set(record, at);
      return at + record.length;
    });
  }

  /**
   * Adds one whole record, which `put` writes in its place, frame included: it gets the bytes, where to begin, and returns where
   * it ended, at most `maxBytes` further on.
   *
   * @throws ElectraError `ERR_ELECTRA_FILE`, for example on a full disk
   */
  write(maxBytes: number, put: (target: Uint8Array, at: number) => number): void {
    const shard = this.#shards[this.#next]!;
    this.#next = (this.#next + 1) % this.#shards.length;
    const start = shard.pendingBytes;
    if (start + maxBytes > shard.pending.length) {
      makeRoom(shard, start + maxBytes, this.#flushBytes);
    }
    shard.pendingBytes = put(shard.pending, start);
    shard.records++;
    shard.lengthsCrc = continueLengthsCrc(shard.lengthsCrc, shard.pendingBytes - start - recordOverhead);
    if (shard.pendingBytes >= this.#flushBytes) {
      flush(shard);
    }
  }

  /** Writes what is still held back and tells what the files hold. */
  finish(): readonly ShardSummary[] {
    return this.#shards.map((shard) => {
      flush(shard);
      const { path, bytes, records, lengthsCrc } = shard;
      return { path, bytes, records, lengthsCrc };
    });
  }
}

const lengthBytes = new Uint8Array(4);

/** Continues the CRC-32C over payload lengths, see {@link ShardSummary.lengthsCrc}. */
export function continueLengthsCrc(crc: number, payloadLength: number): number {
  lengthBytes[0] = payloadLength;
  lengthBytes[1] = payloadLength >>> 8;
  lengthBytes[2] = payloadLength >>> 16;
  lengthBytes[3] = payloadLength >>> 24;
  return crc32c(lengthBytes, 0, 4, crc);
}

function makeRoom(shard: Shard, bytes: number, flushBytes: number): void {
  // A set of one file must not take its whole budget for a few records; once as large as that, the memory is used again.
  const most = Math.max(bytes, flushBytes + flushBytes / 8);
  const larger = new Uint8Array(Math.min(most, Math.max(bytes, 4096, 2 * shard.pending.length)));
  larger.set(shard.pending.subarray(0, shard.pendingBytes));
  shard.pending = larger;
}

function flush(shard: Shard): void {
  if (shard.made && shard.pendingBytes === 0) {
    return;
  }
  try {
    const file = openSync(shard.path, shard.made ? "a" : "w");
    try {
      for (let written = 0; written < shard.pendingBytes; ) {
        written += writeSync(file, shard.pending, written, shard.pendingBytes - written);
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw fileFailure(error, shard.made ? "cannot write" : "cannot create", shard.path);
  }
  shard.made = true;
  shard.bytes += shard.pendingBytes;
  shard.pendingBytes = 0;
}
