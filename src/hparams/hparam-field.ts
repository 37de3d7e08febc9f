import type { z } from "zod";
import { once, zod } from "./lazy-zod.js";

/** What a person needs to know about a setting beside its type and help text. */
export interface HparamInfo {
  /** Completes "must be …" in an error message. */
  readonly expects: string;
  /** Heading under which the setting is listed. */
  readonly group: string;
}

/** Kept apart from zod's global registry so that it does not leak into the JSON Schema. */
export const hparamInfo = once(() => zod().registry<HparamInfo>());

interface FieldOptions<Value> {
  readonly default: Value;
  readonly expects: string;
  readonly help: string;
}

/** Makes the fields of one group of settings. */
export function fieldsOf(group: string) {
  const z = zod();

  function field<Schema extends z.ZodType>(schema: Schema, options: FieldOptions<z.output<Schema>>) {
    const { default: value, expects, help } = options;
    const made = schema.default(value as never).describe(help);
    hparamInfo().add(made, { expects, group });
    return made;
  }

  return {
    field,

    boolean: (value: boolean, help: string) =>
      field(booleanLike(), { default: value, expects: "true or false (or 1, 0)", help }),

    integer: (value: number, min: number, help: string) =>
      field(z.int().min(min), { default: value, expects: `an integer of at least ${min}`, help }),

    /** A finite number >= 0. */
    number: (value: number, help: string) =>
      field(z.number().min(0), { default: value, expects: "a number of at least 0", help }),

    /** A finite number > 0. */
    positive: (value: number, help: string) =>
      field(z.number().positive(), { default: value, expects: "a number greater than 0", help }),

    /** A number strictly between 0 and 1. */
    share: (value: number, help: string) =>
      field(z.number().gt(0).lt(1), {
        default: value,
        expects: "a number between 0 and 1 (both excluded)",
        help,
      }),

    choice: <const Names extends readonly [string, ...string[]]>(
      names: Names,
      value: Names[number],
      help: string,
    ) =>
      field(z.enum(names), {
        default: value,
        expects: `one of ${names.map(quote).join(", ")}`,
        help,
      } as never),

    text: (value: string | null, help: string) =>
      field(z.string().nullable(), { default: value, expects: "a text or null", help }),

    /** A place whose default follows from the data folder and the model's name. */
    path: (where: string, help: string) =>
      z
        .string()
        .min(1)
        .optional()
        .describe(`${help} Default: ${where}.`)
        .register(hparamInfo(), { expects: "a path (non-empty text)", group }),
  };
}

/** The reference's command lines and Python dictionaries write booleans in all of these ways. */
const booleanLike = once(() => {
  const z = zod();
  return z
    .union([z.boolean(), z.literal([0, 1]), z.enum(["true", "false", "True", "False", "1", "0"])])
    .transform((value) => value === true || value === 1 || /^(true|1)$/i.test(String(value)));
});

function quote(text: string): string {
  return `"${text}"`;
}
