import { SeededRandom } from "../../../src/metrics/seeded-random.js";
import type { SourceDocument } from "../../../src/quickstart/sotu-package.js";

const words =
  "people government nation states congress great year peace public country law war treasury citizens union".split(
    " ",
  );

/** Documents of made-up sentences. */
export function makeDocuments(count: number, sentences = 40): SourceDocument[] {
  const random = new SeededRandom(9);
  const word = (): string => words[random.below(words.length)]!;
  const sentence = (): string =>
    `The ${Array.from({ length: 2 + random.below(9) }, () => `${word()} of the ${word()}`).join(" and ")}.`;
  return Array.from({ length: count }, (_, index) => ({
    name: `${1800 + index}.txt`,
    text: Array.from({ length: sentences }, sentence).join(" "),
  }));
}
