import type { TaskHead } from "../../finetuning/task.js";
import type { ExportWeights } from "../export-weights.js";
import type { ReferenceHead } from "./reference-heads.js";
import { activate, Dense, logSoftmax, type Vector } from "./reference-layers.js";

/** Log probabilities of all starts [n], which a beam is the best of. */
export const START_LOG_PROBS = "start_log_probs";
/** Log probabilities of all ends for each start [n, n]. */
export const END_LOG_PROBS = "end_log_probs";

/**
 * The head of question answering in float64, as the reference computes it: start and end concatenated, one start at a time.
 * Instead of the beam there are the log probabilities that it is chosen from, for two computations may order near ones
 * differently.
 */
export async function spanOutputs(
  scope: string,
  head: Extract<TaskHead, { kind: "span" }>,
  weights: ExportWeights,
): Promise<ReferenceHead> {
  const read = (layer: string): Promise<Dense> => Dense.read(weights, `${scope}/${layer}`);
  const start = await read("dense");
  const inner = head.jointPrediction ? await read("qa_hidden") : undefined;
  const end = await read("dense_1");
  const answerable = head.answerableClassifier ? await answerability(head, read) : undefined;

  return ({ hidden, segmentIds }) => {
    const mask = (logits: readonly number[]): number[] =>
      logits.map((logit, position) => logit + (position === 0 || segmentIds[position] === 1 ? 0 : -1000));
    const startLogits = mask(hidden.map((state) => start.apply(state)[0]!));
    const outputs: Record<string, readonly number[]> = { start_logits: startLogits };
    if (inner === undefined) {
      outputs["end_logits"] = mask(hidden.map((state) => end.apply(state)[0]!));
    } else {
      const endLogits = (from: number): number[] =>
        mask(hidden.map((state) => end.apply(activate(inner.apply(join(hidden[from]!, state)), "gelu"))[0]!));
      outputs["end_logits"] = endLogits(likeliestStart(startLogits, segmentIds));
      outputs[START_LOG_PROBS] = logSoftmax(startLogits);
      outputs[END_LOG_PROBS] = hidden.flatMap((_, from) => logSoftmax(endLogits(from)));
    }
    if (answerable !== undefined) outputs["answerable_logit"] = [answerable(hidden, startLogits)];
    return outputs;
  };
}

async function answerability(
  { answerableUsesStartLogits }: Extract<TaskHead, { kind: "span" }>,
  read: (layer: string) => Promise<Dense>,
): Promise<(hidden: readonly Vector[], startLogits: readonly number[]) => number> {
  const inner = await read("dense_2");
  if (!answerableUsesStartLogits) return (hidden) => inner.apply(hidden[0]!)[0]!;
  const outer = await read("dense_3");
  return (hidden, startLogits) => {
    const mean = new Float64Array(hidden[0]!.length);
    for (const [position, logProb] of logSoftmax(startLogits).entries()) {
      for (let i = 0; i < mean.length; i++) mean[i]! += Math.exp(logProb) * hidden[position]![i]!;
    }
    return outer.apply(activate(inner.apply(join(hidden[0]!, mean)), "gelu"))[0]!;
  };
}

/** The best position of the context that is not its `[SEP]`; in a row without a context the first. */
function likeliestStart(startLogits: readonly number[], segmentIds: Uint8Array): number {
  const inside = [...startLogits.keys()].filter((p) => segmentIds[p] === 1 && segmentIds[p + 1] === 1);
  return inside.reduce((a, b) => (startLogits[b]! > startLogits[a]! ? b : a), inside[0] ?? 0);
}

function join(a: Vector, b: Vector): Float64Array {
  return Float64Array.of(...a, ...b);
}
