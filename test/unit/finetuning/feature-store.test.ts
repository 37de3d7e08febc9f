import { appendFileSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SeededRandomSource } from "../../../src/data/random-source.js";
import { shuffled } from "../../../src/data/seeded-shuffle.js";
import { featureKey } from "../../../src/finetuning/cache/feature-key.js";
import { FeatureStore } from "../../../src/finetuning/cache/feature-store.js";
import { decodeRow, RowEncoder } from "../../../src/finetuning/cache/row-codec.js";
import { mixedExamples, mixedRows } from "../../../src/finetuning/features/mixed-examples.js";
import type { Task, TaskFeatures } from "../../../src/finetuning/task.js";
import { createTasks } from "../../../src/finetuning/tasks/create-task.js";
import type { TaskSettings } from "../../../src/finetuning/tasks/task-settings.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { taskFolder, toyVocabulary } from "./task-folder.js";

const rows: readonly TaskFeatures[] = [
  {
    eid: 7,
    inputIds: Int32Array.of(2, 5, 3),
    segmentIds: Uint8Array.of(0, 0, 0),
    target: { kind: "classification", label: 3 },
  },
  {
    eid: 5_000_000_001,
    inputIds: Int32Array.of(2, 70_000, 3, 8),
    segmentIds: Uint8Array.of(0, 0, 1, 1),
    target: { kind: "multi-label", labels: Uint8Array.of(1, 0, 1, 0, 1) },
  },
  {
    eid: 0,
    inputIds: Int32Array.of(2, 65_535, 3, 8, 9),
    segmentIds: Uint8Array.of(0, 1, 0, 1, 1),
    target: { kind: "regression", value: 0.1 + 0.2 },
  },
  {
    eid: 1,
    inputIds: new Int32Array(0),
    segmentIds: new Uint8Array(0),
    target: { kind: "tagging", labels: new Int32Array(0), positions: new Int32Array(0) },
  },
  {
    eid: 2,
    inputIds: Int32Array.of(2, 4, 4, 3),
    segmentIds: Uint8Array.of(1, 1, 1, 1),
    target: { kind: "tagging", labels: Int32Array.of(9, 1), positions: Int32Array.of(1, 2) },
  },
  {
    eid: 3002,
    inputIds: Int32Array.of(2, 4, 3, 7, 7, 3),
    segmentIds: Uint8Array.of(0, 0, 0, 1, 1, 1),
    target: { kind: "span", start: 3, end: 4, impossible: true },
    window: {
      question: 3,
      index: 2,
      firstPosition: 3,
      wordOfPiece: Int32Array.of(120, 120),
      isMaxContext: Uint8Array.of(1, 0),
    },
  },
];

describe("rows as bytes", () => {
  it("come back as they were, whatever the target, the ids and the segments", () => {
    const encoder = new RowEncoder();
    // Twice: what the first left in the buffer must not show.
    for (const round of [0, 1]) {
      for (const [i, row] of rows.entries()) encoder.add(i + round, row, true);
      const { bytes, rowBytes } = encoder.take();
      expect([...rowBytes].every((size) => size % 4 === 0)).toBe(true);
      let at = 0;
      for (const [i, row] of rows.entries()) {
        expect(decodeRow(bytes.slice(at, at + rowBytes[i]!))).toEqual({ taskId: i + round, features: row });
        at += rowBytes[i]!;
      }
      expect(at).toBe(bytes.length);
    }
  });

  it("leave a window out where nobody needs it", () => {
    const encoder = new RowEncoder();
    encoder.add(0, rows[5]!, false);
    const { window, ...rest } = rows[5]!;
    expect(decodeRow(encoder.take().bytes)).toEqual({ taskId: 0, features: rest });
  });

  it("of any number and length fit", () => {
    const encoder = new RowEncoder();
    const long: TaskFeatures = {
      eid: 1,
      inputIds: Int32Array.from({ length: 40_000 }, (_, i) => i % 30_000),
      segmentIds: new Uint8Array(40_000),
      target: { kind: "classification", label: 1 },
    };
    for (let i = 0; i < 5; i++) encoder.add(i, long, false);
    const { bytes, rowBytes } = encoder.take();
    expect(decodeRow(bytes.slice(4 * rowBytes[0]!)).features).toEqual(long);
  });
});

