import type { EngineInfo } from "../engine/types.js";
import type { Output } from "./output.js";

/** The first line of a run: what it computes on. */
export function machineLine({ device, gemm, isa, threads, precision }: EngineInfo): string {
  const workers = device === "cpu" ? `, ${threads} thread${threads === 1 ? "" : "s"}` : "";
  return `device ${device}, GEMM ${gemm}, ISA ${isa}${workers}, ${precision}`;
}

/** Says on what a command runs, and whatever a person should know about that. */
export function announceMachine(output: Output, info: EngineInfo): void {
  output.talk(machineLine(info));
  for (const { message, hint } of info.warnings) output.warn(message, hint);
}
