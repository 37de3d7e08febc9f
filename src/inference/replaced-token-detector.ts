import type { OutputArray } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { type OpenModelOptions, PretrainedModel } from "./pretrained-model.js";
import { packSequences } from "./sequence-batches.js";
import { planTextWindows, type TextWindow } from "./text-windows.js";
import { segmentWords, type Word } from "./word-segmenter.js";

/** A word of a text and how likely it is that somebody put it there in the place of another. */
export interface DetectedWord {
  /** As it stands in the text; punctuation marks are words too. */
  readonly word: string;
  /** UTF-16 offsets in the text. */
  readonly start: number;
  readonly end: number;
  /** Of having been replaced, 0 to 1: the highest of the word's pieces. */
  readonly probability: number;
}

export interface DetectOptions {
  readonly signal?: AbortSignal;
}

/**
 * Tells which words of a text were replaced, with the discriminator of a pre-trained ELECTRA.
 *
 * The discriminator judges word pieces; a word counts as suspicious as its most suspicious piece, for one odd piece makes
 * the word odd, however ordinary the others are. Texts longer than the model reads are judged in overlapping windows.
 *
 * @example
 * await using detector = await ReplacedTokenDetector.open("data/models/my-model");
 * const [words] = await detector.detect(["The chef ate the meal that she had cooked."]);
 * const suspect = words.reduce((a, b) => (b.probability > a.probability ? b : a));
 */
export class ReplacedTokenDetector {
  readonly model: PretrainedModel;

  private constructor(model: PretrainedModel) {
    this.model = model;
  }

  /** @param path run, checkpoint or Hugging Face folder, see {@link PretrainedModel.open} */
  static async open(path: string, options: OpenModelOptions = {}): Promise<ReplacedTokenDetector> {
    return new ReplacedTokenDetector(await PretrainedModel.open(path, "discriminator", options));
  }

  /** For every text its words in order. A text without words gives an empty list. */
  async detect(texts: readonly string[], options: DetectOptions = {}): Promise<DetectedWord[][]> {
    const { engine, tokenizer, special, maxLength } = this.model;
    const capacity = maxLength - 2;
    const texted = texts.map((text) => segmentWords(text, tokenizer));
    const results = texted.map((words) => new Float64Array(words.length));
    const jobs = texted.flatMap((words, text) =>
      planTextWindows(
        words.map((word) => word.ids.length),
        capacity,
      ).map((window) => ({ text, window, ids: windowIds(words, window, capacity, special) })),
    );
    for (const { batch, sequences } of packSequences(jobs.map((job) => job.ids))) {
      const outputs = await engine.forward(batch, {
        network: "discriminator",
        outputs: ["disc/probabilities"],
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const probabilities = outputs["disc/probabilities"];
      if (probabilities === undefined) {
        throw new ElectraError("ERR_ELECTRA_OUTPUT", 'the engine returned no "disc/probabilities"');
      }
      for (const [row, number] of sequences.entries()) {
        const { text, window } = jobs[number]!;
        readWindow(probabilities, batch.rows, row, texted[text]!, window, capacity, results[text]!);
      }
    }
    return texted.map((words, text) =>
      words.map(({ text: word, start, end }, index) => ({
        word,
        start,
        end,
        probability: results[text]![index]!,
      })),
    );
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** `[CLS] pieces [SEP]`; a word longer than the model reads is cut off. */
function windowIds(
  words: readonly Word[],
  window: TextWindow,
  capacity: number,
  special: { readonly cls: number; readonly sep: number },
): Int32Array {
  const ids: number[] = [special.cls];
  for (const word of words.slice(window.start, window.end)) ids.push(...word.ids);
  return Int32Array.from([...ids.slice(0, capacity + 1), special.sep]);
}

function readWindow(
  probabilities: OutputArray,
  rows: number,
  row: number,
  words: readonly Word[],
  window: TextWindow,
  capacity: number,
  out: Float64Array,
): void {
  const { data } = probabilities;
  const begin = row * (data.length / rows) + 1;
  let piece = 0;
  for (let index = window.start; index < window.end; index++) {
    let highest = 0;
    for (const _ of words[index]!.ids) {
      if (piece < capacity) highest = Math.max(highest, data[begin + piece]!);
      piece++;
    }
    if (index >= window.keepStart && index < window.keepEnd) out[index] = highest;
  }
}