const lines = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => `gj04\t${i % 2}\t\tthe ${"old ".repeat(i % 5)}bridge is red .\n`,
  ).join("");

const squad = (questions: number) =>
  JSON.stringify({
    version: "v2.0",
    data: [
      {
        paragraphs: Array.from({ length: questions }, (_, i) => ({
          context: `${"the old bridge is red . ".repeat(1 + (i % 4))}zoe 18`,
          qas: [
            {
              id: `q${i}`,
              question: "who is red ?",
              is_impossible: false,
              answers: [{ text: "the old", answer_start: 0 }],
            },
          ],
        })),
      },
    ],
  });

function folder(hparams: Readonly<Record<string, unknown>> = {}) {
  return taskFolder(
    { "cola/train.tsv": lines(50), "cola/dev.tsv": lines(9), "squad/train.json": squad(30) },
    { task_names: ["cola", "squad"], max_seq_length: 24, doc_stride: 5, ...hparams },
  );
}

async function open(
  settings: TaskSettings,
  options: { seed?: number; tasks?: readonly Task[]; notes?: string[] } = {},
) {
  const tasks = options.tasks ?? (await createTasks(settings));
  return await FeatureStore.open({
    tasks,
    allTasks: tasks,
    taskIds: tasks.map((_, i) => i),
    split: "train",
    tokenizer: settings.tokenizer,
    hparams: settings.hparams,
    keepWindows: false,
    ...(options.seed === undefined ? {} : { shuffleSeed: options.seed }),
    onNote: (note) => void options.notes?.push(note),
  });
}

async function allRows(store: FeatureStore) {
  const count = await store.rowCount();
  return await Promise.all(Array.from({ length: count }, (_, row) => store.row(row)));
}

/** Straight from the tasks, without any store. */
async function plainRows(settings: TaskSettings, seed: number) {
  const tasks = await createTasks(settings);
  const { examples } = await mixedExamples(tasks, "train", { shuffleSeed: seed });
  return [...mixedRows(tasks, examples, true)].map(({ taskId, features }) => {
    const { window, ...rest } = features!;
    return { taskId, features: rest };
  });
}

describe("the features of a run", () => {
  it("are the tasks' own rows in the shuffled order, made now or read again, also under another seed", async () => {
    const { settings } = folder();
    const made = await open(settings, { seed: 3 });
    expect(made.cached).toBe(false);
    const rows3 = await plainRows(settings, 3);
    expect(await allRows(made)).toEqual(rows3);
    await made.close();

    const again = await open(settings, { seed: 3 });
    expect(again.cached).toBe(true);
    expect(again.examples).toBe(80);
    expect(await allRows(again)).toEqual(rows3);
    await again.close();

    const other = await open(settings, { seed: 4 });
    expect(other.cached).toBe(true);
    const rows4 = await plainRows(settings, 4);
    expect(rows4).not.toEqual(rows3);
    expect(await allRows(other)).toEqual(rows4);
    await other.close();

    const unshuffled = await open(settings);
    expect((await unshuffled.row(0)).features.eid).toBe(0);
    expect(await allRows(unshuffled)).toHaveLength(rows3.length);
    await unshuffled.close();
  });

  it("can be read before all are made, and their number is known where every example has one row", async () => {
    const { settings } = taskFolder(
      { "cola/train.tsv": lines(4000) },
      { task_names: ["cola"], max_seq_length: 24 },
    );
    const store = await open(settings, { seed: 1 });
    let complete = false;
    void store.complete().then(() => {
      complete = true;
    });
    expect(await store.rowCount()).toBe(4000);
    expect(complete).toBe(false);
    const [first] = await Promise.all([store.row(0), store.row(100)]);
    expect(complete).toBe(false);
    const order = shuffled(
      Array.from({ length: 4000 }, (_, i) => i),
      new SeededRandomSource(1),
    );
    expect(first.features.eid).toBe(order[0]);
    expect((await store.row(3999)).features.eid).toBe(order[3999]);
    await expect(store.row(4000)).rejects.toThrow(RangeError);
    await store.close();
  });

  it("leave nothing behind when they are given up halfway", async () => {
    const { settings } = taskFolder(
      { "cola/train.tsv": lines(4000) },
      { task_names: ["cola"], max_seq_length: 24 },
    );
    const store = await open(settings);
    await store.row(0);
    await store.close();
    expect(readdirSync(settings.hparams.preprocessed_data_dir)).toEqual([]);
  });

  it("tell of a task's failure to whoever waits for a row", async () => {
    const { settings } = folder({ task_names: ["cola"] });
    const [cola] = await createTasks(settings);
    const broken: Task = {
      ...cola!,
      name: "cola",
      devSplits: [],
      testSplits: [],
      oneRow: true,
      head: () => cola!.head(),
      examples: (split) => cola!.examples(split),
      scorer: (split) => cola!.scorer(split),
      featurize: (example) => {
        if (example.eid === 40) throw new Error("no row for 40");
        return cola!.featurize(example, true);
      },
    };
    const store = await open(settings, { tasks: [broken] });
    await expect(store.row(45)).rejects.toThrow("no row for 40");
    await expect(store.complete()).rejects.toThrow("no row for 40");
    await store.close();
  });

  it("of a task that does not say what it is made of are never kept", async () => {
    const { settings } = folder({ task_names: ["cola"] });
    const [cola] = await createTasks(settings);
    const { name, devSplits, testSplits } = cola!;
    const own: Task = {
      name,
      devSplits,
      testSplits,
      head: () => cola!.head(),
      examples: (split) => cola!.examples(split),
      featurize: (example, training) => cola!.featurize(example, training),
      scorer: (split) => cola!.scorer(split),
    };
    const store = await open(settings, { tasks: [own] });
    await store.complete();
    expect(readdirSync(settings.hparams.preprocessed_data_dir)).toEqual([]);
    // The file has no name any more, and is read all the same.
    expect(await allRows(store)).toHaveLength(50);
    await store.close();
  });
});

