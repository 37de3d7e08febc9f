import { hparamInfo } from "./hparam-field.js";
import {
  type PretrainingHparamName,
  pretrainingHparamNames,
  pretrainingSchema,
} from "./pretraining-schema.js";

/** One line of the help. */
export interface HparamHelp {
  readonly name: PretrainingHparamName;
  readonly group: string;
  /** Completes "must be …". */
  readonly expects: string;
  /** Absent for places, whose default follows from data folder and model name. */
  readonly default?: unknown;
  readonly help: string;
}

/** All hparams of pre-training with group, type, default and help, for `--help` and the docs. */
export function pretrainingHparamTable(): readonly HparamHelp[] {
  const defaults: Readonly<Record<string, unknown>> = pretrainingSchema().parse({});
  return pretrainingHparamNames().map((name) => {
    const field = pretrainingSchema().shape[name];
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
