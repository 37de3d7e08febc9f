// The generator's sampling, redone for single entries: how far apart were the two ids that two devices sampled?
import { load } from "./models.mjs";

/** Purpose of the draws of Gumbel noise, as in native/philox.h. */
const gumbelPurpose = 0x67756d62;

/** Gumbel noise as the model adds it to the logits: -log(-log(u + 1e-9) + 1e-9), u uniform. */
function gumbel(word) {
  const uniform = ((word >>> 9) + 0.5) / 2 ** 23;
  return -Math.log(-Math.log(uniform + 1e-9) + 1e-9);
}

/**
 * Scores of a step's slots: logit over temperature, plus noise; the largest one is what is sampled.
 *
 * @param {{ seed: number, step: number, vocabulary: number, slotsPerRow: number, temperature?: number }} options
 */
export async function gumbelScores({ seed, step, vocabulary, slotsPerRow, temperature = 1 }) {
  const { philox4x32 } = await load("data/philox.js");
  const key = Uint32Array.of((seed ^ gumbelPurpose) >>> 0, Math.floor(seed / 2 ** 32));
  const words = new Uint32Array(4);
  const blocksPerSlot = Math.ceil(vocabulary / 4);
  /** Score of vocabulary entry `id` at a slot of a row, given the slot's logits. */
  const score = (logits, row, slot, id) => {
    const block = (row * slotsPerRow + slot) * blocksPerSlot + Math.floor(id / 4);
    philox4x32(key, Uint32Array.of(block % 2 ** 32, Math.floor(block / 2 ** 32), step, 0), words);
    return logits[id] / temperature + gumbel(words[id % 4]);
  };
  /** The entry with the highest score. */
  const best = (logits, row, slot) => {
    let [chosen, highest] = [0, Number.NEGATIVE_INFINITY];
    for (let id = 0; id < vocabulary; id++) {
      const value = score(logits, row, slot, id);
      if (value > highest) [chosen, highest] = [id, value];
    }
    return chosen;
  };
  return { score, best };
}
