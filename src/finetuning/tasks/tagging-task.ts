import type { JsonValue } from "../../checkpoint/training-state.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import { spansOfTags, tagsOfSpans } from "../../metrics/tag-spans.js";
import { spanScores, type TaggedSentence, wordScores } from "../../metrics/tagging-scores.js";
import { taggingFeatures } from "../features/tagging-features.js";
import { WordSplitter } from "../features/word-pieces.js";
import { type BadRowSummary, BadRows } from "../reading/bad-rows.js";
import { existingTaskFile, findTaskFile, readTaskText } from "../reading/task-file.js";
import type {
  ExampleSet,
  HeadOutput,
  Split,
  Task,
  TaskExample,
  TaskFeatures,
  TaskHead,
  TaskOrigin,
  TaskScorer,
} from "../task.js";
import { type TaggedFileFormat, taggedWordsOfFile } from "./tagged-file.js";
import type { TaskSettings } from "./task-settings.js";

/** A sentence of given words. */
export interface TaggingExample extends TaskExample {
  readonly words: readonly string[];
  /** One a word. */
  readonly labels: readonly number[];
}

export interface TaggingTaskDescription {
  readonly name: string;
  /** `span`: tags mark the beginnings and insides of spans, which are scored; `word`: every tag is scored by itself. */
  readonly level: "span" | "word";
  readonly format: TaggedFileFormat;
  /** Places of the splits' files relative to the task's folder. */
  readonly files: Readonly<Record<Split, readonly string[]>>;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
}

/** While trying things out the reference stops after so many sentences. */
const DEBUG_SENTENCES = 101;

/** A task on the words of a sentence: chunks, named entities, parts of speech, … */
export class TaggingTask implements Task<TaggingExample> {
  readonly name: string;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
  readonly oneRow = true;
  readonly #description: TaggingTaskDescription;
  readonly #settings: TaskSettings;
  readonly #splitter: WordSplitter;
  readonly #sentences = new Map<Split, Promise<TaggedSplit>>();
  #labels: Promise<readonly string[]> | undefined;

  constructor(description: TaggingTaskDescription, settings: TaskSettings) {
    this.name = description.name;
    this.devSplits = description.devSplits;
    this.testSplits = description.testSplits;
    this.#description = description;
    this.#settings = settings;
    this.#splitter = new WordSplitter(settings.tokenizer, settings.hparams.tagging_follows_case);
  }

  /** The tags of all splits that have a file, sorted. */
  async head(): Promise<TaskHead> {
    return { kind: "tagging", labels: await this.#labelNames() };
  }

  async examples(split: Split): Promise<ExampleSet<TaggingExample>> {
    const ids = new Map((await this.#labelNames()).map((label, id) => [label, id]));
    const { sentences, skipped } = await this.#read(split);
    return {
      examples: sentences.map(({ words, tags }, eid) => ({
        eid,
        words,
        labels: tags.map((tag) => ids.get(tag)!),
      })),
      skipped,
    };
  }

  featurize(example: TaggingExample): readonly TaskFeatures[] {
    const { hparams, tokenizer } = this.#settings;
    return [
      taggingFeatures(example, {
        splitter: this.#splitter,
        tokenizer,
        maxSeqLength: hparams.max_seq_length,
        cutByPieces: hparams.tagging_cuts_by_pieces,
      }),
    ];
  }

  async origin(split: Split): Promise<TaskOrigin> {
    return { files: [await this.#file(split)], description: this.#description as unknown as JsonValue };
  }

  async scorer(): Promise<TaskScorer> {
    const tags = await this.#labelNames();
    const options = { doubledLoss: !this.#settings.hparams.tagging_loss_once };
    const sentences: TaggedSentence[] = [];
    const { level } = this.#description;
    return {
      add({ target }: TaskFeatures, { wordLabels = [], loss = 0 }: HeadOutput) {
        if (target.kind !== "tagging") return;
        // A sentence of which nothing fits has nothing to score; the reference dies of it.
        if (target.labels.length === 0) return;
        sentences.push({ labels: target.labels, predictions: wordLabels, loss });
      },
      degenerate() {
        const predicted = sentences.flatMap(({ predictions }) => Array.from(predictions, (id) => tags[id]));
        const only = new Set(predicted).size === 1 ? predicted[0] : undefined;
        const gold = new Set(sentences.flatMap(({ labels }) => Array.from(labels))).size;
        return only !== undefined && gold > 1 ? `${only} is predicted for every word` : undefined;
      },
      results: () =>
        level === "span" ? spanScores(sentences, tags, options) : wordScores(sentences, options),
    };
  }

  #labelNames(): Promise<readonly string[]> {
    this.#labels ??= this.#findLabels();
    return this.#labels;
  }

  async #findLabels(): Promise<readonly string[]> {
    const labels = new Set<string>();
    for (const [split, candidates] of Object.entries(this.#description.files)) {
      const search = { task: this.name, split, candidates, folder: this.#folder() };
      if (split !== "train" && (await existingTaskFile(search)) === undefined) continue;
      const { sentences } = await this.#read(split);
      for (const { tags } of sentences) for (const tag of tags) labels.add(tag);
    }
    return [...labels].sort();
  }

  #folder(): string {
    return fillPlace(this.#settings.hparams.raw_data_dir, { task: this.name });
  }

  #file(split: Split): Promise<string> {
    const candidates = this.#description.files[split] ?? [];
    return findTaskFile({ task: this.name, split, candidates, folder: this.#folder() });
  }

  #read(split: Split): Promise<TaggedSplit> {
    const known = this.#sentences.get(split) ?? this.#readFile(split);
    this.#sentences.set(split, known);
    return known;
  }

  async #readFile(split: Split): Promise<TaggedSplit> {
    const { hparams } = this.#settings;
    const file = await this.#file(split);
    const bad = new BadRows({ skip: hparams.skip_bad_rows });
    const options = {
      format: this.#description.format,
      keepLast: hparams.tagging_keeps_last_sentence,
      ...(hparams.debug ? { limit: DEBUG_SENTENCES } : {}),
    };
    const read = taggedWordsOfFile(await readTaskText(file), file, options, bad);
    const sentences = read.flatMap(({ words, tags, line }) => {
      if (this.#description.level === "word") return [{ words, tags }];
      try {
        return [{ words, tags: tagsOfSpans(tags.length, spansOfTags(tags), "bioes") }];
      } catch (error) {
        const reason = error instanceof Error ? error.message.replace(/\.$/, "") : String(error);
        bad.report({ file, place: `line ${line}`, reason, remedy: "Correct the tag." });
        return [];
      }
    });
    return { sentences, skipped: bad.summary() };
  }
}

interface TaggedSplit {
  readonly sentences: readonly { readonly words: readonly string[]; readonly tags: readonly string[] }[];
  readonly skipped: BadRowSummary;
}
