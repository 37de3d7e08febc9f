import { open } from "node:fs/promises";
import { maskedCrc32c } from "./crc32c.js";
import { fileFailure } from "./file-failure.js";
import { damagedRecord, type RecordPlace } from "./record-place.js";
import { recordOverhead } from "./tfrecord-writer.js";

/** Bytes before a record's payload: its length and the CRC of the length. */
export const recordHeaderBytes = 12;

/**
 * No example is anywhere near this size. The limit keeps a wrong length whose check sum happens to be right from
 * turning into an allocation.
 */
const largestPayload = 2 ** 30;

/** One record and where it lies. `payload` is a view: it is valid until the next record is asked for. */
export interface TfRecord extends RecordPlace {
  readonly payload: Uint8Array;
}

/**
 * Checks the header of a record in `bytes[at, at + 12)` and returns the length of its payload.
 *
 * @param available bytes from the start of this record to the end of the file
 * @throws ElectraError `ERR_ELECTRA_RECORD_DAMAGED`: end of the file inside the record, wrong check sum of the length,
 *   a length that is negative or larger than what is left of the file. (TensorFlow takes a tail shorter than a header for
 *   the end of the file and crashes on a huge length with a valid check sum; both are reported here.)
 */
export function checkRecordHeader(
  bytes: Uint8Array,
  at: number,
  available: number,
  place: RecordPlace,
): number {
  if (available < recordHeaderBytes) {
    throw damagedRecord(
      place,
      `the file ends inside a record's header: ${available} of its ${recordHeaderBytes} bytes are there`,
    );
  }
  const stored = readUint32(bytes, at + 8);
  const computed = maskedCrc32c(bytes, at, at + 8);
  if (stored !== computed) {
    throw damagedRecord(
      place,
      `the check sum of its length is ${hex(stored)}, but the length gives ${hex(computed)}`,
    );
  }
  const low = readUint32(bytes, at);
  const high = readUint32(bytes, at + 4);
  const length = high * 2 ** 32 + low;
  if (high !== 0 || length > largestPayload || length + recordOverhead > available) {
    const said = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
    const left = Math.max(0, available - recordOverhead);
    throw damagedRecord(
      place,
      `it says that its payload has ${said} bytes, but at most ${left} are left in the file`,
    );
  }
  return length;
}

/** Checks the masked CRC-32C behind the payload `bytes[start, start + length)`. */
export function checkRecordPayload(
  bytes: Uint8Array,
  start: number,
  length: number,
  place: RecordPlace,
): void {
  const stored = readUint32(bytes, start + length);
  const computed = maskedCrc32c(bytes, start, start + length);
  if (stored !== computed) {
    throw damagedRecord(
      place,
      `the check sum of its ${length} bytes is ${hex(computed)}, but ${hex(stored)} was stored`,
    );
  }
}

/**
 * The records of a TFRecord file that lies in memory, in order, both check sums verified.
 *
 * @param file the name to show in errors
 * @throws ElectraError `ERR_ELECTRA_RECORD_DAMAGED` at the first damage, after the whole records before it were given
 */
export function* readRecords(bytes: Uint8Array, file = "(memory)"): Generator<TfRecord, void, undefined> {
  let offset = 0;
  for (let record = 0; offset < bytes.length; record++) {
    const place = { file, record, offset };
    const length = checkRecordHeader(bytes, offset, bytes.length - offset, place);
    const start = offset + recordHeaderBytes;
    checkRecordPayload(bytes, start, length, place);
    yield { ...place, payload: bytes.subarray(start, start + length) };
    offset = start + length + 4;
  }
}

/** Options of {@link readRecordFile}. */
export interface ReadRecordFileOptions {
  readonly signal?: AbortSignal;
  /** Bytes per read from the disk (default 1 MiB). */
  readonly chunkBytes?: number;
}

/**
 * The records of a TFRecord file, in order, read in chunks: memory does not depend on the size of the file.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE` when the file cannot be read, `ERR_ELECTRA_RECORD_DAMAGED` as {@link readRecords}
 */
export async function* readRecordFile(
  path: string,
  options: ReadRecordFileOptions = {},
): AsyncGenerator<TfRecord, void, undefined> {
  const chunkBytes = options.chunkBytes ?? 1 << 20;
  const handle = await open(path, "r").catch((error: unknown) => {
    throw fileFailure(error, "cannot open", path);
  });
  try {
    const size = (await handle.stat()).size;
    let buffer = new Uint8Array(Math.max(recordHeaderBytes, Math.min(chunkBytes, size)));
    let filled = 0; // bytes of the buffer that hold file content
    let at = 0; // next unread byte of the buffer
    let offset = 0; // its offset in the file

    /** Makes `wanted` bytes available at `at`; the caller has checked that the file is that long. */
    const ensure = async (wanted: number, place: RecordPlace): Promise<void> => {
      if (filled - at >= wanted) {
        return;
      }
      options.signal?.throwIfAborted();
      const target = wanted > buffer.length ? new Uint8Array(wanted) : buffer;
      target.set(buffer.subarray(at, filled));
      filled -= at;
      at = 0;
      buffer = target;
      while (filled < wanted) {
        const { bytesRead } = await handle
          .read(buffer, filled, buffer.length - filled, offset + filled)
          .catch((error: unknown) => {
            throw fileFailure(error, "cannot read", path);
          });
        if (bytesRead === 0) {
          throw damagedRecord(place, "the file became shorter while it was read");
        }
        filled += bytesRead;
      }
    };

    for (let record = 0; offset < size; record++) {
      const place = { file: path, record, offset };
      const available = size - offset;
      await ensure(Math.min(recordHeaderBytes, available), place);
      const length = checkRecordHeader(buffer, at, available, place);
      await ensure(length + recordOverhead, place);
      const start = at + recordHeaderBytes;
      checkRecordPayload(buffer, start, length, place);
      yield { ...place, payload: buffer.subarray(start, start + length) };
      at += length + recordOverhead;
      offset += length + recordOverhead;
    }
  } finally {
    await handle.close();
  }
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
