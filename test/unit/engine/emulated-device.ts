import { describe } from "vitest";
import { findCudaLibrary } from "../../../src/engine/cuda-library.js";
import { describeWithAddon } from "./describe-with-addon.js";

const { path, exists } = findCudaLibrary(true);

/** `describe` for tests of the CUDA backend on its emulator: skipped, with the reason, where that is not built. */
export const describeOnEmulator: (name: string, body: () => void) => void = exists
  ? describeWithAddon
  : (name, body) =>
      describe.skip(`${name} (skipped: no ${path}; npm run test:emulated -- --build-only)`, body);
