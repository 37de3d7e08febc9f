import { binaryEntropy } from "./binary-entropy.js";
import { rankAuc } from "./rank-auc.js";
import { ScoreLog } from "./score-log.js";
import { StreamingMean } from "./streaming-mean.js";
import { ThresholdAuc } from "./threshold-auc.js";

/** The generator's side of a batch; every array is [slots], unused slots having weight 0. */
export interface SlotOutputs {
  readonly weights: ArrayLike<number>;
  /** Negative log-likelihood of the target, nats. */
  readonly losses: ArrayLike<number>;
  /** Most likely id. */
  readonly predictions: ArrayLike<number>;
  /** Original id. */
  readonly targets: ArrayLike<number>;
  /** Id drawn for the discriminator's input, before duplicates are merged; absent under the masked-LM objective. */
  readonly sampled?: ArrayLike<number>;
}

/** The discriminator's side of a batch; token arrays are [tokens], padded or packed. */
export interface TokenOutputs {
  /** Probability of having been replaced. */
  readonly probabilities: ArrayLike<number>;
  /** 1: judged replaced. Default: probability above one half. */
  readonly predictions?: ArrayLike<number>;
  /** 1: replaced. */
  readonly labels: ArrayLike<number>;
  /** 1: a real token. Default: all are, the rows being packed. */
  readonly mask?: ArrayLike<number>;
  /** 1: a token that could have been replaced: real and not `[CLS]`, `[SEP]` or `[MASK]`. */
  readonly candidates?: ArrayLike<number>;
  /** Padding that the arrays leave out; the reference's `disc_auc` counts it. Default 0. */
  readonly droppedPadding?: number;
  /** Mean loss of every example, [rows]. */
  readonly exampleLosses: ArrayLike<number>;
}

export interface PretrainingBatchOutputs {
  readonly totalLoss: number;
  readonly slots: SlotOutputs;
  /** Absent under the masked-LM objective. */
  readonly tokens?: TokenOutputs;
}

/** The reference's values under its names, then ours; the discriminator's only where one was evaluated. */
export interface PretrainingMetricValues {
  readonly loss: number;
  readonly global_step: number;
  readonly masked_lm_accuracy: number;
  readonly masked_lm_loss: number;
  readonly sampled_masked_lm_accuracy?: number;
  /** Mean over examples of their mean loss; the training loss is a mean over tokens. */
  readonly disc_loss?: number;
  /** The reference's: 200 thresholds, padding counted as negatives with score 0, which raises it. */
  readonly disc_auc?: number;
  readonly disc_accuracy?: number;
  readonly disc_precision?: number;
  readonly disc_recall?: number;
  /** Exact area over real tokens; null when one of the classes is missing. */
  readonly disc_auc_tokens?: number | null;
  /** Exact area over tokens that could have been replaced: special tokens, easily told, are left out too. */
  readonly disc_auc_candidates?: number | null;
  /** Mean of the shares of replaced and of original tokens judged rightly. */
  readonly disc_balanced_accuracy?: number;
  /** Share of replaced tokens among real ones. */
  readonly disc_fake_rate?: number;
  /** Loss of answering every token with the fake rate. */
  readonly disc_baseline_loss?: number;
}

/**
 * Accumulates the evaluation metrics of pre-training over batches (specification: the reference's `metric_fn`), with
 * the discriminator's values over real tokens beside them.
 */
export class PretrainingMetrics {
  readonly #loss = new StreamingMean();
  readonly #slotAccuracy = new StreamingMean();
  readonly #slotLoss = new StreamingMean();
  readonly #sampledAccuracy = new StreamingMean();
  readonly #discLoss = new StreamingMean();
  readonly #discAccuracy = new StreamingMean();
  readonly #discPrecision = new StreamingMean();
  readonly #discRecall = new StreamingMean();
  readonly #specificity = new StreamingMean();
  readonly #fakeRate = new StreamingMean();
  readonly #paddedAuc = new ThresholdAuc();
  readonly #realScores = new ScoreLog();
  readonly #candidateScores = new ScoreLog();
  #hasSamples = false;
  #hasTokens = false;
  #hasCandidates = false;

