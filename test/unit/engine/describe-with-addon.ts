import { describe } from "vitest";
import { loadBinding } from "../../../src/engine/binding.js";

function reasonForSkipping(): string | undefined {
  try {
    loadBinding();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const reason = reasonForSkipping();

/** `describe` for tests that need the built addon: skipped, with the loader's own words, where it cannot be loaded. */
export const describeWithAddon: (name: string, body: () => void) => void =
  reason === undefined
    ? (name, body) => describe(name, body)
    : (name, body) => describe.skip(`${name} (skipped: ${reason})`, body);
