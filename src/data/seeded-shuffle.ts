import type { RandomSource } from "./random-source.js";

/** A shuffled copy (Fisher and Yates' method, from the end): one `randint` per element but the first. */
export function shuffled<Element>(elements: readonly Element[], random: RandomSource): Element[] {
  const result = [...elements];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.randint(0, last);
    const kept = result[last]!;
    result[last] = result[other]!;
    result[other] = kept;
  }
  return result;
}
