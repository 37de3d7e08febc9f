import type { FinetuningBatch } from "../../engine/finetuning-types.js";
import type { OutputArray, Outputs } from "../../engine/types.js";
import { ElectraError } from "../../errors.js";
import type { HeadOutput, TaskHead } from "../task.js";

/** What a head gave for a row, with all it knows: tagging also has `wordLogits` [words · C]. */
export interface FullHeadOutput extends HeadOutput {
  readonly wordLogits?: Float32Array;
}

/** Names of the engine's outputs that {@link headOutput} reads for a task. */
export function headOutputNames(task: string, head: TaskHead): string[] {
  const name = (output: string) => `${task}/${output}`;
  switch (head.kind) {
    case "classification":
    case "multi-label":
      return [name("logits")];
    case "regression":
      return [name("predictions")];
    case "tagging":
      return [name("logits"), name("predictions")];
    case "span":
      return [
        ...(head.jointPrediction
          ? ["start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index"].map(name)
          : [name("start_logits"), name("end_logits")]),
        ...(head.answerableClassifier ? [name("answerable_logit")] : []),
        // Without the classifier the score of "no answer" is made of the logits at [CLS].
        ...(head.jointPrediction && !head.answerableClassifier ? [name("start_logits")] : []),
      ];
  }
}

/**
 * The part of a batch's outputs that belongs to one of its rows.
 *
 * @throws ElectraError `ERR_ELECTRA_OUTPUT` if an array is missing
 */
export function headOutput(
  task: string,
  head: TaskHead,
  outputs: Outputs,
  batch: FinetuningBatch,
  row: number,
): FullHeadOutput {
  const array = (name: string): OutputArray => {
    const found = outputs[`${task}/${name}`];
    if (found !== undefined) return found;
    throw new ElectraError("ERR_ELECTRA_OUTPUT", `the engine returned no "${task}/${name}"`);
  };
  const ofRow = (name: string) => {
    const { data } = array(name);
    const width = data.length / batch.rows;
    return data.subarray(row * width, (row + 1) * width);
  };
  const loss = outputs["loss"] === undefined ? {} : { loss: outputs["loss"].data[row]! };
  switch (head.kind) {
    case "classification":
    case "multi-label":
      return { ...loss, logits: ofRow("logits") };
    case "regression":
      return { ...loss, prediction: array("predictions").data[row]! };
    case "tagging": {
      const [first = 0, end = 0] = batch.words?.offsets.subarray(row, row + 2) ?? [];
      const classes = head.labels.length;
      return {
        ...loss,
        wordLabels: array("predictions").data.subarray(first, end),
        wordLogits: array("logits").data.subarray(first * classes, end * classes) as Float32Array,
      };
    }
    case "span": {
      // Behind the row's end there is padding, whose zeros would look like good logits.
      const ofTokens = (name: string) => ofRow(name).subarray(0, batch.lengths[row]!);
      return {
        ...loss,
        ...(head.jointPrediction
          ? {
              beams: {
                startLogProbs: ofRow("start_top_log_probs"),
                startIndex: ofRow("start_top_index"),
                endLogProbs: ofRow("end_top_log_probs"),
                endIndex: ofRow("end_top_index"),
              },
            }
          : { startLogits: ofTokens("start_logits"), endLogits: ofTokens("end_logits") }),
        ...(head.answerableClassifier ? { answerableLogit: array("answerable_logit").data[row]! } : {}),
        ...(head.jointPrediction && !head.answerableClassifier
          ? { startLogits: ofTokens("start_logits") }
          : {}),
      };
    }
  }
}
