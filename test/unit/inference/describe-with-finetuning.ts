import { describe } from "vitest";
import { loadBinding } from "../../../src/engine/binding.js";
import type { OpenFinetunedOptions } from "../../../src/inference/finetuned-model.js";
import { NaiveEngine } from "./naive-engine.js";

/** Why the native engine cannot be tested here; undefined if it can. */
export const noNativeEngine = ((): string | undefined => {
  try {
    const binding = loadBinding() as { readonly FinetuningSession?: unknown };
    return binding.FinetuningSession === undefined
      ? "the addon has no FinetuningSession: build it again"
      : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
})();

/** Opens models with the native engine, on one thread, or with the naive one. */
const engines: readonly (readonly [
  name: string,
  options: OpenFinetunedOptions,
  reason: string | undefined,
])[] = [
  ["naive", { createEngine: async ({ model }) => new NaiveEngine(model, 0) }, undefined],
  ["native", { device: "cpu", threads: 1 }, noNativeEngine],
];

/** The same tests with the naive engine, which always works, and with the native one. */
export function describeWithEngines(
  name: string,
  body: (options: OpenFinetunedOptions, engine: string) => void,
): void {
  for (const [engine, options, reason] of engines) {
    if (reason === undefined) describe(`${name} (${engine} engine)`, () => body(options, engine));
    else describe.skip(`${name} (${engine} engine; skipped: ${reason})`, () => body(options, engine));
  }
}
