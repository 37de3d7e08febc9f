import type { StepResult } from "../engine/types.js";
import type { PretrainingObjective } from "../hparams/generator-kind.js";
import { binaryEntropy } from "../metrics/binary-entropy.js";

/**
 * What a progress line says of one step, from the sums that the engine keeps anyway. The discriminator's loss stands
 * beside that of a model which knows only how many tokens were replaced; accuracy alone says nothing, because most
 * tokens are real.
 */
export function stepMetrics(objective: PretrainingObjective, result: StepResult): Record<string, number> {
  const { generator, discriminator } = result;
  const metrics: Record<string, number> = {
    masked_lm_loss: result.generatorLoss,
    masked_lm_accuracy: ratio(generator.correct, generator.weight),
  };
  if (objective === "mlm") return metrics;
  const { truePositive, falsePositive, trueNegative, falseNegative } = discriminator;
  const replaced = truePositive + falseNegative;
  const all = replaced + trueNegative + falsePositive;
  const fakeRate = ratio(replaced, all);
  return {
    ...metrics,
    sampled_masked_lm_accuracy: ratio(generator.sampledCorrect, generator.slots),
    disc_loss: result.discriminatorLoss,
    disc_baseline_loss: binaryEntropy(fakeRate),
    disc_accuracy: ratio(truePositive + trueNegative, all),
    disc_precision: ratio(truePositive, truePositive + falsePositive),
    disc_recall: ratio(truePositive, replaced),
    disc_fake_rate: fakeRate,
  };
}

const ratio = (part: number, whole: number): number => (whole > 0 ? part / whole : 0);
