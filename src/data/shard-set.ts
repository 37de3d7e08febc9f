import { closeSync, openSync, writeSync } from "node:fs";
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

  /** Creates the files, empty; existing ones are emptied. @throws ElectraError `ERR_ELECTRA_FILE` */
  constructor(paths: readonly string[]) {
    this.#flushBytes = Math.max(4096, Math.floor(bufferBudget / Math.max(1, paths.length)));
    this.#shards = paths.map((path) => {
      try {
        closeSync(openSync(path, "w"));
      } catch (error) {
        throw fileFailure(error, "cannot create", path);
      }
      return { path, pending: [], pendingBytes: 0, bytes: 0, records: 0, lengthsCrc: 0 };
    });
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
