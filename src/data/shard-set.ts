import { closeSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { crc32c } from "./crc32c.js";
import { fileFailure } from "./file-failure.js";
import { recordOverhead } from "./tfrecord-writer.js";

/** Bytes that a whole set may hold back before they are written. */
const bufferBudget = 16 * 2 ** 20;

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
  pending: Uint8Array[];
  pendingBytes: number;
  bytes: number;
  records: number;
  lengthsCrc: number;
}

/**
 * A set of record files that is filled round robin: record `n` goes to file `n mod count`. No file stays open (a thousand
 * files are more than many systems allow at once): records are gathered in memory, at most 16 MiB for the whole set, and
 * appended.
 */
export class ShardSet {
  readonly #shards: readonly Shard[];
  readonly #flushBytes: number;
  #next = 0;

  /**
   * Creates the files, empty; existing ones are emptied. With a saved state, which must pass {@link ShardSet.matches}, they
   * are cut back to what they held then.
   *
   * @throws ElectraError `ERR_ELECTRA_FILE`
   */
  constructor(paths: readonly string[], saved?: ShardSetState) {
    this.#flushBytes = Math.max(4096, Math.floor(bufferBudget / Math.max(1, paths.length)));
    this.#next = saved?.next ?? 0;
    this.#shards = paths.map((path, index) => {
      const [bytes, records, lengthsCrc] = saved?.shards[index] ?? [0, 0, 0];
      try {
        if (saved === undefined) {
          closeSync(openSync(path, "w"));
        } else {
          truncateSync(path, bytes);
        }
      } catch (error) {
        throw fileFailure(error, "cannot create", path);
      }
      return { path, pending: [], pendingBytes: 0, bytes, records, lengthsCrc };
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

  /** Takes over one whole record, frame included. @throws ElectraError `ERR_ELECTRA_FILE`, for example on a full disk */
  append(record: Uint8Array): void {
    const shard = this.#shards[this.#next]!;
    this.#next = (this.#next + 1) % this.#shards.length;
    shard.pending.push(record);
    shard.pendingBytes += record.length;
    shard.records++;
    shard.lengthsCrc = continueLengthsCrc(shard.lengthsCrc, record.length - recordOverhead);
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

function flush(shard: Shard): void {
  if (shard.pendingBytes === 0) {
    return;
  }
  try {
    const bytes = Buffer.concat(shard.pending, shard.pendingBytes);
    const file = openSync(shard.path, "a");
    try {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(file, bytes, written);
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw fileFailure(error, "cannot write", shard.path);
  }
  shard.bytes += shard.pendingBytes;
  shard.pending = [];
  shard.pendingBytes = 0;
}
