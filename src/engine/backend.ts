import { ElectraError } from "../errors.js";
import { resolveCpuSettings } from "./cpu-settings.js";
import { findCudaLibrary, missingCudaLibrary, seesNvidiaGpu } from "./cuda-library.js";
import { resolveDeviceChoice, resolvePrecisionChoice } from "./device-choice.js";
import type { NativeBackendOptions, NativeDeviceInfo } from "./native-types.js";
import type { BackendSettings, EngineInfo, EngineWarning } from "./types.js";

/** What was opened, and what its user should be told once. */
export interface OpenedBackend<T> {
  readonly opened: T;
  readonly warnings: readonly EngineWarning[];
}

/**
 * Opens something on the device that the settings ask for. `auto` tries a GPU where there is a library for it; whether one
 * can be used shows by using it, on the engine's own thread, so that nothing blocks meanwhile.
 *
 * @param open makes the native session; rejects with `ERR_ELECTRA_NO_CUDA` when the GPU cannot be had
 * @throws ElectraError `ERR_ELECTRA_NO_CUDA` for a GPU that was asked for by name, `ERR_ELECTRA_PRECISION` for bf16 on the
 * CPU, `ERR_ELECTRA_ARGUMENT` for settings that make no sense, and whatever `open` rejects with
 */
export async function openBackend<T>(
  settings: BackendSettings,
  open: (options: NativeBackendOptions) => Promise<T>,
): Promise<OpenedBackend<T>> {
  const device = resolveDeviceChoice(settings.device);
  const precision = resolvePrecisionChoice(settings.precision);
  const cpu = resolveCpuSettings(settings);
  const openCpu = () => open({ device: "cpu", ...cpu, precision: "float32" });

  if (device === "cpu") {
    if (precision === "bf16") throw bf16WithoutGpu();
    return { opened: await openCpu(), warnings: [] };
  }
  const library = findCudaLibrary(device === "emulated");
  const openGpu = () =>
    open({
      device: "cuda",
      ...cpu,
      library: library.path,
      emulated: library.emulated,
      ordinal: device.startsWith("cuda:") ? Number(device.slice("cuda:".length)) : -1,
      precision: precision === "f32" ? "float32" : "bfloat16",
    });
  if (device !== "auto") {
    if (!library.exists) throw missingCudaLibrary(library);
    return { opened: await openGpu(), warnings: [] };
  }

  let reason: ElectraError | undefined;
  if (library.exists) {
    try {
      return { opened: await openGpu(), warnings: [] };
    } catch (error) {
      // A model that does not fit into the GPU's memory, say, is not made a hundred times slower without a word.
      if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_NO_CUDA") throw error;
      reason = error;
    }
  } else if (seesNvidiaGpu()) {
    reason = missingCudaLibrary(library);
  }
  // A machine without a GPU, and a build without the library for one: nothing that anybody would have to be told.
  if (precision === "bf16") throw bf16WithoutGpu(reason);
  return { opened: await openCpu(), warnings: reason === undefined ? [] : [cpuInstead(reason)] };
}

/** The engine's own description, with what its user should know about the device. */
export function describeBackend(
  info: NativeDeviceInfo,
  version: string,
  warnings: readonly EngineWarning[],
): EngineInfo {
  const missing = /^built-in \((.+)\)$/.exec(info.gemm)?.[1];
  const onGpu = info.device.startsWith("cuda:") && !info.device.endsWith(" emulated");
  return {
    ...info,
    version,
    warnings: onGpu && missing !== undefined ? [...warnings, withoutCublaslt(missing)] : warnings,
  };
}

function cpuInstead({ message, hint }: ElectraError): EngineWarning {
  return {
    code: "cpu_instead_of_gpu",
    message: `computing on the CPU: ${message}`,
    hint: hint ?? "npx electra-native doctor examines this machine.",
  };
}

function withoutCublaslt(reason: string): EngineWarning {
  return {
    code: "no_cublaslt",
    message: `matrix products run on the built-in kernels: ${reason}`,
    hint: "NVIDIA's cuBLASLt is faster. Install the CUDA toolkit's libcublas, or name the file: ELECTRA_CUBLASLT=/path/to/libcublasLt.so.13",
  };
}

function bf16WithoutGpu(reason?: ElectraError): ElectraError {
  return new ElectraError(
    "ERR_ELECTRA_PRECISION",
    `bf16 needs a GPU; the CPU computes in f32${reason === undefined ? "" : `. No GPU can be used: ${reason.message}`}`,
    {
      hint: reason?.hint ?? "Choose the precision f32 or auto.",
      exitCode: 2,
      ...(reason === undefined ? {} : { cause: reason }),
    },
  );
}
