import type { HeadOutput, TaskFeatures } from "../task.js";

/** A possible answer: positions in the row of a window, both included, with their scores. */
export interface AnswerCandidate {
  readonly row: TaskFeatures;
  readonly start: number;
  readonly end: number;
  readonly startScore: number;
  readonly endScore: number;
}

export interface CandidateLimits {
  readonly nBestSize: number;
  /** In tokens. */
  readonly maxAnswerLength: number;
}

/**
 * The answers that a window offers: the beams of joint prediction, or the best starts with the best ends. Left out are
 * those that begin or end outside the context, begin where another window sees more, end before they begin, or are too
 * long.
 */
export function answerCandidates(
  row: TaskFeatures,
  output: HeadOutput,
  { nBestSize, maxAnswerLength }: CandidateLimits,
): AnswerCandidate[] {
  const { window } = row;
  if (window === undefined) return [];
  const { firstPosition, wordOfPiece, isMaxContext } = window;
  const inContext = (position: number) =>
    position >= firstPosition && position < firstPosition + wordOfPiece.length;
  return [...pairsOf(output, nBestSize)]
    .filter(
      ({ start, end }) =>
        inContext(start) &&
        inContext(end) &&
        isMaxContext[start - firstPosition] === 1 &&
        end >= start &&
        end - start + 1 <= maxAnswerLength,
    )
    .map((pair) => ({ row, ...pair }));
}

type Pair = Omit<AnswerCandidate, "row">;

function* pairsOf({ beams, startLogits = [], endLogits = [] }: HeadOutput, nBest: number): Generator<Pair> {
  if (beams !== undefined) {
    const size = beams.startIndex.length;
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        yield {
          start: beams.startIndex[i]!,
          end: beams.endIndex[i * size + j]!,
          startScore: beams.startLogProbs[i]!,
          endScore: beams.endLogProbs[i * size + j]!,
        };
      }
    }
    return;
  }
  const ends = best(endLogits, nBest);
  for (const start of best(startLogits, nBest)) {
    for (const end of ends) {
      yield { start, end, startScore: startLogits[start]!, endScore: endLogits[end]! };
    }
  }
}

/** Places of the largest values, falling; of equal ones the first comes first. */
function best(values: ArrayLike<number>, count: number): number[] {
  const places = Array.from({ length: values.length }, (_, i) => i);
  return places.sort((a, b) => values[b]! - values[a]!).slice(0, count);
}
