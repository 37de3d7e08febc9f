import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import type { ExportWeights } from "../../../src/interop/export-weights.js";
import { checkStructure } from "../../../src/interop/onnx/check-structure.js";
import { attribute, GraphBuilder } from "../../../src/interop/onnx/graph-builder.js";
import { readOnnx } from "../../../src/interop/onnx/read-onnx.js";
import { checkWeights, weightBytes } from "../../../src/interop/onnx/weight-bytes.js";
import { writeOnnx } from "../../../src/interop/onnx/write-onnx.js";
import { parseOnnx, shapeOf } from "./onnx-proto.js";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onnx-"));
  path = join(folder, "model.onnx");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Variables in memory that stand for a model. */
function weightsOf(variables: Record<string, { shape: number[]; values: number[] }>): ExportWeights {
  return {
    path: "model",
    shapeOf: (name) => variables[name]?.shape,
    read: async (name) => Float32Array.from(variables[name]!.values),
  };
}

const file = weightsOf({
  "dense/kernel": { shape: [3, 2], values: [1, 4, 2, 5, 3, 6] },
  "dense/bias": { shape: [2], values: [0.5, -0.25] },
});

function denseGraph(): ReturnType<GraphBuilder["build"]> {
  const graph = new GraphBuilder("dense");
  const x = graph.input("x", "float", ["rows", 3]);
  const y = graph.within("dense", () => {
    const product = graph.node("MatMul", [x, graph.kernel("dense.weight", 3, 2)]);
    return graph.node("Add", [product, graph.weight("dense.bias", [2])]);
  });
  const turned = graph.node("Transpose", [y], { perm: attribute.ints([1, 0]) });
  const soft = graph.node("Softmax", [turned], { axis: attribute.int(-1) });
  graph.output("y", graph.node("Mul", [soft, graph.floats(0.1)]), "float", [2, "rows"]);
  graph.output("size", graph.node("Add", [graph.node("Shape", [y]), graph.integers([-1, 7])]), "int64", [2]);
  return graph.build();
}

const write = (embeddedBytes?: number, source: ExportWeights = file) => {
  const graph = denseGraph();
  return writeOnnx(path, {
    graph,
    weightData: (weight) => weightBytes(weight, source),
    producerVersion: "1.2.3",
    metadata: { made: "for a test" },
    files: new DurableFiles(),
    ...(embeddedBytes === undefined ? {} : { embeddedBytes }),
  });
};

const floats = (bytes: Uint8Array) => [...new Float32Array(Uint8Array.from(bytes).buffer)];

