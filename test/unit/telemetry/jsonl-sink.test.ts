import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JsonlSink, truncateToStep } from "../../../src/telemetry/jsonl-sink.js";
import { stepEvent } from "./sample-events.js";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "events-"));
  path = join(folder, "run", "events.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lines = (): unknown[] =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

describe("events.jsonl", () => {
  it("has every event on the disk as soon as it is told, one a line", async () => {
    const sink = new JsonlSink(path);
    const events = [stepEvent({ step: 1 }), stepEvent({ step: 2, metrics: { note: 1 } })];
    for (const [index, event] of events.entries()) {
      sink.emit(event);
      expect(lines()).toEqual(events.slice(0, index + 1));
    }
    await sink.close();
  });

  it("is appended to by the next run", async () => {
    for (const step of [1, 2]) {
      const sink = new JsonlSink(path);
      sink.emit(stepEvent({ step }));
      await sink.close();
    }
    expect(lines()).toMatchObject([{ step: 1 }, { step: 2 }]);
  });

  it("says NaN and Infinity instead of null", () => {
    const sink = new JsonlSink(path);
    sink.emit(stepEvent({ loss: Number.NaN, metrics: { grad_norm: Number.POSITIVE_INFINITY } }));
    expect(lines()).toMatchObject([{ loss: "NaN", metrics: { grad_norm: "Infinity" } }]);
  });
});

describe("cutting events.jsonl back to a step", () => {
  const write = (count: number): void => {
    const sink = new JsonlSink(path);
    for (let step = 1; step <= count; step++) sink.emit(stepEvent({ step, metrics: { text: step } }));
  };

  it.each([
    [0, []],
    [2, [1, 2]],
    [5, [1, 2, 3, 4, 5]],
    [9, [1, 2, 3, 4, 5]],
  ])("%i leaves the steps up to it", async (step, left) => {
    write(5);
    const before = readFileSync(path).length;
    const cut = await truncateToStep(path, step);
    expect(lines().map((event) => (event as { step: number }).step)).toEqual(left);
    expect(readFileSync(path).length).toBe(before - cut);
  });

  it("keeps events without a step, and takes off a line that a crash left half-written", async () => {
    write(2);
    appendFileSync(
      path,
      `${JSON.stringify({ type: "warning", time: 1, code: "c", message: "zwölf" })}\n{"type":"st`,
    );
    await truncateToStep(path, 2);
    expect(lines()).toMatchObject([{ step: 1 }, { step: 2 }, { type: "warning", message: "zwölf" }]);
  });

  it("works across blocks of reading, where lines are split", async () => {
    write(2000);
    await truncateToStep(path, 1500);
    expect(lines().length).toBe(1500);
    expect(readFileSync(path).length).toBeGreaterThan(3 * 65_536);
  });

  it("is not misled by a damaged line in the middle", async () => {
    write(1);
    appendFileSync(path, "garbage\n");
    write(3);
    await truncateToStep(path, 2);
    const kept = readFileSync(path, "utf8").split("\n");
    expect(kept.length).toBe(5);
    expect(kept[1]).toBe("garbage");
  });

  it("does nothing without a file or with an empty one", async () => {
    expect(await truncateToStep(join(folder, "none"), 5)).toBe(0);
    writeFileSync(join(folder, "empty"), "");
    expect(await truncateToStep(join(folder, "empty"), 5)).toBe(0);
  });
});
