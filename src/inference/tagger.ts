import { taggingFeatures } from "../finetuning/features/tagging-features.js";
import { WordSplitter } from "../finetuning/features/word-pieces.js";
import type { FinetunedTask } from "../finetuning/finetuned-file.js";
import type { FullHeadOutput } from "../finetuning/heads/head-outputs.js";
import type { TaskFeatures, TaskHead } from "../finetuning/task.js";
import { spansOfTags } from "../metrics/tag-spans.js";
import type { OpenTaskOptions } from "./classifier.js";
import { FinetunedModel, type PredictRowsOptions } from "./finetuned-model.js";
import { mapInBlocks, type Source } from "./map-in-blocks.js";
import { largestAt, softmax } from "./probabilities.js";
import { planTextWindows, type TextWindow } from "./text-windows.js";
import { segmentWords } from "./word-segmenter.js";

/** A text, which is cut into words and punctuation marks, or its words. */
export type TaggerInput = string | readonly string[];

/** A word with its tag. Offsets count UTF-16 units of the text; of given words, of these joined by single spaces. */
export interface TaggedWord {
  readonly word: string;
  /** Null for a word that alone is longer than the model reads, and for one that the training gives no tag, see `tag`. */
  readonly tag: string | null;
  /** Of the tag. */
  readonly probability: number | null;
  readonly start: number;
  readonly end: number;
}

/** Words that tags such as B-PER, I-PER put together. */
export interface TaggedSpan {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface TaggedText {
  readonly words: readonly TaggedWord[];
  /** Empty for tags that mark no spans, such as parts of speech. */
  readonly spans: readonly TaggedSpan[];
  /** Words without a tag; mostly 0. */
  readonly cutWords: number;
}

/** A word and where it stands. */
interface PlacedWord {
  readonly word: string;
  readonly start: number;
  readonly end: number;
}

const BLOCK = 256;

/**
 * Tags the words of texts: names, chunks, parts of speech, as the fine-tuned model's task is. A text that is longer than
 * the model reads is tagged in overlapping windows, each word where it has most words around it.
 *
 * @example
 * await using tagger = await Tagger.open("data/models/electra_small/finetuning_models/ner_model_1");
 * const [{ spans }] = await tagger.tag(["Ada Lovelace lived in London."]);
 * for (const { type, text } of spans) console.log(type, text);
 */
export class Tagger {
  readonly model: FinetunedModel;
  readonly task: FinetunedTask & { readonly head: Extract<TaskHead, { kind: "tagging" }> };
  readonly #splitter: WordSplitter;
  readonly #marksSpans: boolean;

  /** @throws ElectraError `ERR_ELECTRA_TASK` if the model has no such task, or several and none is named */
  constructor(model: FinetunedModel, task?: string) {
    this.model = model;
    this.task = model.task(["tagging"], task);
    this.#splitter = new WordSplitter(model.tokenizer, model.hparams.tagging_follows_case);
    this.#marksSpans = this.task.head.labels.every((tag) => tag === "O" || /^[BIES]-[^-]+$/.test(tag));
  }

