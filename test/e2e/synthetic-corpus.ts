import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SeededRandom } from "../../src/metrics/seeded-random.js";

/** Made-up text with a little structure: every word prefers certain followers. Needs no data of anybody's. */
export async function writeSyntheticCorpus(
  folder: string,
  options: { documents?: number; sentences?: number } = {},
): Promise<void> {
  const { documents = 12, sentences = 40 } = options;
  const random = new SeededRandom(7);
  const syllables = ["ka", "lo", "mi", "ne", "ru", "sta", "ve", "dor", "pel", "tin", "os", "ar"];
  const words = Array.from({ length: 300 }, () =>
    Array.from({ length: 1 + random.below(3) }, () => syllables[random.below(syllables.length)]).join(""),
  );
  await mkdir(folder, { recursive: true });
  for (let d = 0; d < documents; d++) {
    const lines: string[] = [];
    for (let s = 0; s < sentences; s++) {
      const sentence: string[] = [];
      let word = random.below(words.length);
      for (let n = 5 + random.below(12); n > 0; n--) {
        sentence.push(words[word]!);
        word = random.below(3) > 0 ? (word * 7 + random.below(4)) % words.length : random.below(words.length);
      }
      lines.push(`${sentence.join(" ")}.`);
    }
    await writeFile(join(folder, `document-${d}.txt`), `${lines.join("\n")}\n`);
  }
}
