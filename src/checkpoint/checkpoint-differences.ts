import { ElectraError } from "../errors.js";

const SHOWN_ROWS = 12;

/**
 * Refuses a checkpoint whose tensors do not fit, with a table.
 *
 * @param rows [tensor, in the file, in the model] for everything that does not fit; none is fine
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH`
 */
export function refuseDifferences(path: string, rows: readonly (readonly string[])[]): void {
  if (rows.length === 0) return;
  const table = [["tensor", "checkpoint", "this model"], ...rows.slice(0, SHOWN_ROWS)];
  const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map(
    (row) => `  ${row[0]!.padEnd(widths[0]!)}  ${row[1]!.padEnd(widths[1]!)}  ${row[2]}`,
  );
  if (rows.length > SHOWN_ROWS) lines.push(`  … and ${rows.length - SHOWN_ROWS} more`);
  throw new ElectraError(
    "ERR_ELECTRA_CHECKPOINT_MISMATCH",
    `${path} holds another model: ${rows.length} tensor(s) differ\n${lines.join("\n")}`,
    { hint: "Give the hyper-parameters that the checkpoint was trained with, or another model name." },
  );
}
