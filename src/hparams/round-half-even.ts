/**
 * Rounds to the nearest integer, ties to the even neighbour (2.5 → 2, 3.5 → 4): what Python 3's `round` and
 * TensorFlow's `tf.round` do, and `Math.round` does not.
 */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction < 0.5) return floor;
  if (fraction > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
