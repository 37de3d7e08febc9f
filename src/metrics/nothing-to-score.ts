import { ElectraError } from "../errors.js";

/** The error of a metric over no examples, where the official scripts divide by zero. */
export function nothingToScore(what: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_METRIC", `There are no ${what} to score.`, {
    hint: "Check that the split holds examples and that predictions were made for them.",
  });
}
