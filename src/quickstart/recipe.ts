/** All numbers of the quickstart's job, so that what was measured and what is run cannot drift apart. */
export interface QuickstartRecipe {
  readonly data: {
    /** Tokens of the vocabulary, special ones included. */
    readonly vocabSize: number;
    /** Tokens of an example, [CLS] and [SEP] included. */
    readonly maxSeqLength: number;
    /** Every so manieth document is held out, … */
    readonly heldOutEvery: number;
    /** … beginning with this one (from 0). */
    readonly heldOutFirst: number;
    readonly seed: number;
    readonly recordFiles: number;
  };
  readonly training: {
    /** hparams of the run, without the number of steps. */
    readonly hparams: Readonly<Record<string, unknown>>;
    /** Steps of the default job. */
    readonly steps: number;
    /** Share of the steps in which the rate rises. */
    readonly warmup: number;
    /** The default job is cut to about this many seconds of training where the machine is slow, … */
    readonly seconds: number;
    /** … but never below this many steps. */
    readonly fewestSteps: number;
    /** Timed steps, after some that warm caches and clocks, from which the speed is judged. */
    readonly probeSteps: number;
  };
  readonly evaluation: {
    readonly batchSize: number;
    /** Held-out tokens that are enough: larger sets are cut. */
    readonly mostTokens: number;
    /** The bars hold for at least this many real held-out tokens. */
    readonly fewestTokens: number;
    /** Share of the tokens that the fixed corruption redraws. */
    readonly corruptedShare: number;
    readonly seed: number;
    readonly resamples: number;
  };
  /** What has to be reached for "it has learned". */
  readonly bars: {
    /** Nats by which the generator's loss has to be below the unigram cross-entropy. */
    readonly belowUnigram: number;
    /** Which the lower end of the AUC's 95 % interval has to exceed. */
    readonly aucLower: number;
  };
  readonly firstUse: {
    /** Sentences in which words are swapped. */
    readonly sentences: number;
    /** Words of such a sentence. */
    readonly fewestWords: number;
    readonly mostWords: number;
    readonly seed: number;
  };
}

/** The recipe; how it was found is told in docs/quickstart.md. */
export const quickstartRecipe: QuickstartRecipe = {
  data: {
    vocabSize: 2000,
    maxSeqLength: 32,
    heldOutEvery: 10,
    heldOutFirst: 4,
    seed: 1,
    recordFiles: 8,
  },
  training: {
    hparams: {
      model_size: "small",
      model_hparam_overrides: {
        hidden_size: 128,
        num_hidden_layers: 2,
        // Heads of 16: telling whether a word fits its neighbours needs many places to look at.
        num_attention_heads: 8,
        hidden_dropout_prob: 0,
        attention_probs_dropout_prob: 0,
        max_position_embeddings: 128,
        // About 1 / sqrt(width). With the usual 0.02 the discriminator sees hardly more than the word itself at first, and
        // learns nothing in a run as short as this.
        initializer_range: 0.1,
      },
      embedding_size: 128,
      generator_hidden_size: 0.25,
      generator_layers: 0.5,
      // Small enough for Adam's epsilon to slow the generator down: its words stay easy to spot while the discriminator
      // takes its first steps.
      gen_weight: 5e-4,
      learning_rate: 1e-3,
      train_batch_size: 64,
      seed: 1,
    },
    steps: 6000,
    warmup: 0.05,
    seconds: 240,
    fewestSteps: 2000,
    probeSteps: 40,
  },
  evaluation: {
    batchSize: 128,
    mostTokens: 400_000,
    fewestTokens: 200_000,
    corruptedShare: 0.15,
    seed: 1,
    resamples: 1000,
  },
  bars: { belowUnigram: 0.5, aucLower: 0.53 },
  firstUse: { sentences: 200, fewestWords: 12, mostWords: 22, seed: 1 },
};
