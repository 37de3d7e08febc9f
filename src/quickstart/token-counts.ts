import { BatchLoader } from "../data/batch-loader.js";
import type { RecordView } from "../data/record-dataset.js";

export interface CountTokensOptions {
  readonly records: RecordView;
  readonly vocabSize: number;
  /** Ids that are not counted: [CLS], [SEP]. */
  readonly special: ReadonlySet<number>;
  readonly signal?: AbortSignal;
}

/** How often every id occurs in records, padding and special tokens left out. */
export async function countTokens(options: CountTokensOptions): Promise<Float64Array> {
  const { records, vocabSize, special, signal } = options;
  const counts = new Float64Array(vocabSize);
  const loader = new BatchLoader({
    source: records,
    batchSize: 512,
    order: { kind: "ordered" },
    ...(signal === undefined ? {} : { signal }),
  });
  const { maxSeqLength } = records.dataset;
  try {
    for await (const { rows, lengths, inputIds } of loader) {
      for (let row = 0; row < rows; row++) {
        const begin = row * maxSeqLength;
        for (let at = begin; at < begin + lengths[row]!; at++) {
          const id = inputIds[at]!;
          if (!special.has(id)) counts[id]!++;
        }
      }
    }
  } finally {
    loader.close();
  }
  return counts;
}
