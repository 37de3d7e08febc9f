import { describe, expect, it } from "vitest";
import type { Outputs } from "../../../src/engine/types.js";
import { engineHead } from "../../../src/finetuning/heads/engine-head.js";
import { headOutput, headOutputNames } from "../../../src/finetuning/heads/head-outputs.js";
import { predictionBatches, type TaskRow } from "../../../src/finetuning/heads/prediction-batches.js";
import type { TaskHead } from "../../../src/finetuning/task.js";

const span: Extract<TaskHead, { kind: "span" }> = {
  kind: "span",
  jointPrediction: true,
  answerableClassifier: true,
  answerableUsesStartLogits: true,
  answerableWeight: 0.5,
  beamSize: 2,
};

const row = (length: number, taskId = 0, positions?: readonly number[]): TaskRow => ({
  taskId,
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

describe("batches for prediction", () => {
  it("hold every row once, the longest first, padded to the longest of their own", () => {
    const rows = [3, 9, 2, 9, 4, 3].map((length) => row(length));
    const batches = predictionBatches(rows, { maxRows: 2 });
    expect(batches.map((batch) => batch.rows)).toEqual([
      [1, 3],
      [4, 0],
      [5, 2],
    ]);
    expect(batches.map(({ batch }) => [batch.length, ...batch.lengths])).toEqual([
      [9, 9, 9],
      [4, 4, 3],
      [3, 3, 2],
    ]);
    expect([...batches[2]!.batch.inputIds]).toEqual([30, 31, 32, 20, 21, 0]);
    expect([...batches[2]!.batch.segmentIds!]).toEqual([0, 0, 1, 0, 1, 0]);
  });

  it("keep to a number of tokens, but for a row that is longer alone", () => {
    const rows = [row(20), row(5), row(5), row(5)];
    expect(predictionBatches(rows, { maxTokens: 11 }).map((batch) => batch.rows)).toEqual([[0], [1, 2], [3]]);
  });

  it("carry the words of tagging tasks, and none for rows of others", () => {
    const [{ batch } = { batch: undefined }] = predictionBatches([
      row(4, 1),
      row(6, 0, [1, 2, 4]),
      row(3, 0, [1]),
    ]);
    expect([...batch!.taskIds!]).toEqual([0, 1, 0]);
    expect([...batch!.words!.offsets]).toEqual([0, 3, 3, 4]);
    expect([...batch!.words!.positions]).toEqual([1, 2, 4, 1]);
    expect(predictionBatches([row(4)])[0]!.batch.words).toBeUndefined();
  });
});

describe("outputs of a head", () => {
  const [{ batch }] = predictionBatches([row(4), row(2)]) as [ReturnType<typeof predictionBatches>[0]];
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
    const [{ batch: tagged }] = predictionBatches([row(6, 0, [1, 2]), row(3, 0, [1])]) as [
      ReturnType<typeof predictionBatches>[0],
    ];
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
