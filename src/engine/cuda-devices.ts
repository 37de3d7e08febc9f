import { loadBinding } from "./binding.js";
import { findCudaLibrary, missingCudaLibrary } from "./cuda-library.js";
import { splitRemedy } from "./native-failure.js";
import type { CudaDevice } from "./native-types.js";

export interface CudaReport {
  readonly devices: readonly CudaDevice[];
  /** Why there are none; undefined where there are some. */
  readonly reason: string | undefined;
  /** What to do about the reason. */
  readonly remedy: string | undefined;
}

/**
 * The GPUs that the CUDA library of this build can use, found by running a kernel on each. Blocks while CUDA starts.
 *
 * @throws ElectraError when the addon cannot be loaded
 */
export function listCudaDevices(): CudaReport {
  const library = findCudaLibrary(false);
  if (!library.exists) {
    const { message, hint } = missingCudaLibrary(library);
    return { devices: [], reason: message, remedy: hint };
  }
  const { devices, reason } = loadBinding().cudaDevices(library.path, library.emulated);
  if (reason === null) return { devices, reason: undefined, remedy: undefined };
  const [message, remedy] = splitRemedy(reason);
  return { devices, reason: message, remedy };
}
