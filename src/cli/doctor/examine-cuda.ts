import type { Finding } from "./finding.js";

/** What the CUDA library finds, a line for each GPU. The engine does not compute on GPUs yet; this says what it will see. */
export async function examineCuda(): Promise<Finding[]> {
  const name = "GPU";
  try {
    const { listCudaDevices } = await import("../../engine/cuda-devices.js");
    const { devices, reason } = listCudaDevices();
    if (reason !== undefined) return [{ name, status: "warn", detail: `none usable: ${reason}` }];
    return devices.map((device) => {
      const memory = `${(device.freeMemory / 2 ** 30).toFixed(1)} of ${(device.totalMemory / 2 ** 30).toFixed(1)} GiB free`;
      const detail = `${device.name}, compute capability ${device.computeCapability}, ${memory}`;
      return device.usable
        ? ({ name, status: "ok", detail } as const)
        : ({ name, status: "warn", detail: `${detail}; it does not run kernels: ${device.reason}` } as const);
    });
  } catch (error) {
    // The engine's own finding has said already that the addon does not load.
    return [{ name, status: "warn", detail: `not examined: ${(error as Error).message.split("\n")[0]}` }];
  }
}
