import type { TaskHead } from "../../finetuning/task.js";
import type { EncoderValues } from "./encoder-graph.js";
import { attribute, type GraphBuilder, type ValueName } from "./graph-builder.js";
import { activation, END, firstToken, linear, slice } from "./network-parts.js";

type SpanHead = Extract<TaskHead, { kind: "span" }>;

/** Width of the layers between the states and an end or the answerability; the reference's. */
export const SPAN_INNER_SIZE = 512;

const BATCH = "batch_size";
const SEQUENCE = "sequence_length";
const BEAM = "beam_size";

/** What the parts of a span head share. */
interface SpanParts {
  readonly graph: GraphBuilder;
  readonly size: number;
  readonly prefix: string;
  readonly encoder: EncoderValues;
  /** What is added to logits: 0 where an answer may be, −1000 elsewhere; [batch, sequence]. */
  readonly bias: ValueName;
}

/**
 * The head of question answering, with the reference's names:
 *
 * - `start_logits`, `end_logits` [batch, sequence], 1000 lower where no answer may be (anything but `[CLS]`, the context and
 *   its `[SEP]`)
 * - `answerable_logit` [batch], with an answerable classifier; positive: the context does not answer the question
 *
 * With joint prediction an end depends on the start, so there is no one row of end logits. `end_logits` then are those for
 * the likeliest start inside the context, which makes the best pair of a program that looks at starts and ends apart (as
 * transformers.js does) the best end for the best start. The reference's beam is there too, K being the smaller of
 * `beamSize` and the length: `start_top_log_probs`, `start_top_index` [batch, K], and for each of these starts
 * `end_top_log_probs`, `end_top_index` [batch, K, K]. Candidates of short rows in a longer batch may be padding; their log
 * probabilities are near −1000.
 */
export function addSpanHead(
  graph: GraphBuilder,
  size: number,
  prefix: string,
  head: SpanHead,
  encoder: EncoderValues,
): void {
  const { hidden } = encoder;
  // [batch, sequence], 1 in the context and its [SEP].
  const context = graph.node("Cast", [graph.node("Mul", [encoder.attentionMask, encoder.tokenTypeIds!])], {
    to: attribute.int(1),
  });
  const parts: SpanParts = { graph, size, prefix, encoder, bias: answerBias(graph, context, encoder) };
  const startLogits = graph.within("start", () => masked(parts, logitOf(parts, hidden, "dense", size)));
  graph.output("start_logits", startLogits, "float", [BATCH, SEQUENCE]);
  if (head.jointPrediction) {
    graph.within("end", () => addJointEnds(parts, context, startLogits, head.beamSize));
  } else {
    const end = graph.within("end", () => masked(parts, logitOf(parts, hidden, "dense_1", size)));
    graph.output("end_logits", end, "float", [BATCH, SEQUENCE]);
  }
  if (head.answerableClassifier) {
    const logit = graph.within("answerable", () =>
      answerable(parts, startLogits, head.answerableUsesStartLogits),
    );
    graph.output("answerable_logit", logit, "float", [BATCH]);
  }
}

/** 1000 · (allowed − 1); allowed are the context with its [SEP], and position 0. */
function answerBias(graph: GraphBuilder, context: ValueName, { length }: EncoderValues): ValueName {
  const end = graph.node("Squeeze", [length, graph.integers([0])]);
  const positions = graph.node("Range", [graph.integers(0), end, graph.integers(1)]);
  const first = graph.node("Cast", [graph.node("Equal", [positions, graph.integers(0)])], {
    to: attribute.int(1),
  });
  const allowed = graph.node("Max", [context, first]);
  return graph.node("Mul", [graph.node("Sub", [allowed, graph.floats(1)]), graph.floats(1000)]);
}

