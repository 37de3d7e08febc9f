import type { ListingRow } from "../output.js";

/** What a path holds. */
export interface Inspection {
  /** For `--json`. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly listing: readonly ListingRow[];
  /** Arguments of the command to type next. */
  readonly next: readonly string[];
}
