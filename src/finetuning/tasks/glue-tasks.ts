import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import type { SentenceFile, SentenceTaskDescription } from "./sentence-task.js";

/** Columns of a file: two texts, the label; and whether a header precedes them. */
type Columns = readonly [textA: number, textB: number | null, label: number | null, header: boolean];

/** A file of the distribution; its name is also that of the reference. */
function file(distributed: string, name: string, columns: Columns): SentenceFile {
  const [textA, textB, label, header] = columns;
  return {
    // The folder of the distribution lies beside the one that the reference's instructions rename it to.
    candidates: [`${name}.tsv`, `../${distributed}/${name}.tsv`],
    format: "tsv",
    header,
    textA,
    ...(textB === null ? {} : { textB }),
    ...(label === null ? {} : { label }),
  };
}

/** Where GLUE's files have the texts and labels, and what the reference makes of them. */
export function glueTasks(
  hparams: Pick<FinetuningHparams, "glue_f1" | "mnli_mismatched">,
): readonly SentenceTaskDescription[] {
  const splits = (distributed: string, labelled: Columns, test: Columns) => ({
    files: {
      train: file(distributed, "train", labelled),
      dev: file(distributed, "dev", labelled),
      test: file(distributed, "test", test),
    },
    devSplits: ["dev"],
    testSplits: ["test"],
  });
  const classes = (...labels: string[]) => ({ kind: "classification", labels }) as const;
  const metrics = ["accuracy"] as const;
  const paraphrase = hparams.glue_f1 ? (["accuracy", "f1"] as const) : metrics;
  const mnli: Columns = [8, 9, -1, true];
  const mnliTest: Columns = [8, 9, null, true];
  return [
    {
      name: "cola",
      target: classes("0", "1"),
      metrics: ["mcc"],
      ...splits("CoLA", [3, null, 1, false], [1, null, null, true]),
    },
    {
      name: "sst",
      target: classes("0", "1"),
      metrics,
      ...splits("SST-2", [0, null, 1, true], [1, null, null, true]),
    },
    {
      name: "mrpc",
      target: classes("0", "1"),
      metrics: paraphrase,
      unordered: true,
      ...splits("MRPC", [3, 4, 0, true], [3, 4, null, true]),
    },
    {
      name: "qqp",
      target: classes("0", "1"),
      metrics: paraphrase,
      ...splits("QQP", [3, 4, 5, true], [1, 2, null, true]),
    },
    {
      name: "mnli",
      target: classes("contradiction", "entailment", "neutral"),
      metrics,
      files: {
        train: file("MNLI", "train", mnli),
        dev: file("MNLI", "dev_matched", mnli),
        dev_mismatched: file("MNLI", "dev_mismatched", mnli),
        test_matched: file("MNLI", "test_matched", mnliTest),
        test_mismatched: file("MNLI", "test_mismatched", mnliTest),
        diagnostic: file("diagnostic", "diagnostic", [1, 2, null, true]),
      },
      devSplits: hparams.mnli_mismatched ? ["dev", "dev_mismatched"] : ["dev"],
      testSplits: ["test_matched", "test_mismatched", "diagnostic"],
    },
    {
      name: "qnli",
      target: classes("entailment", "not_entailment"),
      metrics,
      ...splits("QNLI", [1, 2, 3, true], [1, 2, null, true]),
    },
    {
      name: "rte",
      target: classes("entailment", "not_entailment"),
      metrics,
      ...splits("RTE", [1, 2, 3, true], [1, 2, null, true]),
    },
    {
      name: "sts",
      target: { kind: "regression", minimum: 0, maximum: 5 },
      metrics: [],
      unordered: true,
      ...splits("STS-B", [-3, -2, -1, true], [-2, -1, null, true]),
    },
  ];
}
