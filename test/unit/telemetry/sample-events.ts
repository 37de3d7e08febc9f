import type { StepEvent } from "../../../src/telemetry/run-event.js";

export function stepEvent(overrides: Partial<StepEvent>): StepEvent {
  return {
    type: "step",
    time: 1_700_000_000,
    step: 1,
    total_steps: 100,
    loss: 40.5,
    metrics: {},
    learning_rate: 0.0009765625,
    tokens_per_s: 5120,
    elapsed_s: 10,
    eta_s: 65,
    ...overrides,
  };
}
