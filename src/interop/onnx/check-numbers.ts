import { ElectraError } from "../../errors.js";
import type { ExportSource } from "../export-source.js";
import { compareOutputs, type OutputDifference } from "./compare-numbers.js";
import { encoderStates } from "./encoder-states.js";
import type { OnnxRuntime, RuntimeTensor } from "./onnx-runtime.js";
import type { OnnxGraph } from "./onnx-types.js";
import { type RandomRows, randomRows } from "./random-rows.js";
import { referenceHead } from "./reference-heads.js";

/** Differences up to this part of an output's largest magnitude are float32's rounding in another order. */
export const TOLERANCE = 1e-4;

export interface NumbersCheck {
  /** Version of onnxruntime-node. */
  readonly runtime: string;
  readonly outputs: readonly OutputDifference[];
}

/**
 * Runs an exported model in onnxruntime on random rows of several lengths, and compares it with the engine's encoder and the
 * head's formulas in float64.
 *
 * @throws ElectraError `ERR_ELECTRA_EXPORT` when an output is further off than {@link TOLERANCE}
 */
export async function checkNumbers(
  path: string,
  graph: OnnxGraph,
  source: ExportSource,
  runtime: OnnxRuntime,
  signal?: AbortSignal,
): Promise<NumbersCheck> {
  const { config, weights, head, tokenizer } = source;
  const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
  const tagging = head.kind === "task" && head.head.kind === "tagging";
  const rows = randomRows(config, { cls, sep }, tagging);
  const states = await encoderStates(rows, {
    config,
    weights,
    special: { cls, sep },
    ...(signal === undefined ? {} : { signal }),
  });
  const compute = await referenceHead(head, config, weights);
  const expected = states.map((hidden, row) => {
    const first = row * rows.length;
    const inputIds = rows.inputIds.subarray(first, first + hidden.length);
    const segmentIds = Uint8Array.from(rows.segmentIds.subarray(first, first + hidden.length));
    return compute({ inputIds, segmentIds, hidden });
  });
  signal?.throwIfAborted();

  const session = await runtime.openSession(path);
  let found: Record<string, RuntimeTensor>;
  try {
    found = await session.run(feedsOf(rows, session.inputNames));
  } finally {
    await session.release();
  }
  const outputs = compareOutputs(graph, found, expected, rows.lengths);
  const off = outputs.find(
    ({ largestDifference, largestValue }) => !(largestDifference <= TOLERANCE * largestValue),
  );
  if (off !== undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_EXPORT",
      `the exported model gives other numbers: ${off.output} differs by ${off.largestDifference.toExponential(1)}, its largest is ${off.largestValue.toPrecision(3)}`,
      {
        hint: `Nothing was written. Please report this with the model's config.json; onnxruntime-node is ${runtime.version}.`,
      },
    );
  }
  return { runtime: runtime.version, outputs };
}

/** The inputs of a model for a batch, by name. */
export function feedsOf(rows: RandomRows, names: readonly string[]): Record<string, RuntimeTensor> {
  const shape = [rows.rows, rows.length];
  const tensor = (values: ArrayLike<number>): RuntimeTensor => ({
    shape,
    data: BigInt64Array.from(Array.from(values), BigInt),
  });
  const mask = Array.from(rows.inputIds, (_, at) =>
    at % rows.length < rows.lengths[Math.floor(at / rows.length)]! ? 1 : 0,
  );
  const all: Record<string, RuntimeTensor> = {
    input_ids: tensor(rows.inputIds),
    attention_mask: tensor(mask),
    token_type_ids: tensor(rows.segmentIds),
  };
  return Object.fromEntries(names.map((name) => [name, all[name]!]));
}
