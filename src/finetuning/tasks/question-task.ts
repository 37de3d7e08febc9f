import type { JsonValue } from "../../checkpoint/training-state.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import { type AnswerMetric, QuestionScorer } from "../answers/question-scorer.js";
import { type QuestionExample, questionExample } from "../features/question-example.js";
import { questionFeatures } from "../features/question-features.js";
import { type BadRowSummary, BadRows } from "../reading/bad-rows.js";
import { mrqaQuestions } from "../reading/mrqa-file.js";
import type { QuestionRecord } from "../reading/question-record.js";
import { squadQuestions } from "../reading/squad-file.js";
import { type QuestionColumns, tableQuestions } from "../reading/table-questions.js";
import type { TableFormat } from "../reading/table-rows.js";
import { existingTaskFile, findTaskFile, readTaskText } from "../reading/task-file.js";
import type { ExampleSet, Split, Task, TaskFeatures, TaskHead, TaskOrigin } from "../task.js";
import type { TaskSettings } from "./task-settings.js";

export type QuestionFileFormat =
  | { readonly kind: "squad" }
  | { readonly kind: "mrqa" }
  | { readonly kind: TableFormat; readonly header: boolean; readonly columns: QuestionColumns };

export interface QuestionTaskDescription {
  readonly name: string;
  readonly metric: AnswerMetric;
  readonly format: QuestionFileFormat;
  /** Places of the splits' files relative to the task's folder. */
  readonly files: Readonly<Record<Split, readonly string[]>>;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
  /** Answers that cannot be found are bad rows; else they are dropped and counted, as the reference does. */
  readonly strict: boolean;
}

interface QuestionSplit {
  readonly examples: readonly QuestionExample[];
  readonly records: readonly QuestionRecord[];
  readonly skipped: BadRowSummary;
}

/** Without a file of its own for trying things out, so many paragraphs of the whole are read. */
const DEBUG_PARAGRAPHS = 4;
const DEBUG_ROWS = 100;

/** A task whose answers are parts of a given context. */
export class QuestionTask implements Task<QuestionExample> {
  readonly name: string;
  readonly devSplits: readonly Split[];
  readonly testSplits: readonly Split[];
  readonly #description: QuestionTaskDescription;
  readonly #settings: TaskSettings;
  readonly #splits = new Map<Split, Promise<QuestionSplit>>();

  constructor(description: QuestionTaskDescription, settings: TaskSettings) {
    this.name = description.name;
    this.devSplits = description.devSplits;
    this.testSplits = description.testSplits;
    this.#description = description;
    this.#settings = settings;
  }

  async head(): Promise<TaskHead> {
    const { hparams } = this.#settings;
    return {
      kind: "span",
      jointPrediction: hparams.joint_prediction,
      answerableClassifier: hparams.answerable_classifier,
      answerableUsesStartLogits: hparams.answerable_uses_start_logits,
      answerableWeight: hparams.answerable_weight,
      beamSize: hparams.beam_size,
    };
  }

  /** Only the split `train` has its answers looked for; what cannot be found there is dropped. */
  async examples(split: Split): Promise<ExampleSet<QuestionExample>> {
    const { examples, skipped } = await this.#split(split);
    return { examples, skipped };
  }

  featurize(example: QuestionExample, training: boolean): readonly TaskFeatures[] {
    const { hparams, tokenizer } = this.#settings;
    return questionFeatures(example, training, {
      tokenizer,
      maxSeqLength: hparams.max_seq_length,
      maxQueryLength: hparams.max_query_length,
      docStride: hparams.doc_stride,
    });
  }

  async origin(split: Split): Promise<TaskOrigin> {
    const { file } = await this.#find(split);
    return { files: [file], description: this.#description as unknown as JsonValue };
  }

  async scorer(split: Split): Promise<QuestionScorer> {
    const { hparams, tokenizer } = this.#settings;
    const { examples, records } = await this.#split(split);
    return new QuestionScorer(
      examples,
      records.map(({ id, answers }) => ({ id, answers })),
      {
        tokenizer,
        metric: this.#description.metric,
        nBestSize: hparams.n_best_size,
        maxAnswerLength: hparams.max_answer_length,
        answerableClassifier: hparams.answerable_classifier,
        naThreshold: hparams.qa_na_threshold,
        applyThreshold: hparams.answers_apply_threshold,
      },
    );
  }

  #split(split: Split): Promise<QuestionSplit> {
    const known = this.#splits.get(split) ?? this.#readSplit(split);
    this.#splits.set(split, known);
    return known;
  }

  async #readSplit(split: Split): Promise<QuestionSplit> {
    const training = split === "train";
    const bad = new BadRows({ skip: this.#settings.hparams.skip_bad_rows });
    const { file, records } = await this.#readRecords(split, bad);
    const examples: QuestionExample[] = [];
    for (const record of records) {
      const made = questionExample(record, examples.length, training);
      if ("id" in made) examples.push(made);
      else {
        const remedy = "Correct the answer or its position.";
        const row = { file, place: record.place, reason: made.reason, remedy };
        if (this.#description.strict) bad.report(row);
        else bad.note(row);
      }
    }
    return { examples, records, skipped: bad.summary() };
  }

  async #find(split: Split): Promise<{ readonly file: string; readonly small: boolean }> {
    const { debug, raw_data_dir } = this.#settings.hparams;
    const { format, files } = this.#description;
    const folder = fillPlace(raw_data_dir, { task: this.name });
    const search = { task: this.name, split, candidates: files[split] ?? [`${split}.json`], folder };
    const small =
      debug && format.kind === "squad"
        ? await existingTaskFile({ ...search, candidates: [`${split}-debug.json`] })
        : undefined;
    return { file: small ?? (await findTaskFile(search)), small: small !== undefined };
  }

  async #readRecords(split: Split, bad: BadRows) {
    const { debug } = this.#settings.hparams;
    const { format, metric } = this.#description;
    const unanswerable = metric === "squad_v2";
    const { file, small } = await this.#find(split);
    const text = await readTaskText(file);
    if (format.kind === "squad") {
      const cut = debug && !small ? { paragraphs: DEBUG_PARAGRAPHS } : {};
      return { file, records: squadQuestions(text, file, { unanswerable, ...cut }).questions };
    }
    if (format.kind === "mrqa") return { file, records: mrqaQuestions(text, file, debug, bad) };
    const options = {
      format: format.kind,
      header: format.header,
      unanswerable,
      ...(debug ? { limit: DEBUG_ROWS } : {}),
    };
    return { file, records: tableQuestions(text, file, options, format.columns, bad) };
  }
}
