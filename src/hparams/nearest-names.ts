import { distance } from "fastest-levenshtein";

/** `learningRate`, `learning-rate` and `Learning_Rate` are all meant as `learning_rate`. */
function toSnakeCase(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/[-\s]/g, "_")
    .toLowerCase();
}

/**
 * The known names that a misspelt one was probably meant to be: the nearest by edit distance if it is near enough,
 * else those that contain it (`batch_size` → `train_batch_size`, `eval_batch_size`). Empty when nothing is close.
 */
export function nearestNames(unknown: string, known: readonly string[]): readonly string[] {
  const name = toSnakeCase(unknown);
  const ranked = known.map((candidate) => ({ candidate, edits: distance(name, candidate) }));
  const fewest = Math.min(...ranked.map(({ edits }) => edits));
  if (fewest <= Math.max(1, Math.floor(name.length / 4))) {
    return ranked.filter(({ edits }) => edits === fewest).map(({ candidate }) => candidate);
  }
  return name.length < 3 ? [] : known.filter((candidate) => candidate.includes(name)).slice(0, 3);
}
