import type { Batch } from "../engine/types.js";

/** A batch and which of the given sequences its rows are. */
export interface SequenceBatch {
  readonly batch: Batch;
  readonly sequences: readonly number[];
}

export interface SequenceBatchesOptions {
  /** Default 64. */
  readonly maxRows?: number;
  /** Rows times longest row, default 4096; a longer sequence goes alone. */
  readonly maxTokens?: number;
}

/**
 * Packs sequences of ids, [CLS] and [SEP] included, into batches of like lengths, the longest first, so that hardly any
 * padding arises. Segment ids are 0.
 */
export function packSequences(
  sequences: readonly Int32Array[],
  options: SequenceBatchesOptions = {},
): SequenceBatch[] {
  const { maxRows = 64, maxTokens = 4096 } = options;
  const order = sequences.map((_, index) => index);
  order.sort((a, b) => sequences[b]!.length - sequences[a]!.length || a - b);
  const batches: SequenceBatch[] = [];
  for (let first = 0; first < order.length; ) {
    const length = sequences[order[first]!]!.length;
    const rows = Math.max(1, Math.min(maxRows, Math.floor(maxTokens / Math.max(1, length))));
    const members = order.slice(first, first + rows);
    const inputIds = new Int32Array(members.length * length);
    const lengths = new Int32Array(members.length);
    for (const [row, member] of members.entries()) {
      inputIds.set(sequences[member]!, row * length);
      lengths[row] = sequences[member]!.length;
    }
    batches.push({ batch: { inputIds, lengths, rows: members.length, length }, sequences: members });
    first += members.length;
  }
  return batches;
}
