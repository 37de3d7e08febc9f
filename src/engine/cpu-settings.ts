import { availableParallelism } from "node:os";
import { ElectraError } from "../errors.js";
import type { CpuSettings, GemmChoice, IsaChoice } from "./types.js";

const gemmChoices: readonly GemmChoice[] = ["auto", "onednn", "built-in"];
const isaChoices: readonly IsaChoice[] = ["auto", "avx512", "avx2", "baseline"];

/** The settings with defaults filled in. @throws ElectraError `ERR_ELECTRA_ARGUMENT`, exit code 2 */
export function resolveCpuSettings(settings: CpuSettings): Required<CpuSettings> {
  const threads = settings.threads ?? availableParallelism();
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new ElectraError(
      "ERR_ELECTRA_ARGUMENT",
      `threads is ${threads}; it must be a whole number from 1 to 1024.`,
      {
        exitCode: 2,
      },
    );
  }
  return {
    threads,
    gemm: choice("gemm", settings.gemm ?? "auto", gemmChoices),
    isa: choice("isa", settings.isa ?? "auto", isaChoices),
  };
}

function choice<T extends string>(name: string, value: T, choices: readonly T[]): T {
  if (choices.includes(value)) return value;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `${name} is "${value}"; it must be one of: ${choices.join(", ")}.`,
    { exitCode: 2 },
  );
}
