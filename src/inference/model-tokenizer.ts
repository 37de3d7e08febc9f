import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";

/**
 * The tokenizer that lies beside a model: `vocab.txt` and, for how text is normalised, `tokenizer_config.json`.
 *
 * @param vocabSize rows of the model's word table
 * @param vocabFile the vocabulary, where it lies elsewhere
 * @throws ElectraError `ERR_ELECTRA_MODEL_FORMAT` without a vocabulary, or with another model's; `ERR_ELECTRA_VOCABULARY_…`
 */
export async function readModelTokenizer(
  folder: string,
  vocabSize: number,
  vocabFile?: string,
): Promise<Tokenizer> {
  const source = vocabFile ?? join(folder, "vocab.txt");
  const text = await readFile(source, "utf8").catch((error: unknown) => {
    throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${source} cannot be read`, {
      hint: "Put the vocabulary that the model was trained with beside its weights, or name it with --vocab-file.",
      cause: error,
      exitCode: 2,
    });
  });
  const vocabulary = Vocabulary.parse(text, { source });
  if (vocabulary.size > vocabSize) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_FORMAT",
      `${source} has ${vocabulary.size} tokens, but the model knows ${vocabSize}`,
      { hint: "This is another model's vocabulary.", exitCode: 2 },
    );
  }
  return new Tokenizer({ vocabulary, ...(await readTokenizerSettings(folder)) });
}

/** How text is normalised; without `tokenizer_config.json` as for the published uncased models. */
async function readTokenizerSettings(
  folder: string,
): Promise<{ readonly lowerCase: boolean; readonly stripAccents: boolean }> {
  const path = join(folder, "tokenizer_config.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { lowerCase: true, stripAccents: true };
    throw error;
  }
  let fields: { do_lower_case?: unknown; strip_accents?: unknown };
  try {
    fields = JSON.parse(text) as typeof fields;
  } catch (error) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_FORMAT",
      `${path}: not valid JSON (${(error as Error).message})`,
      {
        cause: error,
      },
    );
  }
  const lowerCase = fields.do_lower_case !== false;
  // Left open, accents follow the case, as in the reference and in Hugging Face.
  return { lowerCase, stripAccents: fields.strip_accents === undefined || fields.strip_accents !== false };
}
