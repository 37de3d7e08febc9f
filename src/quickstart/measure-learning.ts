import { BatchLoader } from "../data/batch-loader.js";
import type { RecordView } from "../data/record-dataset.js";
import type { Engine } from "../engine/engine.js";
import type { OutputArray, StepResult } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { binaryEntropy } from "../metrics/binary-entropy.js";
import { type BootstrapAuc, bootstrapAuc } from "../metrics/bootstrap-auc.js";
import { rankAuc } from "../metrics/rank-auc.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import { unigramCrossEntropy } from "../metrics/unigram-cross-entropy.js";
import type { MaskingIds } from "../pretraining/model-config.js";
import { corruptRows, UnigramSampler } from "./fixed-corruption.js";
import type { QuickstartRecipe } from "./recipe.js";

export interface MeasureLearningOptions {
  /** Of the `electra` objective, with a generator of its own, holding the weights to be measured. */
  readonly engine: Engine;
  readonly heldOut: RecordView;
  /** Occurrences of every id in the training records, special tokens left out. */
  readonly trainCounts: ArrayLike<number>;
  readonly ids: MaskingIds;
  readonly recipe: QuickstartRecipe["evaluation"];
  readonly signal?: AbortSignal;
}

/** What a model learned, measured on text that it never saw, beside what knowing nothing would give. Nats throughout. */
export interface LearningMeasures {
  /** Real held-out tokens that were used, special ones not counted. */
  readonly tokens: number;
  readonly sequences: number;
  readonly generator: {
    readonly maskedTokens: number;
    /** Mean masked-LM loss, with fixed masks. */
    readonly loss: number;
    /** Loss of predicting the very same tokens from their frequencies in the training text. */
    readonly unigramLoss: number;
    /** Share of masked tokens whose likeliest prediction is right. */
    readonly accuracy: number;
  };
  /** On the fixed corruption. */
  readonly discriminator: {
    readonly auc: number;
    /** 95 % bootstrap interval, whole sequences being drawn. */
    readonly lower: number;
    readonly upper: number;
    readonly candidates: number;
    readonly fakeRate: number;
    readonly loss: number;
    /** Loss of answering every token with the fake rate. */
    readonly baselineLoss: number;
    /** Area against the trained generator's own replacements; informative only, for it rises with a weaker generator. */
    readonly aucOwnGenerator: number | null;
  };
}

const evaluatedOutputs = [
  "masked/weights",
  "masked/targets",
  "mlm/loss",
  "mlm/predictions",
  "fake/labels",
  "disc/probabilities",
];

/** Measures an engine's present weights. Masks and corruption depend on the recipe's seed alone. */
export async function measureLearning(options: MeasureLearningOptions): Promise<LearningMeasures> {
  const { engine, heldOut, trainCounts, ids, recipe, signal } = options;
  const special = new Set([ids.cls, ids.sep]);
  const sampler = new UnigramSampler(trainCounts);
  const random = new SeededRandom(recipe.seed);
  const masked = new MaskedSums(trainCounts.length);
  const fixed = new TokenScores();
  const own = new TokenScores();
  const { maxSeqLength: length } = heldOut.dataset;
  const loader = new BatchLoader({
    source: heldOut,
    batchSize: recipe.batchSize,
    order: { kind: "ordered" },
    ...(signal === undefined ? {} : { signal }),
  });
  let sequences = 0;
  try {
    for await (const { rows, inputIds, segmentIds, lengths, firstRow } of loader) {
      if (fixed.count >= recipe.mostTokens) break;
      const batch = { rows, length, inputIds, segmentIds, lengths, firstRow };
      const abort = signal === undefined ? {} : { signal };
      const evaluated = await engine.evaluate(batch, {
        seed: recipe.seed,
        step: 0,
        outputs: evaluatedOutputs,
        ...abort,
      });
      masked.add(evaluated);
      const corrupted = corruptRows(batch, { sampler, share: recipe.corruptedShare, special, random });
      const judged = await engine.forward(
        { ...batch, inputIds: corrupted.inputIds },
        { network: "discriminator", outputs: ["disc/probabilities"], ...abort },
      );
      fixed.add(outputOf(judged, "disc/probabilities"), corrupted.labels, corrupted.candidates, batch);
      const labels = outputOf(evaluated.outputs, "fake/labels").data;
      own.add(outputOf(evaluated.outputs, "disc/probabilities"), labels, corrupted.candidates, batch);
      sequences += rows;
    }
  } finally {
    loader.close();
  }
  const interval = intervalOf(fixed, recipe);
  const fakeRate = interval.positives / fixed.count;
  return {
    tokens: fixed.count,
    sequences,
    generator: {
      maskedTokens: masked.weight,
      loss: masked.loss / masked.weight,
      unigramLoss: unigramCrossEntropy({ trainCounts, counts: masked.targets }),
      accuracy: masked.correct / masked.weight,
    },
    discriminator: {
      auc: interval.auc,
      lower: interval.lower,
      upper: interval.upper,
      candidates: fixed.count,
      fakeRate,
      loss: fixed.loss / fixed.count,
      baselineLoss: binaryEntropy(fakeRate),
      aucOwnGenerator: rankAuc(own),
    },
  };
}

