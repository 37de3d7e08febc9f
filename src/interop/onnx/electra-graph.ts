import type { ExportHead } from "../export-head.js";
import { addEncoder, type EncoderConfig, type EncoderValues } from "./encoder-graph.js";
import { attribute, GraphBuilder } from "./graph-builder.js";
import { activation, firstToken, layerNorm, linear } from "./network-parts.js";
import type { OnnxGraph } from "./onnx-types.js";
import { addSpanHead } from "./span-graph.js";

const BATCH = "batch_size";
const SEQUENCE = "sequence_length";

/**
 * The graph of an encoder with a head: inputs `input_ids`, `attention_mask` and `token_type_ids` [batch, sequence] int64,
 * any number of rows and any length up to the model's. The outputs depend on the head:
 *
 * - encoder: `last_hidden_state` [batch, sequence, hidden]
 * - replaced tokens: `logits` [batch, sequence]
 * - masked LM: `logits` [batch, sequence, vocabulary]
 * - classification, multi-label: `logits` [batch, labels]
 * - regression: `logits` [batch, 1], and `predictions` [batch] on the scale of the task's own numbers
 * - tagging: `logits` [batch, sequence, labels]; a word's are those of its first piece. There is no `token_type_ids`: the
 *   head was trained with all tokens in segment 1, so the graph has that built in.
 * - spans: see {@link addSpanHead}
 *
 * @throws ElectraError `ERR_ELECTRA_MODEL_FORMAT` for an activation without an export
 */
export function electraGraph(config: EncoderConfig, head: ExportHead): OnnxGraph {
  const graph = new GraphBuilder("electra");
  const tagging = head.kind === "task" && head.head.kind === "tagging";
  const encoder = addEncoder(graph, config, tagging ? { constantSegment: 1 } : {});
  addHead(graph, config, head, encoder);
  return graph.build();
}

function addHead(graph: GraphBuilder, config: EncoderConfig, head: ExportHead, encoder: EncoderValues): void {
  const { hidden } = encoder;
  const { hidden_size: size } = config;
  switch (head.kind) {
    case "encoder":
      graph.output("last_hidden_state", hidden, "float", [BATCH, SEQUENCE, size]);
      return;
    case "replaced-tokens":
      graph.within("discriminator_predictions", () => addReplacedTokens(graph, config, encoder));
      return;
    case "masked-lm":
      graph.within("generator_predictions", () => addMaskedLm(graph, config, encoder));
      return;
    case "hf-sequence": {
      const logits = graph.within("classifier", () => {
        const inner = linear(graph, firstToken(graph, hidden), "classifier.dense", size, size);
        // Whatever hidden_act is: Hugging Face's class says so.
        return linear(
          graph,
          activation(graph, inner, "gelu"),
          "classifier.out_proj",
          size,
          head.labels.length,
        );
      });
      graph.output("logits", logits, "float", [BATCH, head.labels.length]);
      return;
    }
    case "hf-token": {
      const count = head.labels.length;
      const logits = graph.within("classifier", () => linear(graph, hidden, "classifier", size, count));
      graph.output("logits", logits, "float", [BATCH, SEQUENCE, count]);
      return;
    }
    case "hf-span": {
      const both = graph.within("qa_outputs", () => linear(graph, hidden, "qa_outputs", size, 2));
      ["start_logits", "end_logits"].forEach((name, column) => {
        const logits = graph.node("Gather", [both, graph.integers(column)], { axis: attribute.int(2) });
        graph.output(name, logits, "float", [BATCH, SEQUENCE]);
      });
      return;
    }
    case "task":
      graph.within(`task_specific/${head.task}`, () => addTaskHead(graph, size, head, encoder));
      return;
  }
}

function addReplacedTokens(graph: GraphBuilder, config: EncoderConfig, { hidden }: EncoderValues): void {
  const { hidden_size: size } = config;
  const inner = linear(graph, hidden, "discriminator_predictions.dense", size, size);
  const activated = activation(graph, inner, config.hidden_act);
  const column = linear(graph, activated, "discriminator_predictions.dense_prediction", size, 1);
  const logits = graph.node("Squeeze", [column, graph.integers([2])]);
  graph.output("logits", logits, "float", [BATCH, SEQUENCE]);
}

/** The word table is the output matrix too. `Gemm` reads it as it lies; a product with its transpose would copy it. */
function addMaskedLm(graph: GraphBuilder, config: EncoderConfig, { hidden, inputIds }: EncoderValues): void {
  const { hidden_size: size, embedding_size: width, vocab_size: words } = config;
  const inner = linear(graph, hidden, "generator_predictions.dense", size, width);
  const activated = activation(graph, inner, config.hidden_act);
  const x = layerNorm(graph, activated, "generator_predictions.LayerNorm", width, config.layer_norm_eps);
  const rows = graph.node("Reshape", [x, graph.integers([-1, width])]);
  const table = graph.weight("electra.embeddings.word_embeddings.weight", [words, width]);
  const bias = graph.weight("generator_lm_head.bias", [words]);
  const flat = graph.node("Gemm", [rows, table, bias], { transB: attribute.int(1) });
  const shape = graph.node("Concat", [graph.node("Shape", [inputIds]), graph.integers([words])], {
    axis: attribute.int(0),
  });
  graph.output("logits", graph.node("Reshape", [flat, shape]), "float", [BATCH, SEQUENCE, words]);
}

function addTaskHead(
  graph: GraphBuilder,
  size: number,
  { task, head }: Extract<ExportHead, { kind: "task" }>,
  encoder: EncoderValues,
): void {
  const { hidden } = encoder;
  const prefix = `task_specific.${task}`;
  switch (head.kind) {
    case "classification":
    case "multi-label": {
      const count = head.labels.length;
      const logits = linear(graph, firstToken(graph, hidden), `${prefix}.dense`, size, count);
      graph.output("logits", logits, "float", [BATCH, count]);
      return;
    }
    case "regression": {
      const logits = linear(graph, firstToken(graph, hidden), `${prefix}.dense`, size, 1);
      const scaled = graph.node("Mul", [logits, graph.floats(head.maximum)]);
      const values = graph.node("Add", [scaled, graph.floats(head.minimum)]);
      graph.output("logits", logits, "float", [BATCH, 1]);
      const flat = graph.node("Squeeze", [values, graph.integers([1])]);
      graph.output("predictions", flat, "float", [BATCH]);
      return;
    }
    case "tagging": {
      const count = head.labels.length;
      const logits = linear(graph, hidden, `${prefix}.dense`, size, count);
      graph.output("logits", logits, "float", [BATCH, SEQUENCE, count]);
      return;
    }
    case "span":
      addSpanHead(graph, size, prefix, head, encoder);
      return;
  }
}