function addJointEnds(parts: SpanParts, context: ValueName, startLogits: ValueName, beamSize: number): void {
  const { graph, size, prefix, encoder } = parts;
  // qa_hidden reads [state of the start ; state of the end]: the two halves of its product are made apart, so that the
  // larger one, over all ends, is made once for all starts.
  const kernel = graph.kernel(`${prefix}.qa_hidden.weight`, 2 * size, SPAN_INNER_SIZE);
  const ofStart = slice(graph, kernel, 0, 0, size);
  const ofEnd = slice(graph, kernel, 0, size, END);
  const ends = graph.node("Add", [
    graph.node("MatMul", [encoder.hidden, ofEnd]),
    graph.weight(`${prefix}.qa_hidden.bias`, [SPAN_INNER_SIZE]),
  ]);
  /** starts [batch, n] int64 → end logits [batch, n, sequence] */
  const endLogits = (starts: ValueName): ValueName => {
    const index = graph.node("Unsqueeze", [starts, graph.integers([2])]);
    const states = graph.node("GatherND", [encoder.hidden, index], { batch_dims: attribute.int(1) });
    const first = graph.node("Unsqueeze", [graph.node("MatMul", [states, ofStart]), graph.integers([2])]);
    const sum = graph.node("Add", [graph.node("Unsqueeze", [ends, graph.integers([1])]), first]);
    const column = linear(graph, activation(graph, sum, "gelu"), `${prefix}.dense_1`, SPAN_INNER_SIZE, 1);
    const logits = graph.node("Squeeze", [column, graph.integers([3])]);
    return graph.node("Add", [logits, graph.node("Unsqueeze", [parts.bias, graph.integers([1])])]);
  };

  const best = graph.within("likeliest", () => {
    const start = likeliestStart(graph, context, startLogits);
    return graph.node("Squeeze", [endLogits(start), graph.integers([1])]);
  });
  graph.output("end_logits", best, "float", [BATCH, SEQUENCE]);

  graph.within("beam", () => {
    const k = graph.node("Min", [graph.integers([beamSize]), encoder.length]);
    const top = (logits: ValueName): readonly ValueName[] =>
      graph.nodeWithOutputs("TopK", [graph.node("LogSoftmax", [logits], { axis: attribute.int(-1) }), k], 2, {
        axis: attribute.int(-1),
      });
    const [startLogProbs, startIndex] = top(startLogits);
    const [endLogProbs, endIndex] = top(endLogits(startIndex!));
    graph.output("start_top_log_probs", startLogProbs!, "float", [BATCH, BEAM]);
    graph.output("start_top_index", startIndex!, "int64", [BATCH, BEAM]);
    graph.output("end_top_log_probs", endLogProbs!, "float", [BATCH, BEAM, BEAM]);
    graph.output("end_top_index", endIndex!, "int64", [BATCH, BEAM, BEAM]);
  });
}

/** The best start that lies in the context and is not its [SEP], the last token there; [batch, 1] */
function likeliestStart(graph: GraphBuilder, context: ValueName, startLogits: ValueName): ValueName {
  const nothing = graph.node("Mul", [slice(graph, context, 1, 0, 1), graph.floats(0)]);
  const next = graph.node("Concat", [slice(graph, context, 1, 1, END), nothing], { axis: attribute.int(1) });
  const inside = graph.node("Mul", [context, next]);
  // Far below the −1000 of other places.
  const outside = graph.node("Mul", [graph.node("Sub", [inside, graph.floats(1)]), graph.floats(1e6)]);
  return graph.node("ArgMax", [graph.node("Add", [startLogits, outside])], {
    axis: attribute.int(1),
    keepdims: attribute.int(1),
  });
}

/** [batch] */
function answerable(parts: SpanParts, startLogits: ValueName, usesStartLogits: boolean): ValueName {
  const { graph, size, prefix, encoder } = parts;
  const cls = firstToken(graph, encoder.hidden);
  if (!usesStartLogits) return logitOf(parts, cls, "dense_2", size, 1);
  const weights = graph.node("Unsqueeze", [
    graph.node("Softmax", [startLogits], { axis: attribute.int(-1) }),
    graph.integers([1]),
  ]);
  const mean = graph.node("Squeeze", [graph.node("MatMul", [weights, encoder.hidden]), graph.integers([1])]);
  const both = graph.node("Concat", [cls, mean], { axis: attribute.int(1) });
  const inner = linear(graph, both, `${prefix}.dense_2`, 2 * size, SPAN_INNER_SIZE);
  return logitOf(parts, activation(graph, inner, "gelu"), "dense_3", SPAN_INNER_SIZE, 1);
}

/** A dense layer to one number, whose axis (2 in a sequence) goes. */
function logitOf(parts: SpanParts, x: ValueName, layer: string, inSize: number, axis = 2): ValueName {
  const { graph, prefix } = parts;
  return graph.node("Squeeze", [linear(graph, x, `${prefix}.${layer}`, inSize, 1), graph.integers([axis])]);
}

function masked({ graph, bias }: SpanParts, logits: ValueName): ValueName {
  return graph.node("Add", [logits, bias]);
}
