import { ElectraError } from "../errors.js";
import { checkBatch, checkFloats, checkInts } from "./check-batch.js";
import type { FinetuningBatch, FinetuningModelConfig } from "./finetuning-types.js";

/**
 * Refuses a batch whose arrays do not fit its shape. What they hold (tasks, positions, classes) is checked natively, where
 * rows are packed.
 *
 * @throws ElectraError `ERR_ELECTRA_BATCH`
 */
export function checkFinetuningBatch(batch: FinetuningBatch, model: FinetuningModelConfig): void {
  checkBatch(batch, model);
  const { rows, taskIds, words, targets } = batch;
  if (taskIds !== undefined) checkInts("taskIds", taskIds, rows);
  let wordCount = 0;
  if (words !== undefined) {
    checkInts("words.offsets", words.offsets, rows + 1);
    wordCount = words.offsets[rows] ?? 0;
    if (wordCount < 0) {
      throw new ElectraError("ERR_ELECTRA_BATCH", `The batch has words.offsets that end at ${wordCount}.`, {
        hint: "offsets[b] counts the words of the rows before row b.",
      });
    }
    checkInts("words.positions", words.positions, wordCount);
  }
  if (targets === undefined) return;
  const { classes, labels, values, wordClasses, starts, ends, impossible } = targets;
  for (const [name, array] of Object.entries({ classes, starts, ends, impossible })) {
    if (array !== undefined) checkInts(`targets.${name}`, array, rows);
  }
  if (labels !== undefined) checkFloats("targets.labels", labels, rows * widestLabels(model));
  if (values !== undefined) checkFloats("targets.values", values, rows);
  if (wordClasses !== undefined) checkInts("targets.wordClasses", wordClasses, wordCount);
}

/** M: the classes of the multi-label task that has most. */
function widestLabels({ tasks }: FinetuningModelConfig): number {
  return Math.max(0, ...tasks.map(({ head }) => (head.kind === "multi-label" ? head.classes : 0)));
}
