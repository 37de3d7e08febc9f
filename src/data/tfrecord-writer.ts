import { maskedCrc32c } from "./crc32c.js";

/** Bytes that a record takes beside its payload: length (8), CRC of the length (4), CRC of the payload (4). */
export const recordOverhead = 16;

/**
 * Writes one TFRecord into `target` at `at` and returns the offset behind it. The payload must already lie at
 * `target[at + 12, at + 12 + payloadLength)`, so that an encoder can write it in place.
 */
export function frameRecord(target: Uint8Array, at: number, payloadLength: number): number {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  view.setUint32(at, payloadLength >>> 0, true);
  view.setUint32(at + 4, Math.floor(payloadLength / 2 ** 32), true);
  view.setUint32(at + 8, maskedCrc32c(target, at, at + 8), true);
  const end = at + 12 + payloadLength;
  view.setUint32(end, maskedCrc32c(target, at + 12, end), true);
  return end + 4;
}

/** One TFRecord (uncompressed) around `payload`: length, masked CRC-32C of the length, payload, masked CRC-32C of the payload. */
export function encodeRecord(payload: Uint8Array): Uint8Array {
  const record = new Uint8Array(payload.length + recordOverhead);
  record.set(payload, 12);
  frameRecord(record, 0, payload.length);
  return record;
}
