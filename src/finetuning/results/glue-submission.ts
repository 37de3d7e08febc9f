import type { TaskHead } from "../task.js";

/** Names of the files that GLUE's server takes, by task and test split. */
const FILES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  cola: { test: "CoLA" },
  sst: { test: "SST-2" },
  mrpc: { test: "MRPC" },
  qqp: { test: "QQP" },
  mnli: { test_matched: "MNLI-m", test_mismatched: "MNLI-mm", diagnostic: "AX" },
  qnli: { test: "QNLI" },
  rte: { test: "RTE" },
  sts: { test: "STS-B" },
};

/** Outputs of a head for a test split: by `eid`, the logits, or the value of a regression. */
export type TestOutputs = ReadonlyMap<number, ArrayLike<number> | number>;

/** A file of a submission. */
export interface SubmissionFile {
  readonly name: string;
  readonly text: string;
}

/**
 * The file of a test split in the form of GLUE's server, or undefined for a task or split that GLUE does not have.
 * Classes stand by name, values on the task's own scale and within its range.
 */
export function glueSubmission(
  task: string,
  split: string,
  head: TaskHead,
  outputs: TestOutputs,
): SubmissionFile | undefined {
  const name = FILES[task]?.[split];
  if (name === undefined) return undefined;
  const rows = [...outputs]
    .sort(([a], [b]) => a - b)
    .map(([eid, output]) => `${eid}\t${predictionText(head, output)}\n`);
  return { name: `${name}.tsv`, text: `index\tprediction\n${rows.join("")}` };
}

function predictionText(head: TaskHead, output: ArrayLike<number> | number): string {
  if (head.kind === "regression" && typeof output === "number") {
    const value = output * head.maximum + head.minimum;
    return Math.min(head.maximum, Math.max(head.minimum, value)).toFixed(3);
  }
  if (head.kind !== "classification" || typeof output === "number") {
    throw new TypeError(`a head for ${head.kind} has no prediction for GLUE`);
  }
  let best = 0;
  for (let i = 1; i < output.length; i++) if (output[i]! > output[best]!) best = i;
  return head.labels[best]!;
}

/** The reference's test predictions, as JSON instead of a pickle: `{eid: logits}`, or `{eid: value}`. */
export function testPredictionsJson(outputs: TestOutputs): string {
  const entries = [...outputs].map(([eid, output]) => [
    eid,
    typeof output === "number" ? output : Array.from(output),
  ]);
  return `${JSON.stringify(Object.fromEntries(entries))}\n`;
}