describe("a cache", () => {
  async function filled() {
    const { settings, dataDir } = folder();
    const store = await open(settings, { seed: 3 });
    await store.complete();
    const rows = await allRows(store);
    await store.close();
    const place = settings.hparams.preprocessed_data_dir;
    const [name] = readdirSync(place);
    return { settings, dataDir, rows, file: join(place, name!) };
  }

  it("is one file with a name of its own for every key", async () => {
    const { file, settings } = await filled();
    expect(file).toMatch(/cola_squad_train-[0-9a-f]{16}\.features$/);
    expect(readdirSync(settings.hparams.preprocessed_data_dir)).toHaveLength(1);
  });

  it.each<[string, (bytes: Buffer<ArrayBuffer>) => Buffer]>([
    ["cut short", (bytes) => bytes.subarray(0, bytes.length - 100)],
    ["empty", (bytes) => bytes.subarray(0, 0)],
    ["changed in a row", (bytes) => flipped(bytes, 1000)],
    ["changed in its last byte", (bytes) => flipped(bytes, bytes.length - 1)],
    ["changed in its trailer", (bytes) => flipped(bytes, bytes.length - 40)],
    ["of a trailer without sense", (bytes) => withTrailer(bytes, "null")],
    [
      "of a trailer with impossible counts",
      (bytes) => withTrailer(bytes, '{"rows":-1,"recordBytes":8,"examples":1}'),
    ],
    ["longer than it was", (bytes) => Buffer.concat([Buffer.alloc(8), bytes])],
  ])("that is %s is made again, with a note", async (_what, damage) => {
    const { settings, file, rows } = await filled();
    writeFileSync(file, damage(readFileSync(file)));
    const notes: string[] = [];
    const store = await open(settings, { seed: 3, notes });
    expect(store.cached).toBe(false);
    expect(notes.join("\n")).toMatch(/is not used and made again: it/);
    expect(await allRows(store)).toEqual(rows);
    await store.close();
    const again = await open(settings, { seed: 3 });
    expect(again.cached).toBe(true);
    await again.close();
  });

  it("is not used with use_tfrecords_if_existing false", async () => {
    const { settings } = await filled();
    const hparams = { ...settings.hparams, use_tfrecords_if_existing: false };
    const store = await open({ ...settings, hparams });
    expect(store.cached).toBe(false);
    await store.close();
  });

  it("knows data by their content, not by their times", async () => {
    const { settings, dataDir } = await filled();
    const data = join(dataDir, "finetuning_data/cola/train.tsv");
    utimesSync(data, 1, 1);
    const same = await open(settings);
    expect(same.cached).toBe(true);
    await same.close();
    const { atime, mtime } = statSync(data);
    appendFileSync(data, "gj04\t1\t\tzoe\n");
    utimesSync(data, atime, mtime);
    const other = await open(settings);
    expect(other.cached).toBe(false);
    expect(other.examples).toBe(81);
    await other.close();
  });
});

