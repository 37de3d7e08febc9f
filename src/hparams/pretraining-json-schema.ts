import { z } from "zod";
import { pretrainingSchema } from "./pretraining-schema.js";

/** JSON Schema (draft 2020-12) of an `--hparams` file, for editors (`"$schema"`) and for checking. */
export function pretrainingJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = z.toJSONSchema(pretrainingSchema, { io: "input" });
  return {
    ...schema,
    title: "Hyper-parameters of electra-native pretrain",
    properties: { $schema: { type: "string" }, ...schema.properties },
  };
}
