import { tokenizerConfigJson } from "../checkpoint/hf-tokenizer.js";
import { architectureOf, labelConfig } from "./export-head.js";
import type { ExportSource } from "./export-source.js";
import { tokenizerJson } from "./tokenizer-json.js";

/**
 * The text files of a folder that Hugging Face's libraries open, for a model with its head: `config.json`, `tokenizer.json`,
 * `tokenizer_config.json`, `vocab.txt`.
 *
 * @param extra further fields of `config.json`
 */
export function modelTexts(
  source: ExportSource,
  extra: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, string>> {
  const { head, configFields, tokenizer, vocabText, maxLength } = source;
  const { vocabulary, lowerCase, stripAccents, splitIdeographs = true } = tokenizer;
  // Of another head, if of any.
  const { id2label, label2id, problem_type, ...kept } = configFields;
  const config = { ...kept, architectures: [architectureOf(head)], ...labelConfig(head), ...extra };
  const tokenizerConfig = {
    ...(JSON.parse(
      tokenizerConfigJson({ vocabText, doLowerCase: lowerCase, stripAccents }, maxLength),
    ) as Record<string, unknown>),
    tokenize_chinese_chars: splitIdeographs,
    // Whatever token has id 0 is padding; a name that the vocabulary lacks would become a new id.
    ...(vocabulary.has("[PAD]") ? {} : { pad_token: vocabulary.tokenOf(0) }),
  };
  return {
    "config.json": jsonText(sortKeys(config)),
    "tokenizer.json": tokenizerJson(tokenizer),
    "tokenizer_config.json": jsonText(tokenizerConfig),
    "vocab.txt": vocabText,
  };
}

/** A document as files hold it. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** As `save_pretrained` has them. */
function sortKeys(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}
