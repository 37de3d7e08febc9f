import { expect, it } from "vitest";
import { mapInBlocks } from "../../../src/inference/map-in-blocks.js";

const double = async (block: readonly number[]) => block.map((value) => 2 * value);

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of source) all.push(value);
  return all;
}

/** Numbers that are all there at once. */
async function* numbers(count: number) {
  for (let i = 0; i < count; i++) yield i;
}

it.each([0, 1, 4, 5, 8, 23])("gives a result for each of %i elements in their order", async (count) => {
  const expected = Array.from({ length: count }, (_, i) => 2 * i);
  expect(await collect(mapInBlocks(numbers(count), double, { size: 4 }))).toEqual(expected);
  const list = Array.from({ length: count }, (_, i) => i);
  expect(await collect(mapInBlocks(list, double, { size: 4 }))).toEqual(expected);
});

it("works on whole blocks, on two of them at once, and on no more", async () => {
  const sizes: number[] = [];
  let running = 0;
  let most = 0;
  const map = async (block: readonly number[]) => {
    sizes.push(block.length);
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
    return block;
  };
  await collect(
    mapInBlocks(
      Array.from({ length: 22 }, (_, i) => i),
      map,
      { size: 5 },
    ),
  );
  expect(sizes).toEqual([5, 5, 5, 5, 2]);
  expect(most).toBe(2);
});

it("does not keep back results while the source has nothing new", async () => {
  let release: () => void = () => {};
  const waiting = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* typed() {
    yield 1;
    yield 2;
    await waiting;
    yield 3;
  }
  const results = mapInBlocks(typed(), double, { size: 100 });
  expect(await results.next()).toEqual({ done: false, value: 2 });
  expect(await results.next()).toEqual({ done: false, value: 4 });
  release();
  expect(await results.next()).toEqual({ done: false, value: 6 });
  expect((await results.next()).done).toBe(true);
});

it("lets go of its source when nobody wants more, even if it would wait for ever", async () => {
  let closed = false;
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      closed = true;
    }
  }
  for await (const value of mapInBlocks(endless(), double, { size: 3 })) if (value > 20) break;
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(true);
  async function* silent() {
    yield 1;
    await new Promise(() => {});
  }
  for await (const _ of mapInBlocks(silent(), double, { size: 3 })) break;
});

it("passes failures on in their place: of a block, of the source, of the signal", async () => {
  const failing = async (block: readonly number[]) => {
    if (block.includes(5)) throw new Error("no five");
    return block;
  };
  const seen: number[] = [];
  const run = async () => {
    for await (const value of mapInBlocks(numbers(20), failing, { size: 2 })) seen.push(value);
  };
  await expect(run()).rejects.toThrow("no five");
  expect(seen).toEqual([0, 1, 2, 3]);
  async function* broken() {
    yield 1;
    throw new Error("torn");
  }
  // What came before is finished first.
  const before: number[] = [];
  const untilTorn = async () => {
    for await (const value of mapInBlocks(broken(), double, { size: 4 })) before.push(value);
  };
  await expect(untilTorn()).rejects.toThrow("torn");
  expect(before).toEqual([2]);
  const controller = new AbortController();
  const stopped = mapInBlocks(numbers(1000), double, { size: 2, signal: controller.signal });
  await stopped.next();
  controller.abort(new Error("enough"));
  await expect(collect(stopped)).rejects.toThrow("enough");
});
