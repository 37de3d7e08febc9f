import { type Command, InvalidArgumentError, Option } from "commander";
import { deviceNames, isDeviceChoice } from "../engine/device-choice.js";
import type { BackendSettings, DeviceChoice, PrecisionChoice } from "../engine/types.js";
import { parseNonNegativeInteger, parsePositiveInteger } from "./option-parsers.js";

/** Options of every command that runs a model. What is undefined the engine decides. */
export interface RunOptions {
  readonly device?: DeviceChoice;
  readonly precision?: PrecisionChoice;
  readonly threads?: number;
  readonly seed?: number;
  readonly json?: boolean;
}

export function addRunOptions(command: Command): Command {
  return command
    .optionsGroup("Machine:")
    .addOption(
      new Option(
        "--device <name>",
        "where to run: cpu; cuda, or cuda:N for GPU number N; auto takes a GPU if one can be used, else the CPU, and says why " +
          "(default: ELECTRA_DEVICE, else auto)",
      ).argParser(parseDevice),
    )
    .addOption(
      new Option(
        "--precision <name>",
        "type of activations and matrix products; auto is bf16 on a GPU and f32 on the CPU, which has nothing else " +
          "(default: ELECTRA_PRECISION, else auto)",
      ).choices(["auto", "f32", "bf16"]),
    )
    .addOption(
      new Option("--threads <n>", "threads of the CPU's operators (default: all)").argParser(
        parsePositiveInteger,
      ),
    )
    .option("--seed <n>", "seed of every random choice", parseNonNegativeInteger)
    .addOption(jsonOption());
}

/** The part of the options that says on what to run. */
export function machineOf({ device, precision, threads }: RunOptions): BackendSettings {
  return {
    ...(device === undefined ? {} : { device }),
    ...(precision === undefined ? {} : { precision }),
    ...(threads === undefined ? {} : { threads }),
  };
}

/** `--json`, for commands that run no model. Its effect is in `Output`. */
export function jsonOption(): Option {
  return new Option("--json", "print one JSON document to stdout");
}

function parseDevice(text: string): DeviceChoice {
  if (isDeviceChoice(text)) return text;
  throw new InvalidArgumentError(`Give ${deviceNames}.`);
}
