import { variableOfTensor } from "../../checkpoint/variable-names.js";
import type {
  AttributeValue,
  OnnxConstant,
  OnnxGraph,
  OnnxNode,
  OnnxType,
  OnnxValue,
  OnnxWeight,
} from "./onnx-types.js";

/** A part of a model alone calls its encoder `electra`, see `ExportWeights`. */
const SCOPES = { encoder: "electra", embeddings: "electra" } as const;

/** Name of something that nodes can read: an input, a weight, a constant, or what another node makes. */
export type ValueName = string;

/**
 * Puts a graph together node by node, in the order in which they run. Values are named after the part of the network that
 * makes them, as Hugging Face's exporter does: `/electra/encoder/layer.0/attention/self/query/MatMul`.
 *
 * @example
 * const graph = new GraphBuilder("double");
 * const x = graph.input("x", "float", ["batch"]);
 * graph.output("y", graph.node("Add", [x, x]), "float", ["batch"]);
 */
export class GraphBuilder {
  readonly #name: string;
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: OnnxValue[] = [];
  readonly #nodes: OnnxNode[] = [];
  readonly #constants = new Map<string, OnnxConstant>();
  readonly #weights = new Map<string, OnnxWeight>();
  readonly #taken = new Map<string, number>();
  #scope = "";

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: OnnxType, shape: OnnxValue["shape"]): ValueName {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  /** Makes a value known to the outside under a name of its own. */
  output(name: string, value: ValueName, type: OnnxType, shape: OnnxValue["shape"]): void {
    this.#nodes.push({ op: "Identity", inputs: [value], outputs: [name], attributes: {} });
    this.#outputs.push({ name, type, shape });
  }

  /** Everything that `build` makes is named below `scope`. */
  within<T>(scope: string, build: () => T): T {
    const outer = this.#scope;
    this.#scope = `${outer}/${scope}`;
    try {
      return build();
    } finally {
      this.#scope = outer;
    }
  }

  /** A node with one output. */
  node(
    op: string,
    inputs: readonly ValueName[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): ValueName {
    return this.nodeWithOutputs(op, inputs, 1, attributes)[0]!;
  }

  nodeWithOutputs(
    op: string,
    inputs: readonly ValueName[],
    count: number,
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): readonly ValueName[] {
    const base = this.#fresh(`${this.#scope}/${op}`);
    const outputs = Array.from({ length: count }, (_, index) => `${base}_output_${index}`);
    this.#nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  /** Whole numbers of a graph: a scalar, or a vector of sizes or axes. The same numbers are stored once. */
  integers(values: number | readonly number[]): ValueName {
    return this.#constant("int64", values);
  }

  /** A number, or several. */
  floats(values: number | readonly number[]): ValueName {
    return this.#constant("float", values);
  }

  /** A weight by Hugging Face's name: a table, a bias, LayerNorm's scale or shift. */
  weight(name: string, shape: readonly number[]): ValueName {
    const { variable } = variableOfTensor(name, shape.length, SCOPES);
    this.#weights.set(name, { name, shape, variable });
    return name;
  }

  /** A linear layer's weight by Hugging Face's name, as the [inSize, outSize] that a product takes. */
  kernel(weightName: string, inSize: number, outSize: number): ValueName {
    const { variable } = variableOfTensor(weightName, 2, SCOPES);
    const name = weightName.replace(/weight$/, "kernel");
    this.#weights.set(name, { name, shape: [inSize, outSize], variable });
    return name;
  }

  build(): OnnxGraph {
    return {
      name: this.#name,
      inputs: this.#inputs,
      outputs: this.#outputs,
      nodes: this.#nodes,
      constants: [...this.#constants.values()],
      weights: [...this.#weights.values()],
    };
  }

  #constant(type: OnnxType, values: number | readonly number[]): ValueName {
    const list = typeof values === "number" ? [values] : values;
    const shape = typeof values === "number" ? [] : [list.length];
    const name = `constant/${type}/${typeof values === "number" ? values : `[${list.join(",")}]`}`;
    this.#constants.set(name, { name, type, shape, values: list });
    return name;
  }

  #fresh(name: string): string {
    const count = this.#taken.get(name) ?? 0;
    this.#taken.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  }
}

/** Attributes by their types, which the format wants to know. */
export const attribute = {
  float: (value: number): AttributeValue => ({ kind: "float", value }),
  int: (value: number): AttributeValue => ({ kind: "int", value }),
  ints: (value: readonly number[]): AttributeValue => ({ kind: "ints", value }),
} as const;
