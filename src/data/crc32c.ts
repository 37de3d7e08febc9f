/**
 * CRC-32C (Castagnoli; reflected polynomial 0x82f63b78, initial and final XOR 0xffffffff), the check sum of TFRecords.
 * Slicing by eight: eight tables of 256 words let one step take eight bytes with independent look-ups.
 */
const tables = buildTables();

function buildTables(): Int32Array {
  const result = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    result[byte] = crc;
  }
  // Table k holds the effect of a byte that is followed by k zero bytes.
  for (let index = 256; index < result.length; index++) {
    const previous = result[index - 256]!;
    result[index] = (previous >>> 8) ^ result[previous & 255]!;
  }
  return result;
}

/**
 * The CRC-32C of `bytes[start, end)` as an unsigned 32-bit number; `crc32c("123456789")` is 0xe3069283.
 *
 * @param previous the CRC of the bytes before, to continue a running sum (0: a new one)
 */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length, previous = 0): number {
  const t = tables;
  let crc = ~previous;
  let at = start;
  for (const last = end - 7; at < last; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[0x700 + (low & 255)]! ^
      t[0x600 + ((low >>> 8) & 255)]! ^
      t[0x500 + ((low >>> 16) & 255)]! ^
      t[0x400 + (low >>> 24)]! ^
      t[0x300 + bytes[at + 4]!]! ^
      t[0x200 + bytes[at + 5]!]! ^
      t[0x100 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) {
    crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 255]!;
  }
  return ~crc >>> 0;
}

/**
 * The masked CRC-32C that TFRecords store: rotated right by 15 bits plus 0xa282ead8, modulo 2^32. (A CRC over data that
 * itself holds CRCs is weak; the mask makes the stored form a different number.)
 */
export function maskedCrc32c(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  return maskCrc32c(crc32c(bytes, start, end));
}

/** The masked form of a CRC-32C, see {@link maskedCrc32c}. */
export function maskCrc32c(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
