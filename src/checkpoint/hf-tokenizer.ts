/** The tokenizer that belongs to a model: its vocabulary and how text is normalised before it. */
export interface CheckpointTokenizer {
  /** The vocabulary file's text as it was read, one token a line. */
  readonly vocabText: string;
  readonly doLowerCase: boolean;
  /** Only meaningful when lower-casing, as in the reference. */
  readonly stripAccents: boolean;
}

/** Contents of `tokenizer_config.json`, understood by `AutoTokenizer`. */
export function tokenizerConfigJson(tokenizer: CheckpointTokenizer, modelMaxLength: number): string {
  const fields = {
    cls_token: "[CLS]",
    do_basic_tokenize: true,
    do_lower_case: tokenizer.doLowerCase,
    mask_token: "[MASK]",
    model_max_length: modelMaxLength,
    never_split: null,
    pad_token: "[PAD]",
    sep_token: "[SEP]",
    // The reference strips accents only where it lower-cases; Hugging Face would do it alone, too.
    strip_accents: tokenizer.doLowerCase && tokenizer.stripAccents,
    tokenize_chinese_chars: true,
    tokenizer_class: "ElectraTokenizer",
    unk_token: "[UNK]",
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
}
