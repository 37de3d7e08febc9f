import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import type { HfConfig } from "./hf-config.js";
import type { PretrainingHalf } from "./hf-layout.js";

/**
 * What a TensorFlow checkpoint does not tell may be said in a `config.json` beside it, with the fields of Hugging Face's: for
 * both networks, or under `discriminator` and `generator`.
 */
export async function configBeside(
  folder: string,
): Promise<Partial<Record<PretrainingHalf, Partial<HfConfig>>>> {
  const path = join(folder, "config.json");
  if (
    !(await stat(path).then(
      () => true,
      () => false,
    ))
  )
    return {};
  const fail = (message: string, cause?: unknown): never => {
    throw new ElectraError("ERR_ELECTRA_HF_CONFIG", `${path}: ${message}`, { cause, exitCode: 2 });
  };
  let document: unknown;
  try {
    document = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    return fail(`not valid JSON (${(error as Error).message})`, error);
  }
  if (typeof document !== "object" || document === null) return fail("not a JSON object");
  const all = document as Record<string, unknown>;
  const fields = (part: PretrainingHalf): Partial<HfConfig> => {
    const own = all[part];
    const merged = { ...all, ...(typeof own === "object" && own !== null ? own : {}) };
    const heads = merged["num_attention_heads"];
    const act = merged["hidden_act"];
    if (heads !== undefined && !(Number.isSafeInteger(heads) && (heads as number) > 0)) {
      fail(`num_attention_heads is ${JSON.stringify(heads)}, expected a positive whole number`);
    }
    if (act !== undefined && typeof act !== "string")
      fail(`hidden_act is ${JSON.stringify(act)}, expected a name`);
    return {
      ...(heads === undefined ? {} : { num_attention_heads: heads as number }),
      ...(act === undefined ? {} : { hidden_act: act as string }),
    };
  };
  return { discriminator: fields("discriminator"), generator: fields("generator") };
}
