import { ElectraError } from "../errors.js";
import { type ExportFormat, exportModel } from "../interop/export-model.js";
import { exportTask } from "../interop/export-task.js";
import type { ExportReport, ExportRequest } from "./export-targets.js";
import { shellQuote } from "./output.js";

export const exportForHuggingFace = (request: ExportRequest) =>
  request.task === undefined ? exportInFormat("hf", request) : exportTaskAlone(request, request.task);
export const exportForTensorflow = (request: ExportRequest) => exportInFormat("tf", request);

/** A task as the class of Hugging Face's that does it. */
async function exportTaskAlone(
  { model, outputDir, part, overwrite, vocabFile }: ExportRequest,
  task: string,
): Promise<ExportReport> {
  if (part !== undefined && part !== "finetuned") {
    throw new ElectraError("ERR_ELECTRA_USAGE", `--part ${part} has no task`, {
      hint: "Give --part or --task, not both.",
      exitCode: 2,
    });
  }
  const result = await exportTask({
    model,
    task,
    outputDir,
    ...(overwrite === undefined ? {} : { overwrite }),
    ...(vocabFile === undefined ? {} : { vocabFile }),
  });
  return {
    document: result,
    listing: [
      ["exported to", result.outputDir],
      ["class", result.architecture],
      ["size", `${(result.bytes / 2 ** 20).toFixed(1)} MiB`],
      ["compared", `${result.tensors} tensors of the encoder, bit for bit; the head on random states`],
      ["largest difference", `${result.largestDifference.toExponential(1)} of the head's largest output`],
    ],
    warnings: result.leftOut.map((name) => `${name} was left out: the class has no place for it`),
    remarks: [],
    next: `npx electra-native inspect ${shellQuote(result.outputDir)}`,
  };
}

async function exportInFormat(
  format: ExportFormat,
  { model, outputDir, part, moments, overwrite, vocabFile }: ExportRequest,
): Promise<ExportReport> {
  if (part === "encoder") {
    throw new ElectraError("ERR_ELECTRA_USAGE", `--part encoder means nothing to --to ${format}`, {
      hint: "Hugging Face's ElectraModel takes the encoder out of any part by itself.",
      exitCode: 2,
    });
  }
  const result = await exportModel({
    model,
    format,
    outputDir,
    ...(part === undefined ? {} : { part }),
    ...(moments === undefined ? {} : { moments }),
    ...(overwrite === undefined ? {} : { overwrite }),
    ...(vocabFile === undefined ? {} : { vocabFile }),
  });
  return {
    document: result,
    listing: [
      ["exported to", result.outputDir],
      ["parts", result.parts.join(", ")],
      ["size", `${(result.bytes / 2 ** 20).toFixed(1)} MiB${result.moments ? ", with Adam's moments" : ""}`],
      ["compared", `${result.values} values of ${result.tensors} tensors`],
      ["largest difference", String(result.largestDifference)],
    ],
    warnings: result.leftOut
      .filter(({ reason }) => reason !== "of another part")
      .map(({ name, reason }) => `${name} was left out: ${reason}`),
    remarks: [],
    next: `npx electra-native inspect ${shellQuote(result.outputDir)}`,
  };
}
