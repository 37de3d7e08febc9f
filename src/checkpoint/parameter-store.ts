/** Which of a variable's three float32 tensors: the weights or one of Adam's moments. */
export type ParameterKind = "value" | "adam_m" | "adam_v";

/** A trainable variable under the reference's TensorFlow name; kernels are [in, out], row-major. */
export interface ParameterInfo {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * What a checkpoint needs of an engine: its trainable variables by name, in and out. The owner must not train
 * between the first `read` and the last of one save, or the tensors belong to different steps.
 */
export interface ParameterStore {
  /** All trainable variables, in the engine's order. */
  names(): readonly ParameterInfo[];
  /** A copy of one tensor, row-major, as many elements as the shape says. */
  read(kind: ParameterKind, name: string): Promise<Float32Array>;
  write(kind: ParameterKind, name: string, data: Float32Array): Promise<void>;
}