  /** @param path folder of a fine-tuned model, see {@link FinetunedModel.open} */
  static async open(path: string, { task, ...options }: OpenTaskOptions = {}): Promise<Tagger> {
    const model = await FinetunedModel.open(path, options);
    try {
      return new Tagger(model, task);
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /**
   * A result for each text, in their order. A text without words has no tags. With `tagging_cuts_by_pieces` off, as in the
   * reference, a given word that is written `[CLS]` or `[SEP]` gets none either.
   */
  async tag(inputs: readonly TaggerInput[], options: PredictRowsOptions = {}): Promise<TaggedText[]> {
    const texts = inputs.map((input) => (typeof input === "string" ? input : input.join(" ")));
    const placed = inputs.map((input) =>
      typeof input === "string" ? this.#wordsOf(input) : placeWords(input),
    );
    const windows = placed.flatMap((words, text) =>
      this.#windows(words.map(({ word }) => word)).map((part) => ({ text, ...part })),
    );
    const outputs = await this.model.predict(
      this.task,
      windows.map(({ row }) => row),
      options,
    );
    const tags = placed.map((words) => new Array<WordTag | undefined>(words.length).fill(undefined));
    for (const [i, { text, window, tagged }] of windows.entries()) {
      for (const [k, tag] of this.#tagsOf(outputs[i]!).entries()) {
        const word = window.start + tagged[k]!;
        if (word >= window.keepStart && word < window.keepEnd) tags[text]![word] = tag;
      }
    }
    return texts.map((text, i) => this.#result(text, placed[i]!, tags[i]!));
  }

  /** The same for texts without end, with bounded memory: tags come while texts are still being read. */
  tagStream(
    inputs: Source<TaggerInput>,
    options: PredictRowsOptions = {},
  ): AsyncGenerator<TaggedText, void, undefined> {
    const { signal } = options;
    return mapInBlocks(inputs, (block) => this.tag(block, options), {
      size: BLOCK,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The row that the model sees of words: the words that fit, and no others. */
  featurize(words: readonly string[]): TaskFeatures {
    const { tokenizer, hparams } = this.model;
    return taggingFeatures(
      { eid: 0, words, labels: new Array<number>(words.length).fill(0) },
      {
        splitter: this.#splitter,
        tokenizer,
        maxSeqLength: hparams.max_seq_length,
        cutByPieces: hparams.tagging_cuts_by_pieces,
      },
    );
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** All words in a row as in the training, or if they do not fit in several. */
  #windows(words: readonly string[]): WordWindow[] {
    if (words.length === 0) return [];
    const { max_seq_length: maxLength, tagging_cuts_by_pieces: byPieces } = this.model.hparams;
    const split = words.map((word) => this.#splitter.split(word));
    const windowOf = (window: TextWindow): WordWindow => ({
      window,
      row: this.featurize(words.slice(window.start, window.end)),
      tagged: split
        .slice(window.start, window.end)
        .flatMap(({ special }, word) => (special && !byPieces ? [] : [word])),
    });
    const whole = windowOf({ start: 0, end: words.length, keepStart: 0, keepEnd: words.length });
    if (positionsOf(whole.row).length === whole.tagged.length) return [whole];
    // Where the training counts words for pieces, a row has room for as many words and pieces together.
    const sizes = split.map(({ ids }) => ids.length + (byPieces ? 0 : 1));
    return planTextWindows(sizes, Math.max(1, maxLength - (byPieces ? 2 : 4))).map(windowOf);
  }

  /** Words as the tokenizer parts them; those that it cannot tell apart are one. */
  #wordsOf(text: string): PlacedWord[] {
    const words: PlacedWord[] = [];
    for (const { text: word, start, end } of segmentWords(text, this.model.tokenizer)) {
      if (words.at(-1)?.start !== start) words.push({ word, start, end });
    }
    return words;
  }

  #tagsOf({ wordLogits = new Float32Array(0) }: FullHeadOutput): WordTag[] {
    const { labels } = this.task.head;
    return Array.from({ length: wordLogits.length / labels.length }, (_, word) => {
      const chances = softmax(wordLogits.subarray(word * labels.length, (word + 1) * labels.length));
      const best = largestAt(chances);
      return { tag: labels[best]!, probability: chances[best]! };
    });
  }

  #result(text: string, placed: readonly PlacedWord[], found: readonly (WordTag | undefined)[]): TaggedText {
    const words = placed.map((word, i): TaggedWord => {
      const { tag = null, probability = null } = found[i] ?? {};
      return { word: word.word, tag, probability, start: word.start, end: word.end };
    });
    const tags = words.map(({ tag }) => tag ?? "O");
    const spans = this.#marksSpans && tags.length > 0 ? spansOfTags(tags) : [];
    return {
      words,
      spans: spans.map(([first, last, type]) => {
        const [start, end] = [words[first]!.start, words[last]!.end];
        return { type, start, end, text: text.slice(start, end) };
      }),
      cutWords: words.filter(({ tag }) => tag === null).length,
    };
  }
}

/** Words that go through the model together. */
interface WordWindow {
  readonly window: TextWindow;
  readonly row: TaskFeatures;
  /** Numbers within the window of the words that have a place in the row, as far as they fit. */
  readonly tagged: readonly number[];
}

interface WordTag {
  readonly tag: string;
  readonly probability: number;
}

function positionsOf({ target }: TaskFeatures): Int32Array {
  return target.kind === "tagging" ? target.positions : new Int32Array(0);
}

function placeWords(words: readonly string[]): PlacedWord[] {
  let start = 0;
  return words.map((word) => {
    const placed = { word, start, end: start + word.length };
    start += word.length + 1;
    return placed;
  });
}
