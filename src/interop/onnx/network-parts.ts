import { ElectraError } from "../../errors.js";
import { attribute, type GraphBuilder, type ValueName } from "./graph-builder.js";

/** y = x·K + b for `<prefix>.weight` [out, in] and `<prefix>.bias` [out] of the model's file. */
export function linear(
  graph: GraphBuilder,
  x: ValueName,
  prefix: string,
  inSize: number,
  outSize: number,
): ValueName {
  const product = graph.node("MatMul", [x, graph.kernel(`${prefix}.weight`, inSize, outSize)]);
  return graph.node("Add", [product, graph.weight(`${prefix}.bias`, [outSize])]);
}

/** Over the last axis, population variance, as the reference. */
export function layerNorm(
  graph: GraphBuilder,
  x: ValueName,
  prefix: string,
  size: number,
  epsilon: number,
): ValueName {
  return graph.node(
    "LayerNormalization",
    [x, graph.weight(`${prefix}.weight`, [size]), graph.weight(`${prefix}.bias`, [size])],
    { axis: attribute.int(-1), epsilon: attribute.float(epsilon) },
  );
}

/**
 * `hidden_act` by Hugging Face's name: `gelu` x·½·(1 + erf(x/√2)), `gelu_new`, `gelu_tanh` and `gelu_pytorch_tanh`
 * x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³))), `relu`.
 *
 * @throws ElectraError `ERR_ELECTRA_MODEL_FORMAT` for another one
 */
export function activation(graph: GraphBuilder, x: ValueName, name: string): ValueName {
  const scaled = (sigmoidal: ValueName): ValueName => {
    const gate = graph.node("Add", [sigmoidal, graph.floats(1)]);
    return graph.node("Mul", [graph.node("Mul", [x, gate]), graph.floats(0.5)]);
  };
  switch (name) {
    case "gelu":
      return scaled(graph.node("Erf", [graph.node("Div", [x, graph.floats(Math.SQRT2)])]));
    case "gelu_new":
    case "gelu_tanh":
    case "gelu_pytorch_tanh": {
      const cube = graph.node("Mul", [graph.node("Mul", [x, x]), x]);
      const sum = graph.node("Add", [x, graph.node("Mul", [cube, graph.floats(0.044715)])]);
      return scaled(graph.node("Tanh", [graph.node("Mul", [sum, graph.floats(Math.sqrt(2 / Math.PI))])]));
    }
    case "relu":
      return graph.node("Relu", [x]);
    default:
      throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `hidden_act is "${name}", which has no export`, {
        hint: "gelu, gelu_new, gelu_tanh, gelu_pytorch_tanh and relu have.",
        exitCode: 2,
      });
  }
}

/** Part of an axis: from `first` up to `end`; a large `end` means all. */
export function slice(
  graph: GraphBuilder,
  x: ValueName,
  axis: number,
  first: number,
  end: number | ValueName,
): ValueName {
  return graph.node("Slice", [
    x,
    graph.integers([first]),
    typeof end === "number" ? graph.integers([end]) : end,
    graph.integers([axis]),
  ]);
}

/** "To the end" for {@link slice}. */
export const END = 2 ** 31 - 1;

/** The vectors at `[CLS]`: x [batch, sequence, size] → [batch, size]. */
export function firstToken(graph: GraphBuilder, x: ValueName): ValueName {
  return graph.node("Gather", [x, graph.integers(0)], { axis: attribute.int(1) });
}
