import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { glueSubmission } from "../../../src/finetuning/results/glue-submission.js";
import {
  resultsText,
  summarizeTrials,
  type TrialResults,
} from "../../../src/finetuning/results/trial-results.js";
import {
  writeResults,
  writeScorerFiles,
  writeTestPredictions,
} from "../../../src/finetuning/results/write-results.js";
import { SentenceScorer } from "../../../src/finetuning/tasks/sentence-scorer.js";
import { taskFolder } from "./task-folder.js";

const trials: readonly TrialResults[] = [
  {
    trial: 1,
    tasks: {
      cola: [
        ["mcc", 50],
        ["loss", 0.5],
      ],
      sts: [["pearson", null]],
    },
  },
  {
    trial: 2,
    tasks: {
      cola: [
        ["mcc", 0],
        ["loss", 0.7],
      ],
    },
    degenerate: { cola: "1 is predicted for every example" },
  },
  {
    trial: 3,
    tasks: {
      cola: [
        ["mcc", 58.456],
        ["loss", 0.6],
      ],
    },
  },
];

describe("results", () => {
  it("have a line a trial and task", () => {
    expect(resultsText(trials)).toBe(
      "cola: mcc: 50.00 - loss: 0.50\nsts: pearson: nan\ncola: mcc: 0.00 - loss: 0.70\ncola: mcc: 58.46 - loss: 0.60\n",
    );
  });

  it("are summed up, with the trials that did not learn", () => {
    const { cola, sts } = summarizeTrials(trials);
    expect(cola!.metrics["mcc"]).toMatchObject({ median: 50, trials: 3 });
    expect(cola!.metrics["loss"]!.mean).toBeCloseTo(0.6, 12);
    expect(cola!.metrics["loss"]!.standardDeviation).toBeCloseTo(0.1, 12);
    expect(cola!.degenerateTrials).toEqual([{ trial: 2, reason: "1 is predicted for every example" }]);
    expect(sts!.metrics["pearson"]).toEqual({ median: null, mean: null, standardDeviation: null, trials: 0 });
  });

  it("of one class for everything are none", () => {
    const scorer = new SentenceScorer({ kind: "classification" }, ["mcc"]);
    const row = (label: number) => ({
      eid: 0,
      inputIds: new Int32Array(0),
      segmentIds: new Uint8Array(0),
      target: { kind: "classification" as const, label },
    });
    scorer.add(row(0), { logits: [0, 1] });
    expect(scorer.degenerate()).toBeUndefined();
    scorer.add(row(1), { logits: [0, 1] });
    expect(scorer.degenerate()).toBe("1 is predicted for every example");
    scorer.add(row(1), { logits: [2, 1] });
    expect(scorer.degenerate()).toBeUndefined();
  });
});

describe("test predictions", () => {
  const head = { kind: "classification", labels: ["entailment", "not_entailment"] } as const;

  it("take GLUE's form: names of classes by row, values within the range", () => {
    const outputs = new Map([
      [1, [0.1, 0.2]],
      [0, [3, -3]],
    ]);
    expect(glueSubmission("rte", "test", head, outputs)).toEqual({
      name: "RTE.tsv",
      text: "index\tprediction\n0\tentailment\n1\tnot_entailment\n",
    });
    const value = { kind: "regression", minimum: 0, maximum: 5 } as const;
    expect(
      glueSubmission(
        "sts",
        "test",
        value,
        new Map([
          [0, 0.5],
          [1, 1.2],
        ]),
      )?.text,
    ).toBe("index\tprediction\n0\t2.500\n1\t5.000\n");
    expect(glueSubmission("mine", "test", head, outputs)).toBeUndefined();
  });

  it("and all else are written where the hparams say", async () => {
    const { settings } = taskFolder({}, { task_names: ["rte"] });
    const { hparams } = settings;
    const outputs = new Map([[0, Float32Array.of(0.5, 1)]]);
    const paths = [
      ...(await writeTestPredictions(hparams, { task: "rte", split: "test", trial: 2, head, outputs })),
      ...(await writeResults(hparams, trials)),
      ...(await writeScorerFiles(hparams, "rte", {
        add: () => {},
        results: () => [],
        files: () => ({ qa_preds_file: { q: "a" } }),
      })),
    ];
    const model = join(hparams.data_dir, "models", "m");
    expect(paths).toEqual(
      [
        "test_predictions/rte_test_2_predictions.json",
        "glue_submission/2/RTE.tsv",
        "results/rte_results.txt",
        "results/rte_results.json",
        "results/rte_qa/rte_preds.json",
      ].map((path) => join(model, path)),
    );
    expect(JSON.parse(readFileSync(paths[0]!, "utf8"))).toEqual({ "0": [0.5, 1] });
    expect(JSON.parse(readFileSync(paths[3]!, "utf8")).summary.cola.metrics.mcc.median).toBe(50);
    expect(JSON.parse(readFileSync(paths[4]!, "utf8"))).toEqual({ q: "a" });
  });
});
