import type { CudaReport } from "../../engine/cuda-devices.js";
import type { Finding } from "./finding.js";

const NAME = "GPU";

/** What the CUDA library finds, a line for each GPU, and what multiplies matrices on the first that can be used. */
export async function examineCuda(): Promise<Finding[]> {
  try {
    const { listCudaDevices } = await import("../../engine/cuda-devices.js");
    const report = listCudaDevices();
    const first = report.devices.findIndex(({ usable }) => usable);
    return [...gpuFindings(report), ...(first < 0 ? [] : [await examineProducts(first)])];
  } catch (error) {
    // The engine's own finding has said already that the addon does not load.
    return [
      { name: NAME, status: "warn", detail: `not examined: ${(error as Error).message.split("\n")[0]}` },
    ];
  }
}

/** Exported for tests: what is said of the GPUs that were found, or of why there are none. */
export function gpuFindings({ devices, reason, remedy }: CudaReport): Finding[] {
  if (reason !== undefined) {
    const detail = `none usable: ${reason}`;
    return [{ name: NAME, status: "warn", detail, ...(remedy === undefined ? {} : { remedy }) }];
  }
  return devices.map((device, ordinal) => {
    const memory = `${(device.freeMemory / 2 ** 30).toFixed(1)} of ${(device.totalMemory / 2 ** 30).toFixed(1)} GiB free`;
    const detail = `cuda:${ordinal} ${device.name}, compute capability ${device.computeCapability}, ${memory}`;
    if (Number(device.computeCapability) < 8) {
      const remedy =
        "the kernels need compute capability 8.0 (Ampere, 2020) or newer; take another GPU or the CPU";
      return { name: NAME, status: "warn", detail: `${detail}; too old`, remedy };
    }
    if (device.usable) return { name: NAME, status: "ok", detail };
    return {
      name: NAME,
      status: "warn",
      detail: `${detail}; it does not run kernels: ${device.reason}`,
      remedy:
        "another program may hold it alone (nvidia-smi), or the CUDA library lacks code for it: ELECTRA_CUDA=ON npx electra-native build",
    };
  });
}

/** Makes the operators of one GPU, as a run would, and says what they multiply with. */
async function examineProducts(ordinal: number): Promise<Finding> {
  const name = "GPU products";
  const { Kernels } = await import("../../engine/kernels.js");
  try {
    await using kernels = await Kernels.create({ device: `cuda:${ordinal}` });
    const { gemm, isa, warnings } = kernels.info;
    const missing = warnings.find(({ code }) => code === "no_cublaslt");
    const detail = `${gemm} on cuda:${ordinal}, ${isa}`;
    return missing === undefined
      ? { name, status: "ok", detail }
      : { name, status: "warn", detail, remedy: missing.hint };
  } catch (error) {
    const { message, hint } = error as Error & { readonly hint?: string };
    return { name, status: "warn", detail: message, ...(hint === undefined ? {} : { remedy: hint }) };
  }
}
