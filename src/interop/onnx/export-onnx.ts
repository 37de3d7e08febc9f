import { join } from "node:path";
import { DurableFiles } from "../../checkpoint/durable-files.js";
import { packageVersion } from "../../package-root.js";
import { architectureOf, type ExportHead } from "../export-head.js";
import { type ExportChoice, type ExportSource, openExportSource } from "../export-source.js";
import { jsonText, modelTexts } from "../model-texts.js";
import { EXPORT_FILE, writeOutputFolder } from "../output-folder.js";
import { checkNumbers, type NumbersCheck } from "./check-numbers.js";
import { checkStructure, type StructureCheck } from "./check-structure.js";
import { electraGraph } from "./electra-graph.js";
import { onnxCard } from "./onnx-card.js";
import { findOnnxRuntime, type OnnxRuntime } from "./onnx-runtime.js";
import { type OnnxGraph, OPSET_VERSION } from "./onnx-types.js";
import { checkWeights, weightBytes } from "./weight-bytes.js";
import { writeOnnx } from "./write-onnx.js";

export interface ExportOnnxOptions extends ExportChoice {
  /** A run, a checkpoint, a Hugging Face folder, a TensorFlow checkpoint or a fine-tuned model. */
  readonly model: string;
  /** Made; must be new or empty, or with `overwrite` an export. */
  readonly outputDir: string;
  readonly overwrite?: boolean;
  /** What runs the model for comparison. Default: onnxruntime-node if it is found; null: none. */
  readonly runtime?: OnnxRuntime | null;
  /** Weights of more bytes than this lie in a file of their own. Default: nearly 2 GiB. */
  readonly embeddedBytes?: number;
  readonly signal?: AbortSignal;
}

export interface OnnxExport {
  /** Folder that was written. */
  readonly path: string;
  /** Of `onnx/model.onnx` with its weights. */
  readonly bytes: number;
  readonly head: ExportHead;
  /** Hugging Face's class, as `config.json` names it. */
  readonly architecture: string;
  readonly step: number | undefined;
  readonly graph: Pick<OnnxGraph, "inputs" | "outputs">;
  /** What reading the file back showed. */
  readonly structure: StructureCheck;
  /** What running it showed; undefined where onnxruntime-node was not found. */
  readonly numbers: NumbersCheck | undefined;
  /** Why the numbers were not compared, although onnxruntime-node is there. */
  readonly notCompared: string | undefined;
}

/**
 * Exports a model as ONNX in the layout of transformers.js: `config.json`, `tokenizer.json`, `tokenizer_config.json`,
 * `vocab.txt`, `README.md`, `onnx/model.onnx`. The file is read back and compared with its source before the folder takes its name, and
 * run if onnxruntime-node is installed. No more than one tensor of the model is in memory while it is written.
 *
 * @throws ElectraError `ERR_ELECTRA_OUTPUT_FOLDER`; what {@link openExportSource} says of the model; `ERR_ELECTRA_ONNX` and
 *   `ERR_ELECTRA_EXPORT` when the written model is not the one that was read
 */
export async function exportOnnx(options: ExportOnnxOptions): Promise<OnnxExport> {
  const { model, outputDir, overwrite = false, signal } = options;
  const source = await openExportSource(model, options);
  const files = new DurableFiles();
  try {
    return await writeOutputFolder({ path: outputDir, model, overwrite, files }, async (folder) => {
      const graph = electraGraph(source.config, source.head);
      checkWeights(graph.weights, source.weights);
      await files.makeFolder(join(folder, "onnx"));
      const path = join(folder, "onnx", "model.onnx");
      const { bytes, dataFile } = await writeOnnx(path, {
        graph,
        weightData: async function* (weight) {
          signal?.throwIfAborted();
          yield* weightBytes(weight, source.weights);
        },
        producerVersion: packageVersion(),
        files,
        ...(options.embeddedBytes === undefined ? {} : { embeddedBytes: options.embeddedBytes }),
      });
      await files.syncFolder(join(folder, "onnx"));
      const structure = await checkStructure(path, graph, source.weights);
      const runtime = options.runtime === undefined ? await findOnnxRuntime() : options.runtime;
      const notCompared = runtime ? whyNotComparable(source) : undefined;
      const numbers =
        runtime && notCompared === undefined
          ? await checkNumbers(path, graph, source, runtime, signal)
          : undefined;
      const texts = textFiles(source, graph, dataFile !== undefined, numbers);
      for (const [name, text] of Object.entries(texts)) await files.createTextFile(join(folder, name), text);
      return {
        path: outputDir,
        bytes,
        head: source.head,
        architecture: architectureOf(source.head),
        step: source.step,
        graph: { inputs: graph.inputs, outputs: graph.outputs },
        structure,
        numbers,
        notCompared,
      };
    });
  } finally {
    await source.close();
  }
}

/** The engine computes LayerNorm with the reference's epsilon alone. */
function whyNotComparable({ config }: ExportSource): string | undefined {
  return config.layer_norm_eps === 1e-12
    ? undefined
    : `its layer_norm_eps is ${config.layer_norm_eps}, and the engine that it would be compared with computes with 1e-12`;
}

function textFiles(
  source: ExportSource,
  { inputs, outputs }: OnnxGraph,
  externalData: boolean,
  numbers: NumbersCheck | undefined,
): Readonly<Record<string, string>> {
  const { head, step } = source;
  return {
    ...modelTexts(source, {
      // In a browser transformers.js would look for a quantized model.
      "transformers.js_config": {
        dtype: "fp32",
        ...(externalData ? { use_external_data_format: true } : {}),
      },
    }),
    "README.md": onnxCard(source, { inputs, outputs }),
    [EXPORT_FILE]: jsonText({
      format: 1,
      "electra-native": packageVersion(),
      target: "onnx",
      opset: OPSET_VERSION,
      head: head.kind === "task" ? { kind: head.head.kind, task: head.task } : { kind: head.kind },
      step: step ?? null,
      inputs: inputs.map(({ name, shape }) => ({ name, shape })),
      outputs: outputs.map(({ name, shape }) => ({ name, shape })),
      compared: numbers ?? null,
    }),
  };
}
