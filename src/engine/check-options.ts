import { ElectraError } from "../errors.js";

/** Refuses what is no whole number below 2^53. @throws ElectraError `ERR_ELECTRA_ARGUMENT` */
export function checkCounter(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `${name} is ${value}; it must be a whole number below 2^53.`,
    {
      exitCode: 2,
    },
  );
}

/** Steps are 32-bit counters of the random draws. @throws ElectraError `ERR_ELECTRA_ARGUMENT` */
export function checkStep(step: number): void {
  if (Number.isInteger(step) && step >= 0 && step < 2 ** 32) return;
  throw new ElectraError("ERR_ELECTRA_ARGUMENT", `step is ${step}; it must be a whole number below 2^32.`);
}

/** @throws ElectraError `ERR_ELECTRA_ARGUMENT` */
export function checkLearningRate(learningRate: number): void {
  if (Number.isFinite(learningRate)) return;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `learningRate is ${learningRate}; it must be a finite number.`,
  );
}
