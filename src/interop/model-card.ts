import type { HalfLayout } from "../checkpoint/hf-layout.js";
import type { ModelWeights } from "../checkpoint/model-weights.js";
import type { TransformerConfig } from "../hparams/transformer-config.js";

/** The last line of a model card. */
export const MADE_BY =
  "Exported by electra-native. Method: Clark et al., ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators, ICLR 2020.";

const uses: Readonly<
  Record<HalfLayout["architecture"], { readonly what: string; readonly load: string; readonly tag: string }>
> = {
  ElectraForPreTraining: {
    what: "an ELECTRA discriminator: it tells for every token whether it was replaced, and is the encoder to fine-tune",
    load: "ElectraForPreTraining",
    tag: "electra",
  },
  ElectraForMaskedLM: {
    what: "an ELECTRA generator: a masked language model",
    load: "ElectraForMaskedLM",
    tag: "fill-mask",
  },
  ElectraModel: {
    what: "a fine-tuned ELECTRA. ElectraModel loads its encoder; the heads are `task_specific.*`, and finetuning.json says what they mean",
    load: "ElectraModel",
    tag: "electra",
  },
  "two-tower": {
    what: "a generator of two causal towers, as Electric has. No class of transformers computes it",
    load: "",
    tag: "electra",
  },
};

/** `README.md` of an exported part: what it is, what is known of its training, how it is loaded. */
export function modelCard(half: HalfLayout, config: TransformerConfig, weights: ModelWeights): string {
  const { what, load, tag } = uses[half.architecture];
  const hparams = weights.model.checkpoint?.training.hparams ?? {};
  const facts = [
    `- ${config.num_hidden_layers} layers of width ${config.hidden_size}, ${config.num_attention_heads} attention head(s), ` +
      `embeddings of width ${config.embedding_size} for ${config.vocab_size} tokens, ${config.max_position_embeddings} positions`,
    ...(weights.step === undefined ? [] : [`- ${weights.step} training steps`]),
    ...["train_batch_size", "max_seq_length", "learning_rate"].flatMap((name) =>
      hparams[name] === undefined ? [] : [`- ${name}: ${String(hparams[name])}`],
    ),
  ];
  const loading =
    load === ""
      ? []
      : [
          "",
          "```python",
          `from transformers import AutoTokenizer, ${load}`,
          `model = ${load}.from_pretrained("<this folder>")`,
          'tokenizer = AutoTokenizer.from_pretrained("<this folder>")',
          "```",
        ];
  return `${[
    "---",
    "library_name: transformers",
    "tags:",
    `- ${tag}`,
    ...(tag === "electra" ? [] : ["- electra"]),
    "---",
    "",
    `This is ${what}.`,
    "",
    ...facts,
    ...loading,
    "",
    MADE_BY,
  ].join("\n")}\n`;
}
