import { zod } from "./lazy-zod.js";
import { pretrainingSchema } from "./pretraining-schema.js";

/** JSON Schema (draft 2020-12) of an `--hparams` file, for editors (`"$schema"`) and for checking. */
export function pretrainingJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = zod().toJSONSchema(pretrainingSchema(), { io: "input" });
  // zod leaves out the defaults of converted types, our booleans.
  const defaults: Readonly<Record<string, unknown>> = pretrainingSchema().parse({});
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => [
    name,
    typeof property === "object" && name in defaults ? { ...property, default: defaults[name] } : property,
  ]);
  return {
    ...schema,
    title: "Hyper-parameters of electra-native pretrain",
    properties: { $schema: { type: "string" }, ...Object.fromEntries(properties) },
  };
}
