import type { Command } from "commander";
import type { ScoringMethod } from "../electric/open-text-scorer.js";

/** Options of every command that scores text. */
export interface ScoringOptions {
  readonly model?: string;
  readonly maskedLm?: boolean;
  readonly withinWord?: boolean;
}

export function addScoringOptions(command: Command): Command {
  return command
    .option("--model <folder>", "run, checkpoint or Hugging Face folder, trained with electric_objective")
    .option("--masked-lm", "score with the masked language model of --model, a pass for every token")
    .option("--within-word", "the same, with the later pieces of a token's word masked too");
}

export function scoringMethod({ withinWord, maskedLm }: ScoringOptions): ScoringMethod {
  if (withinWord) return "masked-lm-within-word";
  return maskedLm ? "masked-lm" : "electric";
}

/** The options that name this method, each with a space before it, for a command to type next. */
export function scoringFlags({ withinWord, maskedLm }: ScoringOptions): string {
  if (withinWord) return " --within-word";
  return maskedLm ? " --masked-lm" : "";
}
