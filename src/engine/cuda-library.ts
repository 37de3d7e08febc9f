import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { ElectraError } from "../errors.js";
import { packageRoot } from "../package-root.js";

/** A CUDA library: the one for GPUs, or the same sources compiled for the CPU, on which tests run. */
export interface CudaLibraryFile {
  readonly path: string;
  readonly emulated: boolean;
  readonly exists: boolean;
}

/** Where the CUDA library lies. `ELECTRA_CUDA_LIBRARY` and `ELECTRA_CUDA_EMULATED_LIBRARY` name other places. */
export function findCudaLibrary(emulated: boolean): CudaLibraryFile {
  const place = emulated
    ? (process.env["ELECTRA_CUDA_EMULATED_LIBRARY"] ?? join("build", "emulated", "electra_cuda_emulated.so"))
    : (process.env["ELECTRA_CUDA_LIBRARY"] ?? join("build", "Release", "electra_cuda.so"));
  const path = resolve(packageRoot, place);
  return { path, emulated, exists: existsSync(path) };
}

/** What to tell somebody who wants a GPU when there is no library for it. */
export function missingCudaLibrary({ path, emulated }: CudaLibraryFile): ElectraError {
  return new ElectraError(
    "ERR_ELECTRA_NO_CUDA",
    emulated ? `there is no emulated CUDA library at ${path}` : `this build has no CUDA library (${path})`,
    {
      hint: emulated
        ? "It is for tests: npm run test:emulated -- --build-only makes it."
        : "Build it where NVIDIA's compiler nvcc is on PATH: ELECTRA_CUDA=ON npx electra-native build. Or run on the CPU.",
    },
  );
}

/** Whether this process sees an NVIDIA GPU: looked up, so that machines without one pay nothing for the question. */
export function seesNvidiaGpu(): boolean {
  // The driver's control device; under WSL the GPU comes through another one.
  return existsSync("/dev/nvidiactl") || existsSync("/dev/dxg");
}
