import { EpochPermutation } from "../../data/epoch-permutation.js";
import { type RandomSource, SeededRandomSource } from "../../data/random-source.js";

/** The reference stirs rows with a buffer of so many. */
const BUFFER = 100;

export interface RowOrderOptions {
  /** Rows with padding rows. */
  readonly rows: number;
  readonly seed: number;
  /** Another order in every trial. */
  readonly trial: number;
  /** A new order of all rows in every epoch; else the order of the file, epoch after epoch, through a buffer of 100. */
  readonly reshuffle: boolean;
}

/** Numbers of rows in the order of training, without end. */
export function* rowOrder({
  rows,
  seed,
  trial,
  reshuffle,
}: RowOrderOptions): Generator<number, never, undefined> {
  if (!(rows > 0)) throw new RangeError(`there is no order of ${rows} rows`);
  if (!reshuffle) return yield* stirred(rows, new SeededRandomSource(seed, trial));
  for (let epoch = 0; ; epoch++) {
    // Epochs of different trials must not repeat each other.
    const order = new EpochPermutation(rows, seed, epoch * 2 ** 20 + trial);
    for (let i = 0; i < rows; i++) yield order.at(i);
  }
}

/** The buffer reaches across the end of an epoch. */
function* stirred(rows: number, random: RandomSource): Generator<number, never, undefined> {
  const buffer: number[] = [];
  for (let next = 0; ; next = (next + 1) % rows) {
    if (buffer.length < BUFFER) {
      buffer.push(next);
      continue;
    }
    const place = random.randint(0, BUFFER - 1);
    yield buffer[place]!;
    buffer[place] = next;
  }
}
