import type { z } from "zod";
import { ElectraError } from "../errors.js";
import { hparamInfo } from "./hparam-field.js";
import { modelOverridesSchema } from "./model-overrides-schema.js";
import { nearestNames } from "./nearest-names.js";

/** The hparams of one command. */
export interface HparamFamily<Schema extends z.ZodObject = z.ZodObject> {
  readonly schema: () => Schema;
  /** The command, for hints. */
  readonly command: string;
  /** Names that people try and that are no hparams, with what to do instead. */
  readonly notHparams: Readonly<Record<string, string>>;
}

/**
 * Checks names and types of given hparams against a schema.
 *
 * @param place where they stood, for messages: `--hparams` or a path
 * @returns the values that were given, converted, and only those
 * @throws ElectraError, exit code 2: `ERR_ELECTRA_UNKNOWN_HPARAM`, with the nearest known name, or
 *   `ERR_ELECTRA_BAD_HPARAM`, with the value and what it must be
 */
export function checkGivenHparams<Schema extends z.ZodObject>(
  hparams: Readonly<Record<string, unknown>>,
  place: string,
  family: HparamFamily<Schema>,
): Partial<z.output<Schema>> {
  const parsed = family.schema().safeParse(hparams);
  if (!parsed.success) throw explain(parsed.error.issues, hparams, place, family);
  const given = Object.entries(parsed.data).filter(([name]) => hparams[name] !== undefined);
  return Object.fromEntries(given) as Partial<z.output<Schema>>;
}

function explain(
  issues: readonly z.core.$ZodIssue[],
  hparams: Readonly<Record<string, unknown>>,
  place: string,
  family: HparamFamily,
): ElectraError {
  // A misspelt name first: it is often the reason for the rest.
  const unknown = issues.find((issue) => issue.code === "unrecognized_keys");
  if (unknown !== undefined) {
    return unknownName(unknown.keys[0] ?? "", unknown.path.length > 0, place, family);
  }
  const wrong = issues.map((issue) => describeWrongValue(issue.path, hparams, family));
  return new ElectraError(
    "ERR_ELECTRA_BAD_HPARAM",
    wrong.length === 1
      ? `In ${place}: ${wrong[0]}.`
      : `In ${place}:${wrong.map((line) => `\n  ${line}`).join("")}`,
    {
      hint: "JSON numbers stand without quotes, text in double quotes, and true, false and null in lower case.",
      exitCode: 2,
    },
  );
}

function unknownName(
  name: string,
  inOverrides: boolean,
  place: string,
  { schema, command, notHparams }: HparamFamily,
): ElectraError {
  const names = Object.keys(schema().shape);
  const overrideNames = Object.keys(modelOverridesSchema().shape);
  const known: readonly string[] = inOverrides ? overrideNames : names;
  const where = inOverrides ? `model_hparam_overrides of ${place}` : place;
  const nearest = nearestNames(name, known);
  const elsewhere: readonly string[] = inOverrides ? names : overrideNames;
  let hint = `List all hparams with: electra-native ${command} --help`;
  const refused = inOverrides || !Object.hasOwn(notHparams, name) ? undefined : notHparams[name];
  if (refused !== undefined) hint = refused;
  else if (elsewhere.includes(name)) {
    hint = inOverrides
      ? `"${name}" is an hparam of its own: write it beside model_hparam_overrides.`
      : `Write it inside model_hparam_overrides: {"model_hparam_overrides": {"${name}": …}}.`;
  } else if (nearest.length > 0) hint = `Did you mean ${nearest.map((n) => `"${n}"`).join(" or ")}?`;
  return new ElectraError("ERR_ELECTRA_UNKNOWN_HPARAM", `Unknown hparam "${name}" in ${where}.`, {
    hint,
    exitCode: 2,
  });
}

function describeWrongValue(
  path: readonly PropertyKey[],
  hparams: Readonly<Record<string, unknown>>,
  { schema }: HparamFamily,
): string {
  const names = path.map(String);
  let value: unknown = hparams;
  for (const name of names) value = (value as Readonly<Record<string, unknown>> | undefined)?.[name];
  return `"${names.join(".")}" must be ${expectation(names, schema())}, not ${JSON.stringify(value) ?? String(value)}`;
}

function expectation(names: readonly string[], schema: z.ZodObject): string {
  const [name = "", inner] = names;
  const shape: Readonly<Record<string, z.ZodType>> = (inner === undefined ? schema : modelOverridesSchema())
    .shape;
  const field = shape[inner ?? name];
  return (field && hparamInfo().get(field)?.expects) ?? "of another type";
}
