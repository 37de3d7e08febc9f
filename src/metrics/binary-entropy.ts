/**
 * Entropy in nats of a coin with this chance: the loss of a discriminator that answers every token with the share of
 * replaced ones, which is the best that looking at no token can do.
 */
export function binaryEntropy(chance: number): number {
  if (chance <= 0 || chance >= 1) return 0;
  return -(chance * Math.log(chance) + (1 - chance) * Math.log(1 - chance));
}
