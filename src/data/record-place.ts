import { ElectraError } from "../errors.js";

/** Where a record lies; every complaint about a record names it. */
export interface RecordPlace {
  /** Path of the file, or another name for where the bytes came from. */
  readonly file: string;
  /** Number of the record in its file, counted from 0. */
  readonly record: number;
  /** Byte offset of the record's header in the file. */
  readonly offset: number;
}

/** A record whose frame (length, check sums, end of file) is broken: `ERR_ELECTRA_RECORD_DAMAGED`. */
export function damagedRecord(place: RecordPlace, what: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_RECORD_DAMAGED", `${describe(place)}: ${what}`, {
    hint: "the file is damaged or was not completely written: copy or build it again",
  });
}

/** A record whose frame is whole but whose content does not fit: `ERR_ELECTRA_RECORD_INVALID`. */
export function invalidRecord(place: RecordPlace, what: string, hint?: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_RECORD_INVALID", `${describe(place)}: ${what}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}

function describe(place: RecordPlace): string {
  return `${place.file}: record ${place.record} (at byte ${place.offset})`;
}
