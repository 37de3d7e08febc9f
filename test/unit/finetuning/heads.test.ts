import { describe, expect, it } from "vitest";
import type { FinetuningBatch, PredictResult } from "../../../src/engine/finetuning-types.js";
import type { Outputs } from "../../../src/engine/types.js";
import { engineHead } from "../../../src/finetuning/heads/engine-head.js";
import { headOutput, headOutputNames } from "../../../src/finetuning/heads/head-outputs.js";
import {
  groupsByLength,
  headPredictions,
  type TaskRow,
} from "../../../src/finetuning/heads/head-predictions.js";
import type { TaskHead } from "../../../src/finetuning/task.js";
import { finetuningBatch } from "../../../src/finetuning/training/finetuning-batch.js";

const span: Extract<TaskHead, { kind: "span" }> = {
  kind: "span",
  jointPrediction: true,
  answerableClassifier: true,
  answerableUsesStartLogits: true,
  answerableWeight: 0.5,
  beamSize: 2,
};

const row = (length: number, positions?: readonly number[]): TaskRow => ({
  taskId: 0,
  features: {
    eid: length,
    inputIds: Int32Array.from({ length }, (_, i) => 10 * length + i),
    segmentIds: new Uint8Array(length).fill(1, length - 1),
    target:
      positions === undefined
        ? { kind: "classification", label: 0 }
        : {
            kind: "tagging",
            labels: new Int32Array(positions.length),
            positions: Int32Array.from(positions),
          },
  },
});

describe("rows by length", () => {
  it("are each in one group, the longest first", () => {
    expect(groupsByLength([3, 9, 2, 9, 4, 3], 1000, 2)).toEqual([
      [1, 3],
      [4, 0],
      [5, 2],
    ]);
  });

  it("keep to a number of tokens, but for one that is longer alone", () => {
    expect(groupsByLength([20, 5, 5, 5], 11)).toEqual([[0], [1, 2], [3]]);
    expect(groupsByLength([], 11)).toEqual([]);
    expect(groupsByLength([0, 0], 1)).toEqual([[0], [1]]);
  });
});

describe("predictions of a head", () => {
  const head: TaskHead = { kind: "classification", labels: ["a", "b"] };
  const options = { task: "t", head, heads: [engineHead(head)], maxTokens: 12 };
  /** Says of each row its first id and its length. */
  const engineOf = (seen: FinetuningBatch[] = []) => ({
    predict: async (batch: FinetuningBatch) => {
      seen.push(batch);
      const data = Float32Array.from({ length: 2 * batch.rows }, (_, k) =>
        k % 2 === 0 ? batch.inputIds[(k / 2) * batch.length]! : batch.lengths[(k - 1) / 2]!,
      );
      return { outputs: { "t/logits": { shape: [batch.rows, 2], data } } } as unknown as PredictResult;
    },
  });

  it("come in the order of the rows, from batches without targets", async () => {
    const seen: FinetuningBatch[] = [];
    const rows = [3, 6, 2, 5, 1].map((length) => row(length));
    const outputs = await headPredictions(rows, { ...options, engine: engineOf(seen) });
    expect(outputs.map(({ logits }) => [...Array.from(logits!)])).toEqual(
      [3, 6, 2, 5, 1].map((length) => [10 * length, length]),
    );
    expect(seen.map(({ rows: count, length }) => [count, length])).toEqual([
      [2, 6],
      [3, 3],
    ]);
    for (const batch of seen) expect(batch.targets).toBeUndefined();
  });

  it("do not hide a failure, and stop with the signal", async () => {
    const failing = {
      predict: async () => {
        throw new Error("burnt");
      },
    };
    await expect(headPredictions([row(3), row(20)], { ...options, engine: failing })).rejects.toThrow(
      "burnt",
    );
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(headPredictions([row(3)], { ...options, engine: engineOf(), signal })).rejects.toThrow(
      "enough",
    );
  });
});

describe("outputs of a head", () => {
  const batchOf = (rows: readonly TaskRow[], head: TaskHead) => finetuningBatch(rows, [engineHead(head)]);
  const batch = batchOf([row(4), row(2)], span);
  const floats = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });
  const ints = (...values: number[]) => ({ shape: [values.length], data: Int32Array.from(values) });

  it("are the row's own", () => {
    const head: TaskHead = { kind: "classification", labels: ["a", "b", "c"] };
    const outputs: Outputs = { "t/logits": floats(1, 2, 3, 4, 5, 6), loss: floats(0.5, 0.25) };
    expect(engineHead(head)).toEqual({ kind: "classification", classes: 3 });
    expect(headOutputNames("t", head)).toEqual(["t/logits"]);
    expect(headOutput("t", head, outputs, batch, 1)).toEqual({
      loss: 0.25,
      logits: Float32Array.of(4, 5, 6),
    });
    const regression: TaskHead = { kind: "regression", minimum: 0, maximum: 5 };
    expect(headOutput("t", regression, { "t/predictions": floats(7, 8) }, batch, 1).prediction).toBe(8);
  });

  it("of tagging are those of the row's words", () => {
    const head: TaskHead = { kind: "tagging", labels: ["O", "B-X"] };
    const tagged = batchOf([row(6, [1, 2]), row(3, [1])], head);
    const outputs: Outputs = { "t/logits": floats(1, 2, 3, 4, 5, 6), "t/predictions": ints(1, 0, 1) };
    expect(headOutput("t", head, outputs, tagged, 1)).toEqual({
      wordLabels: Int32Array.of(1),
      wordLogits: Float32Array.of(5, 6),
    });
  });

  it("of spans are beams, or logits without the padding's zeros", () => {
    const beams: Outputs = {
      "t/start_top_log_probs": floats(-1, -2, -3, -4),
      "t/start_top_index": ints(1, 2, 3, -1),
      "t/end_top_log_probs": floats(1, 2, 3, 4, 5, 6, 7, 8),
      "t/end_top_index": ints(1, 2, 3, 4, 5, 6, 7, 8),
      "t/answerable_logit": floats(0.5, -0.5),
    };
    expect(headOutputNames("t", span).sort()).toEqual(Object.keys(beams).sort());
    expect(headOutput("t", span, beams, batch, 1)).toEqual({
      beams: {
        startLogProbs: Float32Array.of(-3, -4),
        startIndex: Int32Array.of(3, -1),
        endLogProbs: Float32Array.of(5, 6, 7, 8),
        endIndex: Int32Array.of(5, 6, 7, 8),
      },
      answerableLogit: -0.5,
    });
    const alone = { ...span, jointPrediction: false, answerableClassifier: false };
    const logits: Outputs = {
      "t/start_logits": floats(1, 2, 3, 4, 5, 6, 0, 0),
      "t/end_logits": floats(1, 2, 3, 4, 7, 8, 0, 0),
    };
    expect(headOutputNames("t", alone)).toEqual(Object.keys(logits));
    expect(headOutput("t", alone, logits, batch, 1)).toEqual({
      startLogits: Float32Array.of(5, 6),
      endLogits: Float32Array.of(7, 8),
    });
    expect(headOutputNames("t", { ...span, answerableClassifier: false })).toContain("t/start_logits");
    expect(() => headOutput("t", alone, {}, batch, 0)).toThrow('no "t/start_logits"');
  });
});
