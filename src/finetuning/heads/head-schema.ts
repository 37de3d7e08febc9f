import type { z } from "zod";
import { taskName } from "../../hparams/finetuning-schema.js";
import { once, zod } from "../../hparams/lazy-zod.js";
import type { TaskHead } from "../task.js";

/** A task of a saved model, and what it may say of its head. */
export const savedTaskSchema = once(() => {
  const z = zod();
  const labels = z
    .array(z.string())
    .min(1)
    .refine((names) => new Set(names).size === names.length, "a label is there twice");

  const headSchema = z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("classification"), labels }),
    z.object({ kind: z.literal("multi-label"), labels }),
    z.object({ kind: z.literal("regression"), minimum: z.number(), maximum: z.number() }),
    z.object({ kind: z.literal("tagging"), labels }),
    z.object({
      kind: z.literal("span"),
      jointPrediction: z.boolean(),
      answerableClassifier: z.boolean(),
      answerableUsesStartLogits: z.boolean(),
      answerableWeight: z.number(),
      beamSize: z.int().min(1),
    }),
  ]) satisfies z.ZodType<TaskHead>;

  return z.object({ name: taskName(), head: headSchema });
});
