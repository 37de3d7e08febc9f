import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** Milliseconds by which timers of the main thread came late. */
export interface LoopDelay {
  readonly p99_ms: number;
  readonly max_ms: number;
}

/** Interval of the timer that is watched, milliseconds. */
const RESOLUTION = 1;

/** Watches how long the event loop is held up. */
export class LoopDelayMonitor {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION });

  start(): void {
    this.#histogram.reset();
    this.#histogram.enable();
  }

  /** Since `start`. Node measures from timer to timer, so the interval itself is taken off. */
  stop(): LoopDelay {
    this.#histogram.disable();
    if (this.#histogram.count === 0) return { p99_ms: 0, max_ms: 0 };
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION);
    return { p99_ms: late(this.#histogram.percentile(99)), max_ms: late(this.#histogram.max) };
  }
}
