import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../package-root.js";
import { loadBinding } from "./binding.js";
import type { CudaDevice } from "./native-types.js";

export interface CudaReport {
  readonly devices: readonly CudaDevice[];
  /** Why there are none; undefined where there are some. */
  readonly reason: string | undefined;
}

/**
 * The GPUs that the CUDA library of this build can use, found by running a kernel on each. Blocks while CUDA starts.
 *
 * @throws ElectraError when the addon cannot be loaded
 */
export function listCudaDevices(): CudaReport {
  const path = join(packageRoot, "build", "Release", "electra_cuda.so");
  if (!existsSync(path)) {
    return {
      devices: [],
      reason: "this build has no CUDA library (ELECTRA_CUDA=ON npx electra-native build makes it)",
    };
  }
  const { devices, reason } = loadBinding().cudaDevices(path);
  return { devices, reason: reason ?? (devices.length === 0 ? "CUDA found no device" : undefined) };
}
