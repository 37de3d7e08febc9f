import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Batch, BatchLoader, type BatchLoaderOptions } from "../../../src/data/batch-loader.js";
import { PretrainingExampleEncoder } from "../../../src/data/pretraining-example.js";
import { RecordDataset } from "../../../src/data/record-dataset.js";
import { splitRecords } from "../../../src/data/record-split.js";

const L = 8;
const total = 103;
let folder: string;
let dataset: RecordDataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "electra-loader-"));
  const encoder = new PretrainingExampleEncoder(L);
  for (let shard = 0; shard < 5; shard++) {
    const records: Uint8Array[] = [];
    for (let n = shard; n < total; n += 5) {
      records.push(
        encoder.encode({ inputIds: [2, n, ...new Array<number>(n % 5).fill(9), 3], firstSegmentLength: 2 }),
      );
    }
    writeFileSync(join(folder, `x-${shard}`), Buffer.concat(records));
  }
  dataset = await RecordDataset.open({ patterns: join(folder, "x-*"), vocabSize: 200, maxSeqLength: L });
});
afterAll(() => {
  dataset.close();
  rmSync(folder, { recursive: true });
});

const shuffled = { kind: "shuffled", seed: 11 } as const;
const make = (options: Partial<BatchLoaderOptions> = {}) =>
  new BatchLoader({ source: dataset, batchSize: 8, order: shuffled, ...options });

async function take(loader: BatchLoader, batches: number): Promise<Batch[]> {
  const result: Batch[] = [];
  for (let index = 0; index < batches; index++) {
    const batch = await loader.next();
    if (batch !== undefined) result.push(batch);
  }
  return result;
}

/** The second id of each row: the number that the record was made with. */
const numbers = (batches: readonly Batch[]) =>
  batches.flatMap((batch) => Array.from({ length: batch.rows }, (_, row) => batch.inputIds[row * L + 1]!));

test("every epoch uses every record once, in an order of its own, across batch borders", async () => {
  const loader = make();
  // 103 batches of 8 are exactly 8 epochs.
  const all = numbers(await take(loader, total));
  loader.close();
  const epochs = Array.from({ length: 8 }, (_, epoch) => all.slice(epoch * total, (epoch + 1) * total));
  for (const epoch of epochs) {
    expect(epoch.toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, n) => n));
  }
  expect(new Set(epochs.map(String)).size).toBe(8);
  expect(loader.cursor).toBe(8 * total);
  expect(loader.epoch).toBe(8);
});

test("a batch says what it holds", async () => {
  const loader = make();
  const [, batch] = await take(loader, 2);
  loader.close();
  expect(batch).toMatchObject({ rows: 8, firstRow: 8 });
  for (let row = 0; row < 8; row++) {
    const n = batch!.inputIds[row * L + 1]!;
    expect(batch!.lengths[row]).toBe(3 + (n % 5));
    // Shard by shard: 21 records in the first three files, 20 in the others.
    expect(batch!.records[row]).toBe(
      Math.min(n % 5, 3) * 21 + Math.max(0, (n % 5) - 3) * 20 + Math.floor(n / 5),
    );
    expect([...batch!.segmentIds.subarray(row * L, row * L + L)]).toEqual(
      Array.from({ length: L }, (_, at) => (at >= 2 && at < batch!.lengths[row]! ? 1 : 0)),
    );
  }
});

test("the cursor counts what was handed out, not what was prepared", async () => {
  const loader = make({ prefetch: 10 });
  await take(loader, 1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(loader.cursor).toBe(8);
  loader.close();
});

test.each([0, 1, 5, 13, 14, 40])(
  "continuing after %i batches gives exactly the rest, prefetch and batch size aside",
  async (done) => {
    const straight = make();
    const all = numbers(await take(straight, 45));
    straight.close();
    const first = make({ prefetch: 7 });
    const before = numbers(await take(first, done));
    const { cursor } = first;
    first.close();
    const second = make({ cursor, prefetch: 1 });
    expect([...before, ...numbers(await take(second, 45 - done))]).toEqual(all);
    second.close();
    const third = make({ cursor, batchSize: 4 });
    expect([...before, ...numbers(await take(third, 2 * (45 - done)))]).toEqual(all);
    third.close();
  },
);

test("seeds give different orders", async () => {
  const first = async (seed: number) => numbers(await take(make({ order: { kind: "shuffled", seed } }), 3));
  expect(await first(1)).toEqual(await first(1));
  expect(await first(1)).not.toEqual(await first(2));
});

test("an ordered pass gives every record once, as they lie, and a smaller last batch", async () => {
  const batches: Batch[] = [];
  for await (const batch of make({ order: { kind: "ordered" }, batchSize: 20 })) batches.push(batch);
  expect(batches.map((batch) => batch.rows)).toEqual([20, 20, 20, 20, 20, 3]);
  expect(batches.flatMap((batch) => [...batch.records])).toEqual(Array.from({ length: total }, (_, n) => n));
  expect(batches[5]?.lengths.length).toBe(3);
});

test("both sides of a split are loaded by themselves", async () => {
  const { train, heldOut } = splitRecords(dataset, 0.2);
  const held: number[] = [];
  for await (const batch of make({ source: heldOut, order: { kind: "ordered" } }))
    held.push(...batch.records);
  expect(held.length).toBe(heldOut.length);
  const loader = make({ source: train, batchSize: train.length });
  const [batch] = await take(loader, 1);
  loader.close();
  expect([...batch!.records, ...held].toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: total }, (_, n) => n),
  );
});

test("batches larger than an epoch and data smaller than a batch work", async () => {
  const loader = make({ batchSize: 250 });
  const [batch] = await take(loader, 1);
  loader.close();
  const counts = new Map<number, number>();
  for (const record of batch!.records) counts.set(record, (counts.get(record) ?? 0) + 1);
  expect(counts.size).toBe(total);
  expect([...new Set(counts.values())].sort()).toEqual([2, 3]);
});

test("a bad record fails its batch, not the ones before, and every time it is asked for", async () => {
  const path = join(folder, "bad");
  const encoder = new PretrainingExampleEncoder(L);
  const rows = [5, 6, 7, 500, 8].map((n) => encoder.encode({ inputIds: [2, n, 3], firstSegmentLength: 3 }));
  writeFileSync(path, Buffer.concat(rows));
  const bad = await RecordDataset.open({ patterns: path, vocabSize: 200, maxSeqLength: L });
  const loader = make({ source: bad, batchSize: 1, order: { kind: "ordered" } });
  expect(numbers(await take(loader, 3))).toEqual([5, 6, 7]);
  for (let again = 0; again < 2; again++) {
    await expect(loader.next()).rejects.toThrow(
      /bad: record 3 \(at byte \d+\): input_ids\[1\] is 500, outside/,
    );
    expect(loader.cursor).toBe(3);
  }
  loader.close();
  bad.close();
});

test("an aborted or closed loader ends", async () => {
  const controller = new AbortController();
  const loader = make({ signal: controller.signal });
  await loader.next();
  controller.abort(new Error("enough"));
  await expect(loader.next()).rejects.toThrow("enough");
  const closed = make();
  const pending = closed.next();
  closed.close();
  expect(await pending).toBeUndefined();
  expect(await closed.next()).toBeUndefined();
});

test("impossible options are refused", () => {
  expect(() => make({ batchSize: 0 })).toThrow(/batch size must be a positive integer, not 0/);
  expect(() => make({ cursor: -1 })).toThrow(/cursor must be a non-negative integer, not -1/);
  expect(() => make({ source: { dataset, length: 0, recordAt: (n) => n } })).toThrow(/no records to load/);
});
