/** What one check of `doctor` found. */
export interface Finding {
  readonly name: string;
  /** `warn`: works without it, but slower or with less; `fail`: has to be mended. */
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
  /** What to do; only where something is not ok. */
  readonly remedy?: string;
  /** The command that mends it. */
  readonly command?: string;
}
