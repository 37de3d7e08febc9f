import { ElectraError } from "../errors.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import type { ExportHead } from "./export-head.js";
import { type ExportSource, openExportSource } from "./export-source.js";
import { encoderForHuggingFace } from "./hugging-face-heads.js";
import { electraGraph } from "./onnx/electra-graph.js";
import { type ReferenceRow, referenceHead } from "./onnx/reference-heads.js";

/** Tokens of a random row, and rows that heads are compared on. */
const TOKENS = 12;
const ROWS = 8;

/**
 * Reads a task that was written as one of Hugging Face's classes, compares the encoder bit for bit, and what the two heads say
 * about random states, by the formulas of each, in float64.
 *
 * @returns the largest difference of the outputs, as a part of the largest of them; places where no answer may be left out
 * @throws ElectraError `ERR_ELECTRA_EXPORT` naming a variable that differs
 */
export async function compareTaskExport(source: ExportSource, folder: string): Promise<number> {
  const written = await openExportSource(folder);
  try {
    const { config, head } = source;
    for (const { variable } of electraGraph(config, { kind: "encoder" }).weights) {
      const expected = await encoderForHuggingFace(variable, source.weights, head);
      const found = await written.weights.read(variable);
      if (Buffer.compare(bytesOf(expected), bytesOf(found)) !== 0) {
        throw new ElectraError("ERR_ELECTRA_EXPORT", `${folder}: ${variable} is not what was written`, {
          hint: "The disk gave back other bytes: export again.",
        });
      }
    }
    const ours = await referenceHead(head, config, source.weights);
    const theirs = await referenceHead(written.head, written.config, written.weights);
    const random = new SeededRandom(12);
    let difference = 0;
    let largest = 0;
    for (let row = 0; row < ROWS; row++) {
      const given = randomRow(random, config.hidden_size);
      const [expected, found] = [ours(given), theirs(given)];
      // A regression's head of Hugging Face gives the values themselves.
      const wanted = "predictions" in expected ? { logits: expected["predictions"]! } : expected;
      for (const [name, values] of Object.entries(found)) {
        for (const [i, value] of values.entries()) {
          const right = wanted[name]![i]!;
          if (lowered(head, given, i)) continue;
          difference = larger(difference, Math.abs(value - right));
          largest = larger(largest, Math.abs(right));
        }
      }
    }
    return difference / largest;
  } finally {
    await written.close();
  }
}

/** Whether a span head has lowered the logit of a position, as Hugging Face's does not. */
function lowered(head: ExportHead, { segmentIds }: ReferenceRow, position: number): boolean {
  const span = head.kind === "task" && head.head.kind === "span";
  return span && position > 0 && segmentIds[position] === 0;
}

/** States as LayerNorm leaves them: about as large as 1. */
function randomRow(random: SeededRandom, width: number): ReferenceRow {
  const hidden = Array.from({ length: TOKENS }, () =>
    Float64Array.from({ length: width }, () => 4 * (random.uint32() / 2 ** 32 - 0.5)),
  );
  const segmentIds = Uint8Array.from({ length: TOKENS }, (_, position) => (position > 3 ? 1 : 0));
  return { inputIds: new Int32Array(TOKENS), segmentIds, hidden };
}

/** The larger one; NaN, once met, stays. */
function larger(a: number, b: number): number {
  return Number.isNaN(a) || a > b ? a : b;
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