function intervalOf(scores: TokenScores, recipe: QuickstartRecipe["evaluation"]): BootstrapAuc {
  const interval = bootstrapAuc({
    scores: scores.scores,
    labels: scores.labels,
    groups: scores.groups,
    resamples: recipe.resamples,
    seed: recipe.seed,
  });
  if (interval === null) {
    throw new ElectraError(
      "ERR_ELECTRA_MEASURE",
      "the held-out text is too short to corrupt any of its words",
      {
        hint: "Give more text: one in ten files is held out.",
      },
    );
  }
  return interval;
}

/** Sums over masked slots. */
class MaskedSums {
  loss = 0;
  weight = 0;
  correct = 0;
  readonly targets: Float64Array;

  constructor(vocabSize: number) {
    this.targets = new Float64Array(vocabSize);
  }

  add({ outputs }: StepResult): void {
    const weights = outputOf(outputs, "masked/weights").data;
    const targets = outputOf(outputs, "masked/targets").data;
    const losses = outputOf(outputs, "mlm/loss").data;
    const predictions = outputOf(outputs, "mlm/predictions").data;
    for (let slot = 0; slot < weights.length; slot++) {
      if (weights[slot] === 0) continue;
      this.weight++;
      this.loss += losses[slot]!;
      this.targets[targets[slot]!]!++;
      if (predictions[slot] === targets[slot]) this.correct++;
    }
  }
}

/** Scores and classes of tokens, and the sequence that each belongs to. */
class TokenScores {
  readonly scores: number[] = [];
  readonly labels: number[] = [];
  readonly groups: number[] = [];
  loss = 0;

  get count(): number {
    return this.scores.length;
  }

  add(
    probabilities: OutputArray,
    labels: ArrayLike<number>,
    candidates: Uint8Array,
    batch: { readonly rows: number; readonly length: number; readonly firstRow: number },
  ): void {
    const { data } = probabilities;
    // The engine answers in rows of its own padded length.
    const pitch = data.length / batch.rows;
    const labelPitch = labels.length / batch.rows;
    for (let row = 0; row < batch.rows; row++) {
      for (let i = 0; i < batch.length; i++) {
        if (candidates[row * batch.length + i] !== 1) continue;
        const score = data[row * pitch + i]!;
        const label = labels[row * labelPitch + i]!;
        this.scores.push(score);
        this.labels.push(label);
        this.groups.push(batch.firstRow + row);
        this.loss -= Math.log(Math.max(label === 1 ? score : 1 - score, Number.MIN_VALUE));
      }
    }
  }
}

function outputOf(outputs: StepResult["outputs"], name: string): OutputArray {
  const output = outputs[name];
  if (output === undefined) throw new ElectraError("ERR_ELECTRA_OUTPUT", `the engine returned no "${name}"`);
  return output;
}
