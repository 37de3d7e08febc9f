import type { ExportPart } from "../interop/export-source.js";
import type { ListingRow } from "./output.js";

export type { ExportPart };

/** Options that not every format takes. */
export interface ExportOptions {
  readonly part?: ExportPart;
  readonly task?: string;
  readonly moments?: boolean;
  readonly overwrite?: boolean;
  readonly vocabFile?: string;
}

export type ExportFlag = "part" | "task" | "moments" | "overwrite";

/** What the command line asks of an export, whatever the format. */
export interface ExportRequest extends ExportOptions {
  readonly model: string;
  readonly outputDir: string;
  readonly signal: AbortSignal;
}

/** What an export has to say. */
export interface ExportReport {
  readonly document: unknown;
  readonly listing: readonly ListingRow[];
  readonly warnings: readonly string[];
  /** Lines for the person watching: what could not be checked, and how it can. */
  readonly remarks: readonly string[];
  /** The command to type next. */
  readonly next: string;
}

export interface ExportTarget {
  /** What `--to` calls it. */
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly ExportFlag[];
  readonly load: () => Promise<(request: ExportRequest) => Promise<ExportReport>>;
}

const checkpointReport = async () => await import("./export-checkpoint-report.js");

/** The formats of `export --to`. A new one needs a file and an entry here. */
export const exportTargets: readonly ExportTarget[] = [
  {
    name: "hf",
    summary: "folders for Hugging Face, with --task one for the class that does the task",
    flags: ["part", "task", "overwrite"],
    load: async () => (await checkpointReport()).exportForHuggingFace,
  },
  {
    name: "tf",
    summary: "a TensorFlow checkpoint with the reference's names",
    flags: ["moments", "overwrite"],
    load: async () => (await checkpointReport()).exportForTensorflow,
  },
  {
    name: "onnx",
    summary: "a folder for onnxruntime and transformers.js",
    flags: ["part", "task", "overwrite"],
    load: async () => (await import("./export-onnx-report.js")).exportAsOnnx,
  },
];
