import { finetuningSchema } from "./finetuning-schema.js";
import { zod } from "./lazy-zod.js";

/** JSON Schema (draft 2020-12) of an `--hparams` file of `finetune`, for editors (`"$schema"`) and for checking. */
export function finetuningJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = zod().toJSONSchema(finetuningSchema(), { io: "input" });
  // zod leaves out the defaults of converted types, our booleans.
  const defaults: Readonly<Record<string, unknown>> = finetuningSchema().parse({});
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => [
    name,
    typeof property === "object" && defaults[name] !== undefined
      ? { ...property, default: defaults[name] }
      : property,
  ]);
  return {
    ...schema,
    title: "Hyper-parameters of electra-native finetune",
    properties: { $schema: { type: "string" }, ...Object.fromEntries(properties) },
  };
}
