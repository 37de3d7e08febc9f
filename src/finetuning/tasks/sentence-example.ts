import type { TaskExample } from "../task.js";

/** A text, or two, with what is to be learned. */
export interface SentenceExample extends TaskExample {
  readonly textA: string;
  readonly textB?: string;
  /** Class number, bits of a multi-label task, or value. A dummy in splits without labels. */
  readonly label: number | readonly number[];
}
