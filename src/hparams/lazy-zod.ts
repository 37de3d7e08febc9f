import { createRequire } from "node:module";
import type { z } from "zod";

/** A value that is made when it is asked for the first time. */
export function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/**
 * zod, loaded when a schema is needed for the first time. Its hundred files took a third of the time that importing the
 * library took, for programs that mostly never check an hparam; and an `import` would load them at once, or make everything
 * that checks something asynchronous.
 */
export const zod: () => typeof z = once(
  () => (createRequire(import.meta.url)("zod") as { readonly z: typeof z }).z,
);
