import { join } from "node:path";
import type { TransformerConfig } from "../hparams/transformer-config.js";
import type { DurableFiles } from "./durable-files.js";
import { hfConfigJson } from "./hf-config.js";
import type { HalfLayout } from "./hf-layout.js";
import { type CheckpointTokenizer, tokenizerConfigJson } from "./hf-tokenizer.js";
import { weightSource } from "./parameter-sources.js";
import type { ParameterStore } from "./parameter-store.js";
import { writeSafetensors } from "./safetensors.js";

/** What a part of a model is, besides its weights. */
export interface PartDescription {
  readonly half: HalfLayout;
  readonly config: TransformerConfig;
  readonly tokenizer: CheckpointTokenizer;
  /** Further text files by name. */
  readonly texts: Readonly<Record<string, string>>;
}

/**
 * Writes one part of a model as a Hugging Face folder, which must not exist yet, and forces it to disk.
 *
 * @returns the size of each file
 */
export async function writePart(
  folder: string,
  { half, config, tokenizer, texts }: PartDescription,
  parameters: ParameterStore,
  files: DurableFiles,
): Promise<Readonly<Record<string, number>>> {
  await files.makeFolder(folder);
  const sizes: Record<string, number> = {};
  const all = {
    "config.json": hfConfigJson(config, half),
    "tokenizer_config.json": tokenizerConfigJson(tokenizer, config.max_position_embeddings),
    "vocab.txt": tokenizer.vocabText,
    ...texts,
  };
  for (const [file, text] of Object.entries(all))
    sizes[file] = await files.createTextFile(join(folder, file), text);
  const tensors = half.entries.map((entry) => weightSource(entry, parameters));
  sizes["model.safetensors"] = await writeSafetensors(join(folder, "model.safetensors"), tensors, files);
  await files.syncFolder(folder);
  return sizes;
}
