import { type QuickstartRecipe, quickstartRecipe } from "../quickstart/recipe.js";

/** All numbers of the ranking benchmark, so that what was measured and what is run cannot drift apart. */
export interface ElectricRankingRecipe {
  readonly data: QuickstartRecipe["data"];
  readonly training: {
    /** Common to both models. */
    readonly hparams: Readonly<Record<string, unknown>>;
    readonly electric: Readonly<Record<string, unknown>>;
    readonly maskedLm: Readonly<Record<string, unknown>>;
    readonly steps: number;
    /** Share of the steps in which the rate rises. */
    readonly warmup: number;
  };
  readonly sentences: {
    /** Taken evenly from all that are suitable. */
    readonly most: number;
    readonly fewestWords: number;
    readonly mostWords: number;
    /** Of these the masked language model scores so many, a pass for every token. */
    readonly maskedLm: number;
    readonly seed: number;
  };
  /** For each of the two changes. */
  readonly bars: {
    readonly fewestPairs: number;
    /** Which the lower end of the 95 % interval has to exceed, as it has to exceed the upper end of the unigram scorer's. */
    readonly lower: number;
  };
}

// A masked language model is its own generator.
const { gen_weight, generator_hidden_size, generator_layers, ...shared } = quickstartRecipe.training.hparams;

/** The recipe; what it reaches is told in docs/electric.md. */
export const electricRankingRecipe: ElectricRankingRecipe = {
  data: quickstartRecipe.data,
  training: {
    hparams: shared,
    electric: {
      electra_objective: false,
      electric_objective: true,
      // As in the quickstart: at first the noise is hardly more than a draw by frequency, and there is something to learn from it.
      gen_weight,
      generator_hidden_size,
      generator_layers,
      // Twice the usual share: more words of a sentence to tell from noise.
      mask_prob: 0.3,
    },
    maskedLm: { electra_objective: false },
    steps: 3000,
    warmup: 0.05,
  },
  sentences: { most: 3000, fewestWords: 8, mostWords: 40, maskedLm: 1000, seed: 1 },
  bars: { fewestPairs: 2000, lower: 0.55 },
};
