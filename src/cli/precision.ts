import { ElectraError } from "../errors.js";

/** This build computes in f32 on the CPU; asking for less precision is answered, not ignored. */
export function refusePrecision(precision: "auto" | "f32" | "bf16"): void {
  if (precision !== "bf16") return;
  throw new ElectraError("ERR_ELECTRA_PRECISION", "bf16 needs a GPU; the CPU computes in f32", {
    hint: "Leave --precision away.",
    exitCode: 2,
  });
}
