import type { OperatorTime } from "../../engine/types.js";
import { percent } from "./bench-figures.js";

/** Seconds of all operators together. */
export function operatorSeconds(operators: readonly OperatorTime[]): number {
  return operators.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** A line an operator and shape, for one of the steps they were timed in. */
export function formatOperators(operators: readonly OperatorTime[], steps: number): string {
  const total = operatorSeconds(operators);
  const header = formatColumns(["operator", "shape", "calls", "ms", "share", "GFLOP/s"]);
  const lines = operators.map(({ operator, shape, calls, seconds, flop }) =>
    formatColumns([
      operator,
      shape,
      (calls / steps).toFixed(Number.isInteger(calls / steps) ? 0 : 1),
      ((1000 * seconds) / steps).toFixed(2),
      percent(seconds / total),
      flop === 0 ? "-" : (flop / seconds / 1e9).toFixed(1),
    ]),
  );
  return [header, ...lines].join("\n");
}

function formatColumns([name, shape, ...numbers]: readonly string[]): string {
  return [
    name!.padEnd(33),
    shape!.padEnd(30),
    ...numbers.map((text, index) => text.padStart([7, 9, 8, 9][index]!)),
  ].join(" ");
}
