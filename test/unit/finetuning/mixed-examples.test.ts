import { describe, expect, it } from "vitest";
import { mixedExamples, mixedRows, paddingRows } from "../../../src/finetuning/features/mixed-examples.js";
import { rowOrder } from "../../../src/finetuning/features/row-order.js";
import { createTasks } from "../../../src/finetuning/tasks/create-task.js";
import { taskFolder } from "./task-folder.js";

const rows = (count: number, row: string) => new Array(count).fill(row).join("\n");

describe("examples of several tasks", () => {
  it("are mixed, padded to whole batches, and the same for the same seed", async () => {
    // One task from the folder of the distribution, one from the reference's.
    const { settings } = taskFolder(
      {
        "CoLA/train.tsv": rows(7, "x\t1\t\tthe boat"),
        "mrpc/train.tsv": `h\n${rows(3, "1\t\t\tred\tblue")}\n`,
      },
      { task_names: ["cola", "mrpc"] },
    );
    const tasks = await createTasks(settings);
    const plain = await mixedExamples(tasks, "train");
    expect(plain.examples.map(({ taskId }) => taskId)).toEqual([
      ...new Array(7).fill(0),
      ...new Array(6).fill(1),
    ]);
    const mixed = await mixedExamples(tasks, "train", { shuffleSeed: 1 });
    expect(mixed.examples).not.toEqual(plain.examples);
    expect(await mixedExamples(tasks, "train", { shuffleSeed: 1 })).toEqual(mixed);
    const made = [...mixedRows(tasks, mixed.examples, true)];
    expect(made.map(({ taskId }) => taskId)).toEqual(mixed.examples.map(({ taskId }) => taskId));
    expect(paddingRows(made.length, 8, 2)).toEqual(new Array(3).fill({ taskId: 2, features: null }));
    expect(paddingRows(16, 8, 2)).toEqual([]);
  });

  it("say where a missing file may lie", async () => {
    const { settings } = taskFolder({}, { task_names: ["sst"] });
    const [task] = await createTasks(settings);
    await expect(task!.examples("train")).rejects.toMatchObject({
      code: "ERR_ELECTRA_FILE_NOT_FOUND",
      hint: expect.stringContaining("SST-2"),
    });
  });
});

describe("the order of rows", () => {
  const take = (options: object, count: number) => {
    const order = rowOrder({ rows: 500, seed: 1, trial: 1, reshuffle: false, ...options });
    return Array.from({ length: count }, () => order.next().value);
  };

  it("is nearly that of the file with the reference's buffer", () => {
    const order = take({}, 450);
    expect(order.every((row, i) => row < i + 101)).toBe(true);
    expect(new Set(order).size).toBeGreaterThan(400);
    expect(take({ rows: 3 }, 10).every((row) => row < 3)).toBe(true);
  });

  it("is new in every epoch and trial with reshuffling, each row once an epoch", () => {
    const order = take({ reshuffle: true }, 1000);
    const [first, second] = [order.slice(0, 500), order.slice(500)];
    const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
    expect(sorted(first)).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(sorted(second)).toEqual(sorted(first));
    expect(second).not.toEqual(first);
    expect(take({ reshuffle: true, trial: 2 }, 500)).not.toEqual(first);
  });
});
