import { ElectraError } from "../errors.js";
import { type ExportFormat, exportModel } from "../interop/export-model.js";
import type { ExportReport, ExportRequest } from "./export-targets.js";
import { shellQuote } from "./output.js";

export const exportForHuggingFace = (request: ExportRequest) => exportInFormat("hf", request);
export const exportForTensorflow = (request: ExportRequest) => exportInFormat("tf", request);

async function exportInFormat(
  format: ExportFormat,
  { model, outputDir, part, moments, vocabFile }: ExportRequest,
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
