import type { RunEvent, WarningEvent } from "./run-event.js";

/** A place that events go to. `emit` returns at once; `close` is called once, after the last event. */
export interface EventSink {
  emit(event: RunEvent): void;
  close(): Promise<void>;
}

/**
 * One sink that passes every event to several. A sink that fails (a full disk under `events.jsonl`) is dropped
 * with a warning to the others: telemetry never ends a run.
 */
export function combineSinks(sinks: readonly EventSink[]): EventSink {
  const working = new Set(sinks);
  const warn = (error: unknown): void => {
    const event: WarningEvent = {
      type: "warning",
      time: Date.now() / 1000,
      code: "telemetry_lost",
      message: `an event log could not be written and is left out from here on: ${(error as Error).message}`,
    };
    deliver(event);
  };
  const deliver = (event: RunEvent): void => {
    const failures: unknown[] = [];
    for (const sink of [...working]) {
      try {
        sink.emit(event);
      } catch (error) {
        working.delete(sink);
        failures.push(error);
      }
    }
    for (const error of failures) warn(error);
  };
  return {
    emit: deliver,
    async close() {
      // Dropped sinks too: they may still hold a file open.
      const results = await Promise.allSettled(sinks.map((sink) => sink.close()));
      const failed = results.find(
        (result, index) => result.status === "rejected" && working.has(sinks[index]!),
      );
      if (failed?.status === "rejected") throw failed.reason;
    },
  };
}
