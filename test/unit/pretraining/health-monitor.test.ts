import { describe, expect, it } from "vitest";
import { HealthMonitor } from "../../../src/pretraining/health-monitor.js";

const options = {
  objective: "electra",
  vocabSize: 1000,
  numWarmupSteps: 100,
  numTrainSteps: 10_000,
} as const;
const healthy = { masked_lm_loss: 4, disc_loss: 0.3, disc_baseline_loss: 0.4, disc_recall: 0.3 };

/** Codes raised, with their steps. */
function watch(
  steps: number,
  at: (step: number) => { loss?: number; metrics?: Partial<typeof healthy> },
  given: ConstructorParameters<typeof HealthMonitor>[0] = options,
): string[] {
  const monitor = new HealthMonitor(given);
  const raised: string[] = [];
  for (let step = 1; step <= steps; step++) {
    const { loss, metrics } = at(step);
    // A little noise, as every loss has.
    const alarms = monitor.observe(step, (loss ?? 20) + Math.sin(step) / 4, { ...healthy, ...metrics });
    raised.push(...alarms.map(({ code }) => `${code}@${step}`));
  }
  return raised;
}

describe("health of a run", () => {
  it("is silent over a healthy run", () => {
    expect(watch(4000, (step) => ({ loss: 20 + 30 * Math.exp(-step / 100) }))).toEqual([]);
  });

  it("raises a discriminator at its baseline after a patience, and again only a thousand steps later", () => {
    const stuck = { disc_loss: 0.4, disc_recall: 0 };
    expect(watch(3500, () => ({ metrics: stuck }))).toEqual([
      "discriminator_at_baseline@2001",
      "discriminator_at_baseline@3001",
    ]);
  });

  it("does not raise a discriminator that left the baseline in time", () => {
    expect(
      watch(3000, (step) => ({ metrics: step < 1500 ? { disc_loss: 0.4, disc_recall: 0 } : {} })),
    ).toEqual([]);
  });

  it("raises a generator near the loss of guessing among all tokens", () => {
    expect(watch(2100, () => ({ metrics: { masked_lm_loss: 6.5 } }))).toEqual([
      "generator_not_learning@2001",
    ]);
  });

  it("raises a sudden jump of the loss at its step", () => {
    expect(watch(600, (step) => (step === 500 ? { loss: 60 } : {}))).toEqual(["loss_spike@500"]);
  });

  it("has nothing to say of a discriminator under the masked-LM objective", () => {
    const metrics = {
      masked_lm_loss: 4,
      disc_loss: Number.NaN,
      disc_recall: 0,
      disc_baseline_loss: Number.NaN,
    };
    expect(watch(2500, () => ({ metrics }), { ...options, objective: "mlm" })).toEqual([]);
  });
});
