/**
 * ONNX models as plain data, as far as exports need them: https://github.com/onnx/onnx/blob/main/docs/IR.md. A node's name
 * is that of its first output.
 */

/** Version of the operators. 17 is the first with LayerNormalization, and is what transformers.js and its tools use. */
export const OPSET_VERSION = 17;
/** Version of the file format that belongs to operators of version 17. */
export const IR_VERSION = 8;

export type OnnxType = "float" | "int64";

/** `TensorProto.DataType` */
export const DATA_TYPES = { float: 1, int64: 7 } as const satisfies Record<OnnxType, number>;

export type AttributeValue =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "ints"; readonly value: readonly number[] };

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

/** An input or output of the graph; a size that is a name is open until the model runs. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly (number | string)[];
}

/** A small tensor that belongs to the graph itself: shapes, axes, constants. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** A weight of the model. */
export interface OnnxWeight {
  /** Hugging Face's, but for linear layers: `…kernel` instead of `…weight`, because it is the transpose. */
  readonly name: string;
  readonly shape: readonly number[];
  /** The reference's name, which the values are read by. Its orientation, [in, out], is the graph's too. */
  readonly variable: string;
}

export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly weights: readonly OnnxWeight[];
}
