/** One record file and the lengths of its payloads, in order. */
export interface IndexedFile {
  readonly path: string;
  readonly bytes: number;
  /** Time of the last change in nanoseconds since 1970, as text: more digits than a number holds. */
  readonly changed: string;
  readonly lengths: Uint32Array;
}