  add(batch: PretrainingBatchOutputs): void {
    this.#loss.add(batch.totalLoss);
    this.#addSlots(batch.slots);
    if (batch.tokens !== undefined) this.#addTokens(batch.tokens);
  }

  /** @param globalStep step of the evaluated weights */
  values(globalStep: number): PretrainingMetricValues {
    return {
      loss: this.#loss.value,
      global_step: globalStep,
      masked_lm_accuracy: this.#slotAccuracy.value,
      masked_lm_loss: this.#slotLoss.value,
      ...(this.#hasSamples ? { sampled_masked_lm_accuracy: this.#sampledAccuracy.value } : {}),
      ...(this.#hasTokens ? this.#tokenValues() : {}),
    };
  }

  /** Scores and classes of all real tokens so far, e.g. for a confidence interval. Views, valid until the next `add`. */
  get realTokens(): { readonly scores: Float32Array; readonly labels: Uint8Array } {
    return { scores: this.#realScores.scores, labels: this.#realScores.labels };
  }

  #tokenValues(): Partial<PretrainingMetricValues> {
    return {
      disc_loss: this.#discLoss.value,
      disc_auc: this.#paddedAuc.value,
      disc_accuracy: this.#discAccuracy.value,
      disc_precision: this.#discPrecision.value,
      disc_recall: this.#discRecall.value,
      disc_auc_tokens: rankAuc(this.#realScores),
      ...(this.#hasCandidates ? { disc_auc_candidates: rankAuc(this.#candidateScores) } : {}),
      disc_balanced_accuracy: (this.#discRecall.value + this.#specificity.value) / 2,
      disc_fake_rate: this.#fakeRate.value,
      disc_baseline_loss: binaryEntropy(this.#fakeRate.value),
    };
  }

  #addSlots(slots: SlotOutputs): void {
    this.#hasSamples ||= slots.sampled !== undefined;
    for (let i = 0; i < slots.weights.length; i++) {
      const weight = slots.weights[i] ?? 0;
      // Unused slots may hold anything, NaN included.
      if (weight === 0) continue;
      this.#slotLoss.add(slots.losses[i] ?? 0, weight);
      this.#slotAccuracy.add(slots.predictions[i] === slots.targets[i] ? 1 : 0, weight);
      if (slots.sampled !== undefined) {
        this.#sampledAccuracy.add(slots.sampled[i] === slots.targets[i] ? 1 : 0, weight);
      }
    }
  }

  #addTokens(tokens: TokenOutputs): void {
    const { probabilities, predictions, labels, mask, candidates, exampleLosses } = tokens;
    this.#hasTokens = true;
    this.#hasCandidates ||= candidates !== undefined;
    let padding = tokens.droppedPadding ?? 0;
    for (let t = 0; t < labels.length; t++) {
      if (mask !== undefined && !mask[t]) {
        padding++;
        continue;
      }
      const probability = probabilities[t] ?? 0;
      const label = labels[t] ? 1 : 0;
      const prediction = (predictions === undefined ? probability > 0.5 : predictions[t]) ? 1 : 0;
      const right = prediction === label ? 1 : 0;
      this.#discAccuracy.add(right);
      if (prediction === 1) this.#discPrecision.add(right);
      if (label === 1) this.#discRecall.add(right);
      else this.#specificity.add(right);
      this.#fakeRate.add(label);
      this.#paddedAuc.add(probability, label);
      this.#realScores.add(probability, label);
      if (candidates?.[t]) this.#candidateScores.add(probability, label);
    }
    if (padding > 0) this.#paddedAuc.add(0, 0, padding);
    for (let row = 0; row < exampleLosses.length; row++) this.#discLoss.add(exampleLosses[row] ?? 0);
  }
}
