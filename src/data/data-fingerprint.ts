import { createHash } from "node:crypto";
import { basename } from "node:path";

/** What identifies a set of record files: a run may continue only on the data that it began with. */
export interface DataFingerprint {
  /** Number of files that hold records. */
  readonly files: number;
  readonly bytes: number;
  readonly records: number;
  /** 16 hexadecimal digits over names, sizes, counts and the lengths of all records, in order. */
  readonly hash: string;
}

/** The part of a record file that goes into a fingerprint. */
export interface FingerprintedFile {
  readonly path: string;
  readonly bytes: number;
  readonly records: number;
  readonly lengthsCrc: number;
}

/** The fingerprint of record files in the given order; files without records and the folders they lie in do not count. */
export function fingerprintFiles(files: readonly FingerprintedFile[]): DataFingerprint {
  const hash = createHash("sha256");
  const filled = files.filter((file) => file.records > 0);
  let bytes = 0;
  let records = 0;
  for (const file of filled) {
    hash.update(`${basename(file.path)}\n${file.bytes} ${file.records} ${file.lengthsCrc}\n`);
    bytes += file.bytes;
    records += file.records;
  }
  return { files: filled.length, bytes, records, hash: hash.digest("hex").slice(0, 16) };
}
