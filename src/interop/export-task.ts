import { join } from "node:path";
import { DurableFiles } from "../checkpoint/durable-files.js";
import { type TensorSource, writeSafetensors } from "../checkpoint/safetensors.js";
import { transposeInStripes } from "../checkpoint/transpose.js";
import { ElectraError } from "../errors.js";
import { packageVersion } from "../package-root.js";
import { compareTaskExport } from "./compare-task-export.js";
import { architectureOf, type ExportHead } from "./export-head.js";
import { type ExportSource, openExportSource } from "./export-source.js";
import { encoderForHuggingFace, type HuggingFaceHead, huggingFaceHead } from "./hugging-face-heads.js";
import { jsonText, modelTexts } from "./model-texts.js";
import { electraGraph } from "./onnx/electra-graph.js";
import type { OnnxWeight } from "./onnx/onnx-types.js";
import { checkWeights } from "./onnx/weight-bytes.js";
import { EXPORT_FILE, writeOutputFolder } from "./output-folder.js";

export interface ExportTaskOptions {
  /** A fine-tuned model, or the pre-trained run in which it lies. */
  readonly model: string;
  readonly task: string;
  /** Made; must be new or empty, or with `overwrite` an export. */
  readonly outputDir: string;
  readonly overwrite?: boolean;
  readonly vocabFile?: string;
}

export interface TaskExport {
  readonly outputDir: string;
  readonly task: string;
  /** Class of Hugging Face's transformers that loads it. */
  readonly architecture: string;
  readonly bytes: number;
  /** Tensors of the encoder that were compared bit for bit. */
  readonly tensors: number;
  /** Of the head's outputs, as a part of the largest of them. */
  readonly largestDifference: number;
  /** Variables that the class has no place for. */
  readonly leftOut: readonly string[];
}

/** The most that rounding may make of a head that is written in another form. */
const TOLERANCE = 1e-5;

/**
 * Writes a fine-tuned task as the class of Hugging Face's transformers that does the same, so that `from_pretrained` and
 * `pipeline` take it as it lies there; reads it again and compares it with the task's own formulas.
 *
 * @throws ElectraError `ERR_ELECTRA_EXPORT_HEAD` where no class does the same, `ERR_ELECTRA_EXPORT` when what was written
 *   differs, `ERR_ELECTRA_OUTPUT_FOLDER`, and those of reading the model
 */
export async function exportTask(options: ExportTaskOptions): Promise<TaskExport> {
  const { model, task, outputDir, overwrite = false, vocabFile } = options;
  const source = await openExportSource(model, { task, ...(vocabFile === undefined ? {} : { vocabFile }) });
  const files = new DurableFiles();
  try {
    const head = source.head as Extract<ExportHead, { kind: "task" }>;
    const architecture = architectureOf(head);
    return await writeOutputFolder({ path: outputDir, model, overwrite, files }, async (folder) => {
      const encoder = electraGraph(source.config, { kind: "encoder" }).weights;
      checkWeights(encoder, source.weights);
      const mapped = await huggingFaceHead(head, source.config.hidden_size, source.weights);
      const tensors = [
        ...encoder.map((weight) => encoderTensor(weight, source, head)),
        ...headTensors(mapped),
      ];
      let bytes = await writeSafetensors(join(folder, "model.safetensors"), tensors, files);
      const texts = {
        ...modelTexts(source),
        "README.md": card(source, architecture),
        [EXPORT_FILE]: jsonText({
          format: 1,
          "electra-native": packageVersion(),
          target: "hf",
          head: { kind: head.head.kind, task },
          step: source.step ?? null,
        }),
      };
      for (const [name, text] of Object.entries(texts)) {
        bytes += await files.createTextFile(join(folder, name), text);
      }
      const largestDifference = await compareTaskExport(source, folder);
      if (!(largestDifference <= TOLERANCE)) {
        throw new ElectraError(
          "ERR_ELECTRA_EXPORT",
          `the head of ${task} as ${architecture} gives other numbers: they differ by ${largestDifference.toExponential(1)} of the largest`,
          { hint: "Nothing was written. Export it with --to onnx, which keeps the head as it is." },
        );
      }
      return {
        outputDir,
        task,
        architecture,
        bytes,
        tensors: encoder.length,
        largestDifference,
        leftOut: mapped.leftOut,
      };
    });
  } finally {
    await source.close();
  }
}

/** A weight of the encoder as PyTorch has it. */
function encoderTensor(weight: OnnxWeight, source: ExportSource, head: ExportHead): TensorSource {
  const { variable, shape } = weight;
  const kernel = weight.name.endsWith("kernel");
  return {
    name: weight.name.replace(/kernel$/, "weight"),
    dtype: "F32",
    shape: kernel ? [...shape].reverse() : shape,
    async *data() {
      const values = await encoderForHuggingFace(variable, source.weights, head);
      if (!kernel) {
        yield asBytes(values);
        return;
      }
      const [inSize, outSize] = shape as [number, number];
      for (const stripe of transposeInStripes(values, inSize, outSize)) yield asBytes(stripe);
    },
  };
}

function headTensors({ tensors }: HuggingFaceHead): TensorSource[] {
  return tensors.map(({ name, shape, values }) => ({
    name,
    shape,
    dtype: "F32",
    data: () => [asBytes(values)],
  }));
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function card({ head }: ExportSource, architecture: string): string {
  const { task = "", head: taskHead } = head as Extract<ExportHead, { kind: "task" }>;
  const labels = "labels" in taskHead ? [`Labels: ${taskHead.labels.join(", ")}.`, ""] : [];
  return `${[
    "---",
    "library_name: transformers",
    "tags:",
    "- electra",
    "---",
    "",
    `This is an ELECTRA model, fine-tuned for the task ${task}.`,
    "",
    ...labels,
    "```python",
    `from transformers import AutoTokenizer, ${architecture}`,
    `model = ${architecture}.from_pretrained("<this folder>")`,
    'tokenizer = AutoTokenizer.from_pretrained("<this folder>")',
    "```",
    "",
    "Exported by electra-native.",
  ].join("\n")}\n`;
}