describe("the key", () => {
  const key = async (settings: TaskSettings) => {
    const tasks = await createTasks(settings);
    const { hparams, tokenizer } = settings;
    const taskIds = tasks.map((_, i) => i);
    return JSON.stringify(await featureKey({ tasks, taskIds, split: "train", hparams, tokenizer }));
  };

  it.each([
    ["max_seq_length", 23],
    ["double_unordered", false],
    ["max_query_length", 9],
    ["doc_stride", 6],
    ["skip_bad_rows", true],
    ["tagging_follows_case", true],
    ["tagging_cuts_by_pieces", true],
    ["tagging_keeps_last_sentence", true],
    ["debug", true],
  ])("changes with %s", async (name, value) => {
    const { settings } = folder();
    const hparams = { ...settings.hparams, [name]: value };
    expect(await key({ ...settings, hparams })).not.toBe(await key(settings));
  });

  it.each([
    ["learning_rate", 1],
    ["seed", 1],
    ["num_train_epochs", 1],
    ["train_batch_size", 1],
    ["model_dir", "x"],
    ["num_trials", 5],
    ["beam_size", 5],
    ["reshuffle_each_epoch", true],
  ])("does not change with %s", async (name, value) => {
    const { settings } = folder();
    const hparams = { ...settings.hparams, [name]: value };
    expect(await key({ ...settings, hparams })).toBe(await key(settings));
  });

  it("changes with the vocabulary, the casing, the accents and the order of the tasks", async () => {
    const { settings } = folder();
    const before = await key(settings);
    const words = [...toyVocabulary.tokens];
    const swapped = Vocabulary.fromTokens([...words.slice(0, -2), words.at(-1)!, words.at(-2)!]);
    for (const tokenizer of [
      new Tokenizer({ vocabulary: swapped }),
      new Tokenizer({ vocabulary: toyVocabulary, lowerCase: false }),
      new Tokenizer({ vocabulary: toyVocabulary, stripAccents: false }),
    ]) {
      expect(await key({ ...settings, tokenizer })).not.toBe(before);
    }
    const hparams = { ...settings.hparams, task_names: ["squad", "cola"] };
    expect(await key({ ...settings, hparams })).not.toBe(before);
  });

  it("changes with how a described task reads its files, and with its labels", async () => {
    const described = (columns: object, more: object = {}) =>
      taskFolder(
        {
          "mine/task.json": JSON.stringify({
            type: "class",
            format: "tsv",
            files: { train: "a.tsv", dev: "a.tsv" },
            columns,
            ...more,
          }),
          "mine/a.tsv": "x\ty\tz\nthe\tred\tblue\nold\tblue\tred\n",
        },
        { task_names: ["mine"] },
      ).settings;
    const keys = await Promise.all([
      key(described({ text: "x", label: "y" })),
      key(described({ text: "y", label: "z" })),
      key(described({ text: "x", label: "y" }, { labels: ["red", "blue"] })),
    ]);
    const names = keys.map((text) => text.replaceAll(/[^"]*electra-task-[^"]*/g, ""));
    expect(new Set(names).size).toBe(3);
  });
});

function flipped(bytes: Buffer<ArrayBuffer>, place: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[place]! ^= 1;
  return copy;
}

/** The last eight bytes are a name, the four before them the trailer's length. */
function withTrailer(bytes: Buffer, json: string): Buffer {
  const length = bytes.readUInt32LE(bytes.length - 12);
  const tail = Buffer.from(bytes.subarray(bytes.length - 12));
  tail.writeUInt32LE(json.length);
  return Buffer.concat([bytes.subarray(0, bytes.length - 12 - length), Buffer.from(json), tail]);
}
