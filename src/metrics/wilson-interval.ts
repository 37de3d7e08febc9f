/** A share and the interval that it lies in. */
export interface ShareInterval {
  readonly share: number;
  readonly lower: number;
  readonly upper: number;
}

/**
 * Wilson's score interval of a share (Wilson 1927, *Probable Inference*): unlike the share ± its standard error it stays
 * within 0 and 1 and holds for few trials too.
 *
 * @param successes need not be whole: ties of comparisons count half, which makes the interval too wide rather than too
 *   narrow
 * @param z of the normal distribution; 1.96 is 95 %
 * @returns 0 to 1 for no trials
 */
export function wilsonInterval(successes: number, trials: number, z = 1.959964): ShareInterval {
  if (trials === 0) return { share: Number.NaN, lower: 0, upper: 1 };
  const share = successes / trials;
  const spread = z * z;
  const centre = (successes + spread / 2) / (trials + spread);
  const half = (z / (trials + spread)) * Math.sqrt((successes * (trials - successes)) / trials + spread / 4);
  return { share, lower: Math.max(0, centre - half), upper: Math.min(1, centre + half) };
}
