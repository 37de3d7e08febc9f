import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32c } from "@node-rs/crc32";
import protobuf from "protobufjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TensorboardSink } from "../../../src/telemetry/tensorboard-sink.js";
import { stepEvent } from "./sample-events.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tensorboard-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The messages of TensorFlow's event.proto and summary.proto, as far as they are written. */
const Event = protobuf
  .parse(
    `syntax = "proto3";
    message PluginData { string plugin_name = 1; }
    message SummaryMetadata { PluginData plugin_data = 1; }
    message Value { string tag = 1; float simple_value = 2; SummaryMetadata metadata = 9; }
    message Summary { repeated Value value = 1; }
    message SessionLog { int32 status = 1; }
    message Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }`,
  )
  .root.lookupType("Event");

/** Splits TFRecords with another CRC than ours and decodes them with another protobuf reader. */
function decode(path: string): Record<string, unknown>[] {
  const bytes = readFileSync(path);
  const masked = (part: Buffer): number => {
    const crc = BigInt(crc32c(part));
    return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
  };
  const events: Record<string, unknown>[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(masked(bytes.subarray(at, at + 8)));
    const payload = bytes.subarray(at + 12, at + 12 + length);
    expect(payload.length).toBe(length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(payload));
    events.push(Event.toObject(Event.decode(payload), { longs: Number }));
    at += length + 16;
  }
  return events;
}

describe("a TensorBoard file", () => {
  it("holds version, start and every scalar, readable by an independent decoder while the run goes on", async () => {
    const sink = new TensorboardSink({ folder, firstStep: 21, now: () => 1_700_000_000.5 });
    expect(sink.path).toMatch(/events\.out\.tfevents\.1700000000\.[^/]+\.\d+\.\d+$/);
    const step = 5_000_000_000;
    sink.emit(
      stepEvent({ step, time: 1_700_000_001.25, loss: 1.5, metrics: { disc_loss: 0.25 }, data_wait_s: 0.5 }),
    );
    sink.emit({
      type: "eval",
      time: 2,
      step: 30,
      split: "held_out",
      metrics: { masked_lm_loss: 6.5 },
      seconds: 1,
    });
    sink.emit({ type: "checkpoint", time: 3, step: 30, path: "x", bytes: 1, seconds: 1 });
    sink.emit({ type: "warning", time: 3, code: "x", message: "x" });
    const scalar = (tag: string, simpleValue: number) => ({
      tag,
      simpleValue,
      metadata: { pluginData: { pluginName: "scalars" } },
    });
    expect(decode(sink.path)).toEqual([
      { wallTime: 1_700_000_000.5, fileVersion: "brain.Event:2" },
      { wallTime: 1_700_000_000.5, step: 21, sessionLog: { status: 1 } },
      {
        wallTime: 1_700_000_001.25,
        step,
        summary: {
          value: [
            scalar("train/loss", 1.5),
            scalar("train/disc_loss", 0.25),
            scalar("train/learning_rate", 0.0009765625),
            scalar("speed/tokens_per_s", 5120),
            scalar("speed/data_wait_s", 0.5),
          ],
        },
      },
      { wallTime: 2, step: 30, summary: { value: [scalar("eval_held_out/masked_lm_loss", 6.5)] } },
    ]);
    await sink.close();
    expect(() => sink.emit(stepEvent({}))).toThrow(/closed/);
  });

  it("is a new one for every run, even within a second", () => {
    const now = (): number => 1;
    const paths = [1, 2].map(() => new TensorboardSink({ folder, now }).path);
    expect(paths[0]).not.toBe(paths[1]);
  });
});
