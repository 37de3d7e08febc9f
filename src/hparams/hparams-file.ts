import { readFile } from "node:fs/promises";
import { ElectraError } from "../errors.js";
import { parseHparamsJson } from "./hparams-json.js";

/** Hparams as given by a person, and where they stood (for messages). */
export interface GivenHparams {
  readonly hparams: Readonly<Record<string, unknown>>;
  /** `--hparams`, or the path of the file. */
  readonly place: string;
}

/**
 * Reads the argument of `--hparams`: a JSON object as text or, if it ends in `.json`, the path of a JSON file.
 * A `$schema` entry, which editors use to complete and check the file, is left out of the result.
 *
 * @throws ElectraError `ERR_ELECTRA_HPARAMS_FILE` (cannot be read), `ERR_ELECTRA_HPARAMS_JSON` (not a JSON object)
 */
export async function readHparams(argument: string): Promise<GivenHparams> {
  if (!argument.endsWith(".json")) {
    return { hparams: parseHparamsJson(argument, "--hparams"), place: "--hparams" };
  }
  let text: string;
  try {
    text = await readFile(argument, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new ElectraError(
      "ERR_ELECTRA_HPARAMS_FILE",
      code === "ENOENT"
        ? `There is no hparams file ${argument}.`
        : `The hparams file ${argument} cannot be read (${code ?? String(cause)}).`,
      {
        hint: `Give the path of a readable JSON file, or the object itself: --hparams '{"model_size": "small"}'.`,
        cause,
        exitCode: 2,
      },
    );
  }
  return { hparams: parseHparamsJson(text, argument), place: argument };
}
