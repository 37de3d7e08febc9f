import type { OpenModelOptions } from "../inference/pretrained-model.js";
import { ElectricScorer } from "./electric-scorer.js";
import { MaskedLmScorer } from "./masked-lm-scorer.js";
import type { TextScorer } from "./text-scorer.js";

export interface OpenTextScorerOptions extends OpenModelOptions {
  /** Default `electric`. */
  readonly method?: ScoringMethod;
}

/** Electric's energies, or the pseudo-log-likelihood of a masked language model, plain or left to right in a word. */
export type ScoringMethod = "electric" | "masked-lm" | "masked-lm-within-word";

/** A scorer and what its user should know before trusting it. */
export interface OpenedTextScorer {
  readonly scorer: TextScorer;
  readonly warning?: string;
}

/** Opens the scorer for a method. */
export async function openTextScorer(
  path: string,
  options: OpenTextScorerOptions = {},
): Promise<OpenedTextScorer> {
  const { method = "electric", ...opening } = options;
  if (method !== "electric") {
    const withinWordLeftToRight = method === "masked-lm-within-word";
    return { scorer: await MaskedLmScorer.open(path, { ...opening, withinWordLeftToRight }) };
  }
  const scorer = await ElectricScorer.open(path, opening);
  if (scorer.trainedAs === "electric") return { scorer };
  return {
    scorer,
    warning: `${path} does not say how it was trained: unless with electric_objective, its scores mean nothing`,
  };
}
