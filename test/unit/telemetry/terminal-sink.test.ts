import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { combineSinks, type EventSink } from "../../../src/telemetry/event-sink.js";
import type { RunEvent } from "../../../src/telemetry/run-event.js";
import { TerminalSink } from "../../../src/telemetry/terminal-sink.js";
import { stepEvent } from "./sample-events.js";

function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  let text = "";
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200, getColorDepth: () => 1 });
  stream.on("data", (chunk) => {
    text += chunk;
  });
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
}

describe("the terminal", () => {
  it("gets a line every few seconds, and the last step, where it is a file", async () => {
    const { stream, text } = fakeStream(false);
    let now = 0;
    const sink = new TerminalSink({ stream, intervalSeconds: 10, now: () => now });
    for (let step = 1; step <= 25; step++) {
      sink.emit(stepEvent({ step, metrics: { disc_loss: 0.5 } }));
      now += 1000;
    }
    sink.emit({
      type: "done",
      time: 1,
      step: 25,
      reason: "finished",
      seconds: 65,
      tokens_per_s: 12_345,
      data_wait_s: 0.25,
    });
    await sink.close();
    expect(text().trimEnd().split("\n")).toEqual([
      "1/100  loss 40.5000  disc_loss 0.5000  lr 9.8e-4  5120 tokens/s  ETA 1:05",
      "11/100  loss 40.5000  disc_loss 0.5000  lr 9.8e-4  5120 tokens/s  ETA 1:05",
      "21/100  loss 40.5000  disc_loss 0.5000  lr 9.8e-4  5120 tokens/s  ETA 1:05",
      "25/100  loss 40.5000  disc_loss 0.5000  lr 9.8e-4  5120 tokens/s  ETA 1:05",
      "finished at step 25 after 1:05, 12.3k tokens/s, 0.3 s of it waiting for data",
    ]);
  });

  it("gets the other events at once, with what to do about a warning", () => {
    const { stream, text } = fakeStream(false);
    const sink = new TerminalSink({ stream });
    sink.emit({
      type: "warning",
      time: 1,
      code: "c",
      message: "warm-up is long",
      hint: "Lower num_warmup_steps.",
    });
    sink.emit({
      type: "checkpoint",
      time: 1,
      step: 5,
      path: "m/checkpoint-5",
      bytes: 2_500_000,
      seconds: 0.25,
    });
    sink.emit({ type: "eval", time: 1, step: 5, split: "held_out", metrics: { disc_auc: 0.5 }, seconds: 2 });
    sink.emit({ type: "done", time: 1, step: 5, reason: "failed", seconds: 2, message: "NaN in x" });
    expect(text()).toBe(
      [
        "warning: warm-up is long",
        "  Lower num_warmup_steps.",
        "saved m/checkpoint-5 (2.5 MB, 0.3 s)",
        "evaluation (held_out) at step 5: disc_auc 0.5000  (2.0 s)",
        "failed at step 5 after 2 s: NaN in x",
        "",
      ].join("\n"),
    );
  });

  it("redraws one line where it is a terminal, with messages above it", async () => {
    const { stream, text } = fakeStream(true);
    const sink = new TerminalSink({ stream, interactive: true });
    sink.emit(stepEvent({ step: 1 }));
    sink.log("a message");
    sink.emit(stepEvent({ step: 2 }));
    await sink.close();
    expect(text()).toMatch(/1\/100 {2}loss 40\.5000/);
    expect(text()).toContain("a message\n");
    expect(text()).toMatch(/2\/100 {2}loss/);
  });
});

describe("several sinks", () => {
  const recorder = (): EventSink & { events: RunEvent[]; closed: number } => ({
    events: [],
    closed: 0,
    emit(event) {
      this.events.push(event);
    },
    async close() {
      this.closed++;
    },
  });

  it("all get every event", async () => {
    const sinks = [recorder(), recorder()];
    const all = combineSinks(sinks);
    const event = stepEvent({});
    all.emit(event);
    await all.close();
    for (const { events, closed } of sinks) expect([events, closed]).toEqual([[event], 1]);
  });

  it("go on without one that fails, and hear of it once", async () => {
    const good = recorder();
    let calls = 0;
    const bad: EventSink = {
      emit() {
        calls++;
        throw new Error("ENOSPC");
      },
      close: () => Promise.reject(new Error("still full")),
    };
    const all = combineSinks([bad, good]);
    all.emit(stepEvent({ step: 1 }));
    all.emit(stepEvent({ step: 2 }));
    await all.close();
    expect(calls).toBe(1);
    expect(good.events).toMatchObject([
      { step: 1 },
      { type: "warning", code: "telemetry_lost", message: expect.stringContaining("ENOSPC") },
      { step: 2 },
    ]);
    expect(good.closed).toBe(1);
  });
});
