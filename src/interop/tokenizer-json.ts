import type { Vocabulary } from "../tokenization/vocabulary.js";

/** How a model's text becomes ids. */
export interface TokenizerSettings {
  readonly vocabulary: Vocabulary;
  readonly lowerCase: boolean;
  /** Only effective while lower-casing. */
  readonly stripAccents: boolean;
  /** Make words of ideographs; tagging models, whose words are given, do not. Default true. */
  readonly splitIdeographs?: boolean;
  /** Longer words become `[UNK]`. Default 200, as the reference. */
  readonly maxCharsPerWord?: number;
}

/** The special tokens of a vocabulary that a tokenizer has to know as such. `[CLS]`, `[SEP]` and `[UNK]` must be there. */
export const SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] as const;

/**
 * Contents of `tokenizer.json`, the format of Hugging Face's tokenizers library, which transformers.js reads too.
 *
 * It gives the ids of our own tokenizer but for four things that the format cannot say: special tokens that stand in the
 * text are taken for tokens (ours reads `[MASK]` in a text as five pieces); code points that Unicode 14.0 does not know are
 * kept; a capital sigma at a word's end is lower-cased to σ, not ς; of a token that stands on several lines only the last
 * line's id can be decoded. The limit of 200 characters a word is kept, where Hugging Face's own files say 100.
 *
 * @throws ElectraError `ERR_ELECTRA_VOCABULARY_TOKENS`
 */
export function tokenizerJson(settings: TokenizerSettings): string {
  const { vocabulary, lowerCase, stripAccents, splitIdeographs = true, maxCharsPerWord = 200 } = settings;
  const [, cls, sep] = vocabulary.require(["[UNK]", "[CLS]", "[SEP]"]);
  const special = (token: string, segment: number) => ({ SpecialToken: { id: token, type_id: segment } });
  const text = (id: "A" | "B", segment: number) => ({ Sequence: { id, type_id: segment } });
  const single = [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)];
  const document = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.filter((token) => vocabulary.has(token))
      .map((content) => ({
        id: vocabulary.idOf(content),
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      }))
      .sort((a, b) => a.id - b.id),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: splitIdeographs,
      strip_accents: lowerCase && stripAccents,
      lowercase: lowerCase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single,
      pair: [...single, text("B", 1), special("[SEP]", 1)],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [cls], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [sep], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: maxCharsPerWord,
      vocab: Object.fromEntries(vocabulary.tokens.map((token, id) => [token, id])),
    },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
