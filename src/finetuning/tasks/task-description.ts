import type { z } from "zod";
import { once, zod } from "../../hparams/lazy-zod.js";

/** A task of one's own, described in JSON. */
export const taskDescriptionSchema = once(() => {
  const z = zod();
  const column = z
    .union([z.int(), z.string().min(1)])
    .describe(
      "A column by its name in the header or object, or by its number: from 0, negative from the end.",
    );
  const file = z.string().min(1).describe("Path, from the folder of the description on.");

  const common = {
    $schema: z.string().optional(),
    name: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/)
      .optional()
      .describe("Name of the task. Default: that of the folder."),
    files: z
      .object({ train: file, dev: file })
      .catchall(file)
      .describe('Files by split: train, dev, and others; those with "test" in their name have no labels.'),
  };
  const tableFormat = z.enum(["tsv", "csv", "jsonl"]).describe("tsv knows no quotes, csv does.");
  const header = z.boolean().default(true).describe("The first row of tsv and csv names the columns.");
  const labels = z
    .array(z.string())
    .min(2)
    .optional()
    .describe("All labels in the order of their numbers. Default: those of the training data, sorted.");
  const classMetric = z.enum(["accuracy", "mcc", "f1", "macro_f1"]);
  const classMetrics = z
    .union([classMetric, z.array(classMetric).min(1)])
    .default("accuracy")
    .describe("What is reported; the first one counts.");
  const textColumns = { text: column, text_b: column.optional(), label: column };
  const unordered = z
    .boolean()
    .default(false)
    .describe("The order of the two texts means nothing: train on both.");
  const table = { ...common, format: tableFormat, header };

  const classTask = z.strictObject({
    ...table,
    type: z.literal("class").describe("One class for a text."),
    columns: z.strictObject({ text: column, label: column }),
    labels,
    metric: classMetrics,
  });
  const pairTask = z.strictObject({
    ...table,
    type: z.literal("pair").describe("One class for two texts."),
    columns: z.strictObject({ text: column, text_b: column, label: column }),
    labels,
    metric: classMetrics,
    unordered,
  });
  const multiLabelTask = z.strictObject({
    ...table,
    type: z.literal("multi-label").describe("Any number of labels for a text or two."),
    columns: z.strictObject(textColumns),
    labels,
    separator: z.string().min(1).default(",").describe("Between the labels of a cell."),
    metric: z.literal("micro_f1").default("micro_f1"),
  });
  const regressionTask = z.strictObject({
    ...table,
    type: z.literal("regression").describe("A number for a text or two."),
    columns: z.strictObject(textColumns),
    range: z
      .tuple([z.number(), z.number()])
      .refine(([low, high]) => low < high, "the first number must be below the second")
      .describe("Smallest and largest value."),
    metric: z.literal("pearson").default("pearson"),
    unordered,
  });
  const tagsTask = z.strictObject({
    ...common,
    type: z.literal("tags").describe("A tag for each word."),
    format: z
      .enum(["conll", "tsv", "csv", "jsonl"])
      .describe("conll: one word a line; else one sentence a row."),
    header,
    columns: z
      .strictObject({ words: column, tags: column })
      .optional()
      .describe("Default for conll: the first and the last; numbers only."),
    metric: z
      .enum(["span_f1", "word_accuracy"])
      .default("span_f1")
      .describe(
        "span_f1: tags such as B-PER and I-PER mark spans; word_accuracy: each tag counts by itself.",
      ),
  });
  const spansTask = z.strictObject({
    ...common,
    type: z.literal("spans").describe("A part of a context that answers a question."),
    format: z.enum(["squad", "mrqa", "tsv", "csv", "jsonl"]),
    header,
    columns: z
      .strictObject({
        id: column.optional(),
        question: column,
        context: column,
        answer: column.optional(),
        answer_start: column.optional(),
      })
      .optional()
      .describe(
        "For tables; answer_start counts characters from 0, and without it the answer is looked for.",
      ),
    metric: z
      .enum(["squad_v1", "squad_v2", "mrqa"])
      .default("squad_v1")
      .describe("squad_v2: questions may have no answer."),
  });

  return z.discriminatedUnion("type", [
    classTask,
    pairTask,
    multiLabelTask,
    regressionTask,
    tagsTask,
    spansTask,
  ]);
});

type TaskDescriptionSchema = ReturnType<typeof taskDescriptionSchema>;

/** What stands in a `task.json`. */
export type TaskDescriptionInput = z.input<TaskDescriptionSchema>;

/** The same with all defaults. */
export type TaskDescription = z.output<TaskDescriptionSchema>;

/** JSON Schema (draft 2020-12) of a `task.json`, for editors and for checking. */
export function taskJsonSchema(): Readonly<Record<string, unknown>> {
  return {
    ...zod().toJSONSchema(taskDescriptionSchema(), { io: "input" }),
    title: "A task of electra-native",
  };
}
