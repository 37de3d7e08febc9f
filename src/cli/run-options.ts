import { type Command, Option } from "commander";
import { parseNonNegativeInteger, parsePositiveInteger } from "./option-parsers.js";

/** Options of every command that runs a model. */
export interface RunOptions {
  readonly device: "auto" | "cpu" | "cuda";
  readonly precision: "auto" | "f32" | "bf16";
  /** Undefined: as many as the machine offers. */
  readonly threads?: number;
  readonly seed?: number;
  readonly json?: boolean;
}

export function addRunOptions(command: Command): Command {
  return command
    .optionsGroup("Machine:")
    .addOption(
      new Option("--device <name>", "where to run: auto takes a GPU if there is a usable one")
        .choices(["auto", "cpu", "cuda"])
        .default("auto")
        .env("ELECTRA_DEVICE"),
    )
    .addOption(
      new Option("--precision <name>", "arithmetic: auto is bf16 on a GPU and f32 on the CPU")
        .choices(["auto", "f32", "bf16"])
        .default("auto"),
    )
    .addOption(
      new Option("--threads <n>", "threads of the CPU's operators (default: all)").argParser(
        parsePositiveInteger,
      ),
    )
    .option("--seed <n>", "seed of every random choice", parseNonNegativeInteger)
    .addOption(jsonOption());
}

/** `--json`, for commands that run no model. Its effect is in `Output`. */
export function jsonOption(): Option {
  return new Option("--json", "print one JSON document to stdout");
}
