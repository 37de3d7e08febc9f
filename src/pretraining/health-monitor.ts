import type { PretrainingObjective } from "../hparams/generator-kind.js";

/** Something in the numbers of a run that usually means trouble. */
export interface HealthAlarm {
  readonly code: "discriminator_at_baseline" | "generator_not_learning" | "loss_spike";
  readonly message: string;
  readonly hint: string;
}

export interface HealthMonitorOptions {
  readonly objective: PretrainingObjective;
  readonly vocabSize: number;
  readonly numWarmupSteps: number;
  readonly numTrainSteps: number;
}

/** Steps that the running means look back on. */
const WINDOW = 200;
/** A spike is this many running deviations above the running mean, and at least half as much again. */
const SPIKE_DEVIATIONS = 8;
const SPIKE_RATIO = 1.5;

/**
 * Watches the numbers of every step and raises alarms: a discriminator that is no better than one which only knows how
 * many tokens were replaced, a generator whose loss stays near that of guessing among all tokens, a sudden jump of the
 * loss. The first two wait until a healthy run has left that state: replaced-token detection starts slowly, and in a
 * published run of the small model recall was still 0.05 after 5,000 steps.
 *
 * An alarm is raised again only after a thousand steps.
 */
export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  readonly #patience: number;
  readonly #lastRaised = new Map<HealthAlarm["code"], number>();
  readonly #discLoss = new RunningMean();
  readonly #baseline = new RunningMean();
  readonly #recall = new RunningMean();
  readonly #generatorLoss = new RunningMean();
  readonly #loss = new RunningMean();

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
    this.#patience = Math.max(2 * options.numWarmupSteps, 0.1 * options.numTrainSteps, 2000);
  }

  /**
   * @param step updates done
   * @param metrics as `stepMetrics` makes them
   * @returns what is worth a warning now
   */
  observe(step: number, loss: number, metrics: Readonly<Record<string, number>>): readonly HealthAlarm[] {
    const alarms: HealthAlarm[] = [];
    const spike = this.#spike(loss);
    if (spike !== undefined) alarms.push(spike);
    this.#loss.add(loss);
    this.#generatorLoss.add(metrics["masked_lm_loss"] ?? Number.NaN);
    if (this.#options.objective !== "mlm") {
      this.#discLoss.add(metrics["disc_loss"] ?? Number.NaN);
      this.#baseline.add(metrics["disc_baseline_loss"] ?? Number.NaN);
      this.#recall.add(metrics["disc_recall"] ?? Number.NaN);
    }
    if (step > this.#patience) alarms.push(...this.#stuck());
    return alarms.filter(({ code }) => this.#mayRaise(code, step));
  }

  #spike(loss: number): HealthAlarm | undefined {
    const { mean, deviation, count } = this.#loss;
    if (count < WINDOW) return undefined;
    if (loss < SPIKE_RATIO * mean || loss < mean + SPIKE_DEVIATIONS * deviation) return undefined;
    return {
      code: "loss_spike",
      message: `the loss jumped to ${loss.toFixed(3)}; over the last steps it was ${mean.toFixed(3)} ± ${deviation.toFixed(3)}`,
      hint: "Once is no harm. Again and again: lower learning_rate, lengthen num_warmup_steps, or look at the records named.",
    };
  }

  #stuck(): HealthAlarm[] {
    const alarms: HealthAlarm[] = [];
    const { objective, vocabSize } = this.#options;
    const guessing = Math.log(vocabSize);
    if (this.#generatorLoss.mean > 0.9 * guessing) {
      alarms.push({
        code: "generator_not_learning",
        message: `the generator's loss is ${this.#generatorLoss.mean.toFixed(2)}, hardly below the ${guessing.toFixed(2)} of guessing among ${vocabSize} tokens`,
        hint: "Check that the records were built with this vocabulary; then try a higher learning_rate or a wider generator.",
      });
    }
    // Electric's labels say "was resampled", not "differs": the entropy of their rate is the same kind of baseline.
    if (
      objective !== "mlm" &&
      this.#recall.mean < 0.001 &&
      this.#discLoss.mean > 0.99 * this.#baseline.mean
    ) {
      alarms.push({
        code: "discriminator_at_baseline",
        message: `the discriminator calls no token replaced, and its loss ${this.#discLoss.mean.toFixed(3)} is that of knowing the share of replaced tokens alone (${this.#baseline.mean.toFixed(3)})`,
        hint: "If held-out disc_auc_tokens is near 0.5 too: lower learning_rate (5e-4 is too high for base), or weaken the generator (generator_hidden_size).",
      });
    }
    return alarms;
  }

  #mayRaise(code: HealthAlarm["code"], step: number): boolean {
    const last = this.#lastRaised.get(code);
    if (last !== undefined && step - last < 1000) return false;
    this.#lastRaised.set(code, step);
    return true;
  }
}

/** Exponential mean and deviation over about `WINDOW` values. */
class RunningMean {
  mean = 0;
  count = 0;
  #variance = 0;

  get deviation(): number {
    return Math.sqrt(this.#variance);
  }

  add(value: number): void {
    this.count++;
    const share = 1 / Math.min(this.count, WINDOW);
    const difference = value - this.mean;
    this.mean += share * difference;
    this.#variance = (1 - share) * (this.#variance + share * difference * difference);
  }
}