describe("writeOnnx", () => {
  it("writes what protobufjs reads with the format's own definition", async () => {
    const { bytes, dataFile } = await write();
    const written = readFileSync(path);
    expect([bytes, dataFile]).toEqual([written.length, undefined]);
    const model = parseOnnx(written);
    expect(model).toMatchObject({
      ir_version: 8,
      producer_name: "electra-native",
      producer_version: "1.2.3",
      opset_import: [{ version: 17 }],
      metadata_props: [{ key: "made", value: "for a test" }],
    });
    const { graph } = model;
    expect(graph.name).toBe("dense");
    expect(graph.node.map(({ op_type }) => op_type)).toEqual(
      "MatMul Add Transpose Softmax Mul Identity Shape Add Identity".split(" "),
    );
    expect(graph.node[0]).toMatchObject({
      input: ["x", "dense.kernel"],
      output: ["/dense/MatMul_output_0"],
      name: "/dense/MatMul_output_0",
    });
    expect(graph.node[2]!.attribute).toEqual([{ name: "perm", ints: [1, 0], type: "INTS" }]);
    expect(graph.node[3]!.attribute).toEqual([{ name: "axis", i: -1, type: "INT" }]);
    expect(graph.input.map(shapeOf)).toEqual([["rows", 3]]);
    expect(
      graph.output.map((value) => [value.name, value.type.tensor_type.elem_type, shapeOf(value)]),
    ).toEqual([
      ["y", 1, [2, "rows"]],
      ["size", 7, [2]],
    ]);
  });

  it("writes weights as they are, constants with their types", async () => {
    await write();
    const { initializer } = parseOnnx(readFileSync(path)).graph;
    const tensors = new Map(initializer.map((tensor) => [tensor.name, tensor]));
    const kernel = tensors.get("dense.kernel")!;
    expect([kernel.dims, kernel.data_type, floats(kernel.raw_data!)]).toEqual([
      [3, 2],
      1,
      [1, 4, 2, 5, 3, 6],
    ]);
    const bias = tensors.get("dense.bias")!;
    expect([bias.dims, floats(bias.raw_data!)]).toEqual([[2], [0.5, -0.25]]);
    const integers = initializer.find(({ data_type }) => data_type === 7)!;
    expect([integers.dims, [...new BigInt64Array(Uint8Array.from(integers.raw_data!).buffer)]]).toEqual([
      [2],
      [-1n, 7n],
    ]);
    const scalar = initializer.find(({ name }) => name === "constant/float/0.1")!;
    expect([scalar.dims, floats(scalar.raw_data!)]).toEqual([undefined, [Math.fround(0.1)]]);
  });

  it("puts weights into a file of their own, each at a page, when they are too many", async () => {
    const { bytes, dataFile } = await write(20);
    expect(dataFile).toBe(`${path}_data`);
    const data = readFileSync(dataFile!);
    expect(bytes).toBe(readFileSync(path).length + data.length);
    const { initializer } = parseOnnx(readFileSync(path)).graph;
    const place = (name: string) => initializer.find((tensor) => tensor.name === name)!;
    expect(place("dense.kernel")).toMatchObject({
      data_location: "EXTERNAL",
      external_data: [
        { key: "location", value: "model.onnx_data" },
        { key: "offset", value: "0" },
        { key: "length", value: "24" },
      ],
    });
    expect(place("dense.bias").external_data![1]).toEqual({ key: "offset", value: "4096" });
    expect(floats(data.subarray(0, 24))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(floats(data.subarray(4096))).toEqual([0.5, -0.25]);
    expect(await checkStructure(path, denseGraph(), file)).toEqual({ nodes: 9, weights: 2, values: 8 });
  });

  it("refuses a source that gives too few or too many bytes", async () => {
    for (const values of [[1, 2, 3], [1]]) {
      const other = weightsOf({
        "dense/kernel": { shape: [3, 2], values: [1, 4, 2, 5, 3, 6] },
        "dense/bias": { shape: [2], values },
      });
      await expect(write(undefined, other)).rejects.toThrow(/"dense\/bias" gave \d+ bytes/);
      rmSync(path);
    }
  });
});

describe("checkWeights", () => {
  it("names a variable that is missing or of another shape", () => {
    const { weights } = denseGraph();
    checkWeights(weights, file);
    const short = weightsOf({ "dense/bias": { shape: [3], values: [0, 0, 0] } });
    expect(() => checkWeights(weights, short)).toThrow(
      /"dense\/kernel" is missing, expected \[3, 2\] \(and 1/,
    );
  });
});

describe("checkStructure", () => {
  it("passes what was written and counts it", async () => {
    await write();
    expect(await checkStructure(path, denseGraph(), file)).toEqual({ nodes: 9, weights: 2, values: 8 });
  });

  it("notices a single bit of any weight", async () => {
    await write();
    const { tensors } = await readOnnx(path);
    for (const name of ["dense.kernel", "dense.bias"]) {
      const { begin, bytes } = tensors.get(name)!;
      const damaged = readFileSync(path);
      damaged[begin + bytes - 1]! ^= 1;
      const copy = join(folder, `${name}.onnx`);
      writeFileSync(copy, damaged);
      await expect(checkStructure(copy, denseGraph(), file)).rejects.toThrow(
        new RegExp(`"${name}" differs from`),
      );
    }
  });

  it("notices any changed byte of the graph, and any place where the file ends early", async () => {
    await write();
    const whole = readFileSync(path);
    const { tensors } = await readOnnx(path);
    // From the first node on everything is compared; before it are producer and metadata, which say nothing of the graph.
    const weights = [...tensors.values()].filter(({ name }) => name.startsWith("dense."));
    const inWeight = (at: number) => weights.some(({ begin, bytes }) => at >= begin && at < begin + bytes);
    const missed: number[] = [];
    const start = whole.indexOf("dense.kernel") - 10;
    for (let at = start; at < whole.length; at += 7) {
      if (inWeight(at)) continue;
      const copy = join(folder, "changed.onnx");
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 1;
      writeFileSync(copy, damaged);
      await checkStructure(copy, denseGraph(), file).then(
        () => missed.push(at),
        () => {},
      );
    }
    expect(whole.length - start).toBeGreaterThan(800);
    expect(missed).toEqual([]);
    for (let length = 0; length < whole.length; length += 7) {
      const copy = join(folder, "short.onnx");
      writeFileSync(copy, whole.subarray(0, length));
      await expect(checkStructure(copy, denseGraph(), file)).rejects.toThrow();
    }
  });

  it("notices a value that is read before it is made", async () => {
    const graph = denseGraph();
    const turned = { ...graph, nodes: [...graph.nodes].reverse() };
    await writeOnnx(path, {
      graph: turned,
      weightData: (weight) => weightBytes(weight, file),
      producerVersion: "0",
      files: new DurableFiles(),
    });
    await expect(checkStructure(path, turned, file)).rejects.toThrow(/reads ".*", which nothing made/);
  });
});
