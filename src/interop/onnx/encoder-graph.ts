import type { TransformerConfig } from "../../hparams/transformer-config.js";
import { attribute, type GraphBuilder, type ValueName } from "./graph-builder.js";
import { activation, layerNorm, linear, slice } from "./network-parts.js";

/** The shape of an encoder, with what Hugging Face leaves open. */
export type EncoderConfig = TransformerConfig & { readonly layer_norm_eps: number };

/** What heads read of the graph so far. */
export interface EncoderValues {
  /** [batch, sequence, hidden] */
  readonly hidden: ValueName;
  /** [batch, sequence] int64, as they came in. */
  readonly inputIds: ValueName;
  readonly attentionMask: ValueName;
  /** Not there where all tokens are of segment 1. */
  readonly tokenTypeIds: ValueName | undefined;
  /** [1] int64: the length of the rows. */
  readonly length: ValueName;
}

export interface EncoderOptions {
  /** All tokens are of this segment, and the graph has no input for it. */
  readonly constantSegment?: 0 | 1;
}

const TOKENS = ["batch_size", "sequence_length"] as const;

/**
 * ELECTRA's encoder with its inputs: embeddings, projection where the embeddings are narrower, layers of self-attention and
 * feed-forward with LayerNorm behind each (BERT's, Devlin et al. 2019). Weights have Hugging Face's names for `ElectraModel`
 * below `electra.`. The score of a key that is padding is lowered by 10000, as in the reference.
 */
export function addEncoder(
  graph: GraphBuilder,
  config: EncoderConfig,
  { constantSegment }: EncoderOptions = {},
): EncoderValues {
  const inputIds = graph.input("input_ids", "int64", TOKENS);
  const attentionMask = graph.input("attention_mask", "int64", TOKENS);
  const tokenTypeIds =
    constantSegment === undefined ? graph.input("token_type_ids", "int64", TOKENS) : undefined;
  const length = slice(graph, graph.node("Shape", [inputIds]), 0, 1, 2);

  const hidden = graph.within("electra", () => {
    const segments = tokenTypeIds ?? graph.integers(constantSegment!);
    let x = graph.within("embeddings", () => embeddings(graph, config, inputIds, segments, length));
    if (config.embedding_size !== config.hidden_size) {
      x = graph.within("embeddings_project", () =>
        linear(graph, x, "electra.embeddings_project", config.embedding_size, config.hidden_size),
      );
    }
    const bias = graph.within("attention_mask", () => attentionBias(graph, attentionMask));
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      x = graph.within(`encoder/layer.${layer}`, () => encoderLayer(graph, config, layer, x, bias));
    }
    return x;
  });
  return { hidden, inputIds, attentionMask, tokenTypeIds, length };
}

function embeddings(
  graph: GraphBuilder,
  config: EncoderConfig,
  inputIds: ValueName,
  segments: ValueName,
  length: ValueName,
): ValueName {
  const { embedding_size: width } = config;
  const table = (kind: string, rows: number): ValueName =>
    graph.weight(`electra.embeddings.${kind}_embeddings.weight`, [rows, width]);
  const words = graph.node("Gather", [table("word", config.vocab_size), inputIds]);
  const types = graph.node("Gather", [table("token_type", config.type_vocab_size), segments]);
  // Row t of the table is position t's, whether or not padding follows.
  const positions = slice(graph, table("position", config.max_position_embeddings), 0, 0, length);
  const sum = graph.node("Add", [graph.node("Add", [words, types]), positions]);
  return layerNorm(graph, sum, "electra.embeddings.LayerNorm", width, config.layer_norm_eps);
}

/** [batch, sequence] of 0 and 1 → what is added to scores, [batch, 1, 1, sequence]. */
function attentionBias(graph: GraphBuilder, mask: ValueName): ValueName {
  const wide = graph.node("Unsqueeze", [mask, graph.integers([1, 2])]);
  const seen = graph.node("Cast", [wide], { to: attribute.int(1) });
  return graph.node("Mul", [graph.node("Sub", [graph.floats(1), seen]), graph.floats(-10000)]);
}

function encoderLayer(
  graph: GraphBuilder,
  config: EncoderConfig,
  layer: number,
  input: ValueName,
  bias: ValueName,
): ValueName {
  const { hidden_size: hidden, intermediate_size: inner, layer_norm_eps: epsilon } = config;
  const name = (part: string): string => `electra.encoder.layer.${layer}.${part}`;
  const attended = graph.within("attention", () => {
    const context = graph.within("self", () => selfAttention(graph, config, name, input, bias));
    return graph.within("output", () => {
      const output = linear(graph, context, name("attention.output.dense"), hidden, hidden);
      const sum = graph.node("Add", [output, input]);
      return layerNorm(graph, sum, name("attention.output.LayerNorm"), hidden, epsilon);
    });
  });
  const widened = graph.within("intermediate", () =>
    activation(graph, linear(graph, attended, name("intermediate.dense"), hidden, inner), config.hidden_act),
  );
  return graph.within("output", () => {
    const output = linear(graph, widened, name("output.dense"), inner, hidden);
    return layerNorm(graph, graph.node("Add", [output, attended]), name("output.LayerNorm"), hidden, epsilon);
  });
}

function selfAttention(
  graph: GraphBuilder,
  config: EncoderConfig,
  name: (part: string) => string,
  input: ValueName,
  bias: ValueName,
): ValueName {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  const headSize = hidden / heads;
  // In a shape, 0 keeps the size that is there.
  const perHead = (part: string, perm: readonly number[]): ValueName =>
    graph.within(part, () => {
      const projected = linear(graph, input, name(`attention.self.${part}`), hidden, hidden);
      const split = graph.node("Reshape", [projected, graph.integers([0, 0, heads, headSize])]);
      return graph.node("Transpose", [split], { perm: attribute.ints(perm) });
    });
  const query = perHead("query", [0, 2, 1, 3]);
  const key = perHead("key", [0, 2, 3, 1]);
  const value = perHead("value", [0, 2, 1, 3]);
  const scores = graph.node("Div", [graph.node("MatMul", [query, key]), graph.floats(Math.sqrt(headSize))]);
  const probabilities = graph.node("Softmax", [graph.node("Add", [scores, bias])], {
    axis: attribute.int(-1),
  });
  const context = graph.node("Transpose", [graph.node("MatMul", [probabilities, value])], {
    perm: attribute.ints([0, 2, 1, 3]),
  });
  return graph.node("Reshape", [context, graph.integers([0, 0, hidden])]);
}
