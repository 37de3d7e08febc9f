import type { RuntimeTensor } from "./onnx-runtime.js";
import type { OnnxGraph } from "./onnx-types.js";
import type { ReferenceOutputs } from "./reference-heads.js";
import { END_LOG_PROBS, START_LOG_PROBS } from "./reference-span.js";

/** How far one output of an exported model is from the reference. */
export interface OutputDifference {
  readonly output: string;
  readonly largestDifference: number;
  /** Largest magnitude of what it should be, −1000 where no answer may be left out. */
  readonly largestValue: number;
}

/** Log probabilities and logits below this are of places where no answer may be; they are alike, so their order is none. */
const MASKED = -500;

/** Compares what a model said about a batch with the reference's outputs of each row; padding is not looked at. */
export function compareOutputs(
  graph: OnnxGraph,
  found: Readonly<Record<string, RuntimeTensor>>,
  expected: readonly ReferenceOutputs[],
  lengths: ArrayLike<number>,
): OutputDifference[] {
  const compared = graph.outputs.filter(({ name }) => !name.endsWith("_top_index"));
  return compared.map(({ name, shape }) => {
    const tensor = found[name]!;
    const pairs = expected.flatMap((row, index) => {
      if (name === "start_top_log_probs") return startPairs(found, index, row);
      if (name === "end_top_log_probs") return endPairs(found, index, row);
      const tokens = shape[1] === "sequence_length" ? lengths[index] : undefined;
      const numbers = rowOf(tensor, index, tokens);
      const wanted = row[name]!;
      if (numbers.length !== wanted.length) {
        throw new RangeError(`${name} of row ${index}: ${numbers.length} numbers, not ${wanted.length}`);
      }
      return numbers.map((value, i) => [value, wanted[i]!] as const);
    });
    const largestDifference = pairs.reduce((most, [a, b]) => {
      // Where no answer may be, a logit has lost three digits to the −1000.
      const difference = Math.abs(a - b) / (b < MASKED ? 1000 : 1);
      return larger(most, difference);
    }, 0);
    const largestValue = pairs.reduce(
      (most, [, value]) => (value < MASKED ? most : larger(most, Math.abs(value))),
      0,
    );
    return { output: name, largestDifference, largestValue };
  });
}

/** The larger one; NaN, once met, stays. */
function larger(a: number, b: number): number {
  return Number.isNaN(a) || a > b ? a : b;
}

/** The numbers of a row, of its first `tokens` along the second axis if that is the sequence. */
function rowOf({ shape, data }: RuntimeTensor, row: number, tokens?: number): number[] {
  const inner = shape.slice(1).reduce((product, size) => product * size, 1);
  const count = tokens === undefined ? inner : (inner / shape[1]!) * tokens;
  return Array.from(data.subarray(row * inner, row * inner + count), Number);
}

type Pair = readonly [found: number, expected: number];

/**
 * The candidates of a beam twice: each against the log probability of the place that it names, and against that of its rank.
 */
function beamPairs(
  values: readonly number[],
  places: readonly number[],
  logProbs: readonly number[],
): Pair[] {
  const ranked = [...logProbs].sort((a, b) => b - a);
  return values.flatMap((value, rank): Pair[] => {
    const expected = ranked[rank];
    if (expected === undefined || expected < MASKED) return [];
    return [
      [value, expected],
      [value, logProbs[places[rank]!] ?? Number.NaN],
    ];
  });
}

function startPairs(
  found: Readonly<Record<string, RuntimeTensor>>,
  row: number,
  expected: ReferenceOutputs,
): Pair[] {
  const values = rowOf(found["start_top_log_probs"]!, row);
  return beamPairs(values, rowOf(found["start_top_index"]!, row), expected[START_LOG_PROBS]!);
}

function endPairs(
  found: Readonly<Record<string, RuntimeTensor>>,
  row: number,
  expected: ReferenceOutputs,
): Pair[] {
  const starts = rowOf(found["start_top_index"]!, row);
  const values = rowOf(found["end_top_log_probs"]!, row);
  const places = rowOf(found["end_top_index"]!, row);
  const length = expected[START_LOG_PROBS]!.length;
  const beam = starts.length;
  return starts.flatMap((start, rank) => {
    // A start in the padding, or where no answer may be.
    if (!(expected[START_LOG_PROBS]![start]! >= MASKED)) return [];
    const of = (list: readonly number[]): number[] => list.slice(rank * beam, (rank + 1) * beam);
    const ends = expected[END_LOG_PROBS]!.slice(start * length, (start + 1) * length);
    return beamPairs(of(values), of(places), ends);
  });
}
