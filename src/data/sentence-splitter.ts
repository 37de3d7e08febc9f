import { stripWhiteSpace } from "../tokenization/white-space.js";

/**
 * Cuts a line of running text into sentences by the Unicode rules (`Intl.Segmenter`), each stripped of white space. The
 * locale is fixed, so that the machine's settings do not matter; only another version of ICU (in Node) may cut differently.
 */
export class SentenceSplitter {
  readonly #segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

  *split(line: string): Generator<string, void, undefined> {
    for (const { segment } of this.#segmenter.segment(line)) {
      const sentence = stripWhiteSpace(segment);
      if (sentence !== "") {
        yield sentence;
      }
    }
  }
}
