import { ElectraError } from "../errors.js";
import type { DeviceChoice, PrecisionChoice } from "./types.js";

/** What `device` may be, for messages. */
export const deviceNames = "auto, cpu, cuda, or cuda:N for GPU number N";

const precisions: readonly PrecisionChoice[] = ["auto", "f32", "bf16"];

/** Whether a text names a device. `emulated` is one for tests: the CUDA backend on the CPU. */
export function isDeviceChoice(text: string): text is DeviceChoice {
  return ["auto", "cpu", "cuda", "emulated"].includes(text) || /^cuda:\d{1,3}$/.test(text);
}

/**
 * The device asked for: by the caller, else by the variable `ELECTRA_DEVICE`, else `auto`.
 *
 * @throws ElectraError `ERR_ELECTRA_ARGUMENT`, exit code 2
 */
export function resolveDeviceChoice(given: DeviceChoice | undefined): DeviceChoice {
  const { value, origin } = givenOrDefault("device", given, "ELECTRA_DEVICE");
  if (isDeviceChoice(value)) return value;
  throw new ElectraError("ERR_ELECTRA_ARGUMENT", `${origin} is "${value}"; it must be ${deviceNames}.`, {
    exitCode: 2,
  });
}

/** The same for the precision, with the variable `ELECTRA_PRECISION`. */
export function resolvePrecisionChoice(given: PrecisionChoice | undefined): PrecisionChoice {
  const { value, origin } = givenOrDefault("precision", given, "ELECTRA_PRECISION");
  const found = precisions.find((precision) => precision === value);
  if (found !== undefined) return found;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `${origin} is "${value}"; it must be one of: ${precisions.join(", ")}.`,
    { exitCode: 2 },
  );
}

function givenOrDefault(
  name: string,
  given: string | undefined,
  variable: string,
): { readonly value: string; readonly origin: string } {
  if (given !== undefined) return { value: given, origin: name };
  const value = process.env[variable];
  // Set to nothing is not set.
  return value ? { value, origin: variable } : { value: "auto", origin: name };
}
