import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { exportOnnx, type OnnxExport } from "../interop/onnx/export-onnx.js";
import { packageRoot } from "../package-root.js";
import type { ExportReport, ExportRequest } from "./export-targets.js";
import { type ListingRow, shellQuote } from "./output.js";

/** Exports as ONNX and says what came of it. */
export async function exportAsOnnx(request: ExportRequest): Promise<ExportReport> {
  const { outputDir } = request;
  const made = await exportOnnx(request);
  const { graph, structure, numbers, head, ...rest } = made;
  const values = (list: OnnxExport["graph"]["inputs"]): string =>
    list.map(({ name, shape }) => `${name} [${shape.join(", ")}]`).join(", ");
  const listing: ListingRow[] = [
    ["ONNX model", `${outputDir}, ${(made.bytes / 1e6).toFixed(1)} MB`],
    ["class", made.architecture],
    ["inputs", values(graph.inputs)],
    ["outputs", values(graph.outputs)],
    [
      "read back",
      `${structure.nodes} nodes, ${structure.weights} weights of ${structure.values} values: equal bit for bit`,
    ],
    ...(numbers?.outputs ?? []).map(
      ({ output, largestDifference, largestValue }): ListingRow => [
        `run: ${output}`,
        `largest difference ${largestDifference.toExponential(1)}, largest value ${largestValue.toPrecision(3)}`,
      ],
    ),
  ];
  return {
    document: {
      ...rest,
      step: made.step ?? null,
      notCompared: made.notCompared ?? null,
      head: head.kind === "task" ? { kind: head.head.kind, task: head.task } : { kind: head.kind },
      inputs: graph.inputs,
      outputs: graph.outputs,
      structure,
      numbers: numbers ?? null,
    },
    listing,
    warnings: [],
    remarks: [...remarks(made, request), ...usage(made)],
    next: nextCommand(made, outputDir),
  };
}

function remarks({ numbers, notCompared }: OnnxExport, { outputDir }: ExportRequest): string[] {
  if (numbers !== undefined) return [];
  if (notCompared !== undefined) return [`Its numbers were not compared: ${notCompared}.`];
  return [
    "Its numbers were not compared, because onnxruntime-node is not installed. To compare them:",
    "  ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node",
    `and export again with --overwrite --output-dir ${shellQuote(outputDir)}`,
  ];
}

/** What a person should know who uses the outputs. */
function usage({ head }: OnnxExport): string[] {
  if (head.kind === "replaced-tokens") {
    return ["transformers.js has no class for replaced-token detection: load it with AutoModel."];
  }
  if (head.kind !== "task") return [];
  if (head.head.kind === "regression") {
    return ["predictions are on the task's own scale; text-classification pipelines show a softmax instead."];
  }
  if (head.head.kind === "span" && head.head.jointPrediction) {
    return [
      "end_logits are those for the likeliest start in the context; the beam of all candidates is in the outputs …_top_….",
    ];
  }
  return [];
}

/** The example, where this package is a clone; else what makes the folder usable. */
function nextCommand(made: OnnxExport, outputDir: string): string {
  const example = join(packageRoot, "examples/onnx-transformers-js.mjs");
  if (!existsSync(example)) return "npm install @huggingface/transformers";
  const path = relative(process.cwd(), example);
  return `node ${shellQuote(path.startsWith("..") ? example : path)} ${shellQuote(outputDir)} "${exampleText(made)}"`;
}

function exampleText({ head }: OnnxExport): string {
  return head.kind === "masked-lm" ? "The chef [MASK] the meal." : "The chef ate the meal.";
}
