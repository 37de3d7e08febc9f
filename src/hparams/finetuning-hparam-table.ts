import { modelSizeValues, singleTaskValues } from "./finetuning-presets.js";
import { type FinetuningHparamName, finetuningHparamNames, finetuningSchema } from "./finetuning-schema.js";
import { hparamInfo } from "./hparam-field.js";
import type { HparamHelp } from "./pretraining-hparam-table.js";

/** All hparams of fine-tuning with group, type, default and help, for the docs. */
export function finetuningHparamTable(): readonly (Omit<HparamHelp, "name"> & {
  readonly name: FinetuningHparamName;
})[] {
  const defaults: Readonly<Record<string, unknown>> = finetuningSchema().parse({});
  return finetuningHparamNames().map((name) => {
    const field = finetuningSchema().shape[name];
    const info = hparamInfo().get(field);
    return {
      name,
      group: info?.group ?? "",
      expects: info?.expects ?? "",
      help: field.description ?? "",
      ...(name in defaults ? { default: defaults[name] } : {}),
    };
  });
}

/** Defaults that follow from the one task that is trained, and from the size: what applies, and the values. */
export function finetuningDependentDefaults(): readonly {
  readonly where: string;
  readonly values: Readonly<Record<string, unknown>>;
}[] {
  return [
    { where: "the one task is rte or sts", values: singleTaskValues("rte", false) },
    { where: "the name of the one task contains squad or qa", values: singleTaskValues("squad", false) },
    { where: "the one task is naturalqs, with naturalqs_as_qa", values: singleTaskValues("naturalqs", true) },
    { where: "the one task is chunk", values: singleTaskValues("chunk", false) },
    { where: "model_size is small", values: modelSizeValues("small", false) },
    { where: "model_size is small, with paper_learning_rate", values: modelSizeValues("small", true) },
    { where: "model_size is base, with paper_learning_rate", values: modelSizeValues("base", true) },
    { where: "model_size is large", values: modelSizeValues("large", false) },
    { where: "model_size is large, with paper_learning_rate", values: modelSizeValues("large", true) },
  ];
}
