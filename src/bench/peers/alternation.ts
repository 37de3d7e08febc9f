import { type Spread, spreadOf } from "../spread.js";

/** Named numbers of one run. */
export type Figures = Readonly<Record<string, number>>;

/** A run of one side. */
export type Side = () => Promise<Figures>;

export interface AlternationOptions {
  readonly ours: Side;
  /** Absent where there is nothing to compare with. */
  readonly peer?: Side;
  /** Pairs that count. */
  readonly pairs: number;
  /** Speed of the machine now, by a fixed piece of work: larger is faster. */
  readonly calibrate: () => Promise<number>;
  /** A pair is repeated when the machine was slower than its best by more than this part, before or after it. Default 0.15. */
  readonly tolerance?: number;
  /** Pairs that may be repeated in all; those that are not, count and are reported. Default: as many as there are pairs. */
  readonly repeats?: number;
  /** Told of each pair, also of one that is repeated. */
  readonly onPair?: (pair: Pair) => void;
  readonly signal?: AbortSignal;
}

export interface Pair {
  readonly ours: Figures;
  readonly peer: Figures | undefined;
  /** The lower of the calibrations before and after, as a part of the best so far. */
  readonly speed: number;
  /** Whether the machine was too slow during it. */
  readonly disturbed: boolean;
  /** Whether it was dropped for that. */
  readonly repeated: boolean;
}

export interface Alternation {
  /** Those that count. */
  readonly pairs: readonly Pair[];
  readonly repeated: number;
  /** Best calibration. */
  readonly calibration: number;
}

/**
 * Runs both sides in turn, A B A B …, because a machine's speed drifts: only runs that stand beside each other may be compared.
 * A fixed piece of work before and after each pair tells whether something else took the machine meanwhile.
 */
export async function alternate(options: AlternationOptions): Promise<Alternation> {
  const { ours, peer, calibrate, tolerance = 0.15, repeats = options.pairs, onPair, signal } = options;
  const pairs: Pair[] = [];
  let repeated = 0;
  let before = await calibrate();
  let best = before;
  while (pairs.length < options.pairs) {
    signal?.throwIfAborted();
    const first = await ours();
    signal?.throwIfAborted();
    const second = await peer?.();
    const after = await calibrate();
    best = Math.max(best, before, after);
    const speed = Math.min(before, after) / best;
    const disturbed = speed < 1 - tolerance;
    const again = disturbed && repeated < repeats;
    const pair = { ours: first, peer: second, speed, disturbed, repeated: again };
    if (again) repeated++;
    else pairs.push(pair);
    onPair?.(pair);
    before = after;
  }
  return { pairs, repeated, calibration: best };
}

/** One number of a measurement, and what is asked of it. */
export interface Comparison {
  readonly name: string;
  /** Of the figures of both sides. */
  readonly key: string;
  readonly unit: string;
  readonly better: "higher" | "lower";
  /** How many times better than the peer we have to be; undefined where nothing was promised. */
  readonly bar?: number;
  /** What our own number must reach, whatever the peer's. */
  readonly limit?: number;
}

export interface ComparisonRow {
  readonly name: string;
  readonly unit: string;
  readonly better: "higher" | "lower";
  readonly ours: Spread;
  readonly peer?: Spread;
  /** How many times better ours was, pair by pair. */
  readonly ratio?: Spread;
  readonly bar?: number;
  readonly limit?: number;
  /** Undefined where nothing was asked. */
  readonly pass?: boolean;
}

/** Medians and spreads of one number over the pairs, and whether they reach what is asked. */
export function compare({ key, bar, limit, ...rest }: Comparison, pairs: readonly Pair[]): ComparisonRow {
  const of = (figures: Figures, side: string): number => {
    const value = figures[key];
    if (value === undefined || !Number.isFinite(value)) throw new Error(`${side} gave no ${key}`);
    return value;
  };
  const ours = spreadOf(pairs.map((pair) => of(pair.ours, "ours")));
  // A peer need not have every figure of ours, only those that a bar compares.
  const compared = bar !== undefined || pairs.every(({ peer }) => peer?.[key] !== undefined);
  const peer = compared ? spreadOf(pairs.map((pair) => of(pair.peer ?? {}, "the peer"))) : undefined;
  const ratio = compared
    ? spreadOf(
        pairs.map((pair) => {
          const [a, b] = [of(pair.ours, "ours"), of(pair.peer ?? {}, "the peer")];
          return rest.better === "higher" ? a / b : b / a;
        }),
      )
    : undefined;
  const checks = [
    ...(bar === undefined || ratio === undefined ? [] : [ratio.median >= bar]),
    ...(limit === undefined ? [] : [rest.better === "higher" ? ours.median >= limit : ours.median <= limit]),
  ];
  return {
    ...rest,
    ours,
    ...(peer === undefined ? {} : { peer }),
    ...(ratio === undefined ? {} : { ratio }),
    ...(bar === undefined ? {} : { bar }),
    ...(limit === undefined ? {} : { limit }),
    ...(checks.length === 0 ? {} : { pass: checks.every(Boolean) }),
  };
}
