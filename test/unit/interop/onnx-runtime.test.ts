import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import type { HfConfig } from "../../../src/checkpoint/hf-config.js";
import { readModelWeights } from "../../../src/checkpoint/model-weights.js";
import { SafetensorsReader } from "../../../src/checkpoint/safetensors.js";
import { Engine } from "../../../src/engine/engine.js";
import { FinetuningEngine } from "../../../src/engine/finetuning-engine.js";
import type { PretrainingModelConfig } from "../../../src/engine/types.js";
import { engineHead } from "../../../src/finetuning/heads/engine-head.js";
import type { ExportHead } from "../../../src/interop/export-head.js";
import { type ExportWeights, weightsOfPart } from "../../../src/interop/export-weights.js";
import { electraGraph } from "../../../src/interop/onnx/electra-graph.js";
import { exportOnnx } from "../../../src/interop/onnx/export-onnx.js";
import {
  findOnnxRuntime,
  type OnnxRuntime,
  type RuntimeTensor,
} from "../../../src/interop/onnx/onnx-runtime.js";
import { checkWeights, weightBytes } from "../../../src/interop/onnx/weight-bytes.js";
import { writeOnnx } from "../../../src/interop/onnx/write-onnx.js";
import { toySave } from "../checkpoint/toy-model.js";
import { allTasks, runtimeFolder, saveFinetuned, spanHead, withoutRuntime } from "./models.js";

const goldenFolder = process.env["ELECTRA_GOLDEN_DIR"] ?? "test/fixtures/golden";
let folder: string;
let runtime: OnnxRuntime;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "onnx-runtime-"));
  if (runtimeFolder !== undefined) runtime = (await findOnnxRuntime())!;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
/** Writes a graph with its weights and runs it once. */
async function runGraph(
  config: HfConfig,
  head: ExportHead,
  weights: ExportWeights,
  feeds: Readonly<Record<string, RuntimeTensor>>,
): Promise<Record<string, RuntimeTensor>> {
  const graph = electraGraph(config, head);
  checkWeights(graph.weights, weights);
  const path = join(folder, `model-${files++}.onnx`);
  await writeOnnx(path, {
    graph,
    weightData: (weight) => weightBytes(weight, weights),
    producerVersion: "0",
    files: new DurableFiles(),
  });
  const session = await runtime.openSession(path);
  try {
    expect([...session.inputNames]).toEqual(graph.inputs.map(({ name }) => name));
    return await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!])));
  } finally {
    await session.release();
  }
}

const integers = (shape: readonly number[], values: ArrayLike<number>): RuntimeTensor => ({
  shape,
  data: BigInt64Array.from(Array.from(values), BigInt),
});

/** The largest difference between numbers, as a part of the largest of those that are expected. */
function relative(found: ArrayLike<number | bigint>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(Number(found[i]) - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  expect(Number.isFinite(difference)).toBe(true);
  return difference / largest;
}

const needsRuntime = describe.skipIf(runtimeFolder === undefined);

// Logits of PyTorch, recorded in files that save_pretrained wrote.
const labels = ["LABEL_0", "LABEL_1", "LABEL_2"];
needsRuntime(`Hugging Face's classes as ONNX, beside PyTorch${withoutRuntime}`, () => {
  it.each([
    ["pretraining", { kind: "replaced-tokens" }, ["logits"]],
    ["pretraining", { kind: "encoder" }, ["last_hidden_state"]],
    ["masked_lm", { kind: "masked-lm" }, ["logits"]],
    ["sequence_classification", { kind: "hf-sequence", labels, problemType: undefined }, ["logits"]],
    ["token_classification", { kind: "hf-token", labels }, ["logits"]],
    ["question_answering", { kind: "hf-span" }, ["start_logits", "end_logits"]],
  ] as const)("%s as %o", async (name, head, outputs) => {
    const model = await readModelWeights(join(goldenFolder, "hf", name));
    const io = await SafetensorsReader.open(join(goldenFolder, "hf", name, "io.safetensors"));
    const part = name === "masked_lm" ? "generator" : "discriminator";
    const input = async (key: string): Promise<RuntimeTensor> =>
      integers(io.tensors.get(key)!.shape, await io.readIntegers(key));
    const feeds = {
      input_ids: await input("input_ids"),
      attention_mask: await input("attention_mask"),
      token_type_ids: await input("token_type_ids"),
    };
    const found = await runGraph(model.configs[part]!, head, weightsOfPart(model, part), feeds);
    for (const output of outputs) {
      const expected = await io.readFloat32(`masked/${output}`);
      expect(found[output]!.shape).toEqual(io.tensors.get(`masked/${output}`)!.shape);
      expect(relative(found[output]!.data, expected)).toBeLessThan(1e-5);
    }
    await io.close();
    await model.close();
  });
});

// Outputs of the reference's own graph. The fixtures are large, so they are not with the others.
const finetune = join(goldenFolder, "finetune");
const withoutGolden = existsSync(finetune)
  ? ""
  : " (skipped: ELECTRA_GOLDEN_DIR names no folder with finetune/)";
describe.skipIf(runtimeFolder === undefined || !existsSync(finetune))(
  `heads as ONNX, beside the reference${withoutRuntime}${withoutGolden}`,
  () => {
    const span = (beamSize: number, options: Partial<typeof spanHead>) => ({
      ...spanHead,
      beamSize,
      ...options,
    });
    it.each([
      ["classification_mnli", "mnli", { kind: "classification", labels }],
      ["multitask", "mnli", { kind: "classification", labels }],
      ["multitask", "sts", { kind: "regression", minimum: 0, maximum: 1 }],
      ["regression_sts", "sts", { kind: "regression", minimum: 0, maximum: 1 }],
      ["qa_squad_joint", "squad", undefined],
      ["qa_squad_independent", "squad", undefined],
      ["qa_squadv1_no_answerable", "squadv1", undefined],
    ] as const)("%s: %s", async (name, task, given) => {
      const fixture = JSON.parse(readFileSync(join(finetune, `${name}.json`), "utf8")) as {
        config: Record<string, number & boolean>;
        bert_config: Omit<HfConfig, "embedding_size">;
      };
      const { config: settings } = fixture;
      const head = given ?? {
        ...span(settings["beam_size"]!, {}),
        jointPrediction: settings["joint_prediction"]!,
        answerableClassifier: settings["answerable_classifier"]!,
        answerableUsesStartLogits: settings["answerable_uses_start_logits"]!,
      };
      const source = await SafetensorsReader.open(join(finetune, `${name}.safetensors`));
      const weights: ExportWeights = {
        path: source.path,
        shapeOf: (variable) => source.tensors.get(`init/${variable}`)?.shape,
        read: (variable) => source.readFloat32(`init/${variable}`),
      };
      const config: HfConfig = {
        ...fixture.bert_config,
        embedding_size: settings["embedding_size"]!,
        model_type: "electra",
        architectures: [],
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
      };
      const { shape } = source.tensors.get("step0/input/input_ids")!;
      const input = async (key: string) => integers(shape, await source.readIntegers(`step0/input/${key}`));
      const found = await runGraph(config, { kind: "task", task, head }, weights, {
        input_ids: await input("input_ids"),
        attention_mask: await input("input_mask"),
        token_type_ids: await input("segment_ids"),
      });
      const recorded = (output: string) => `step0/predict_output/${task}/${output}`;
      let compared = 0;
      for (const [output, { data, shape: size }] of Object.entries(found)) {
        // Given the likeliest start, which the reference has no output for.
        if (output === "end_logits" && head.kind === "span" && head.jointPrediction) continue;
        if (output === "logits" && head.kind === "regression") continue;
        const key = recorded(output);
        expect(size).toEqual(source.tensors.get(key)!.shape);
        if (output.endsWith("_index")) {
          expect(Array.from(data, Number)).toEqual(await source.readIntegers(key));
        } else {
          expect(relative(data, await source.readFloat32(key))).toBeLessThan(1e-5);
        }
        compared++;
      }
      expect(compared).toBeGreaterThanOrEqual(head.kind === "span" ? 2 : 1);
      await source.close();
    });
  },
);

// Real proportions: heads of 64, a projection, a vocabulary with odd remainders, rows from one token to the longest.
const shape = {
  vocab_size: 1003,
  embedding_size: 64,
  hidden_size: 128,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  intermediate_size: 512,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 96,
  type_vocab_size: 2,
  initializer_range: 0.1,
};

needsRuntime(`our own networks as ONNX, beside the engine${withoutRuntime}`, () => {
  const lengths = Int32Array.of(96, 1, 50, 7);
  const rows = lengths.length;
  const length = 96;
  const inputIds = Int32Array.from({ length: rows * length }, (_, i) => (i * 7919 + 13) % shape.vocab_size);
  const segmentIds = Int32Array.from({ length: rows * length }, (_, i) => (i % length > 30 ? 1 : 0));
  const mask = Int32Array.from(inputIds, (_, i) => (i % length < lengths[Math.floor(i / length)]! ? 1 : 0));
  const feeds = {
    input_ids: integers([rows, length], inputIds),
    attention_mask: integers([rows, length], mask),
    token_type_ids: integers([rows, length], segmentIds),
  };
  const common = { mask_prob: 0.15, max_seq_length: length, cls_id: 1, sep_id: 2, mask_id: 3 };
  /** Numbers of the tokens that are there; [rows, length, width] */
  const ofTokens = (data: ArrayLike<number | bigint>, width: number): number[] =>
    Array.from(mask).flatMap((seen, at) =>
      seen === 1 ? Array.from({ length: width }, (_, i) => Number(data[at * width + i])) : [],
    );

  async function withEngine<T>(
    model: Omit<PretrainingModelConfig, keyof typeof common>,
    use: (engine: Engine, weights: ExportWeights) => Promise<T>,
  ): Promise<T> {
    const engine = await Engine.create({
      model: { ...common, ...model },
      device: "cpu",
      threads: 1,
      seed: 4,
    });
    const shapes = new Map(engine.parameters().map(({ name, shape: size }) => [name, size]));
    const weights: ExportWeights = {
      path: "engine",
      shapeOf: (variable) => shapes.get(variable),
      read: (variable) => engine.readParameter(variable),
    };
    // Biases and LayerNorm at 0 and 1 would hide a mix-up.
    for (const { name, elements } of engine.parameters()) {
      if (!/bias|beta|gamma/.test(name)) continue;
      const values = Float32Array.from({ length: elements }, (_, i) => Math.sin(i + name.length) / 3);
      await engine.writeParameter(name, name.endsWith("gamma") ? values.map((v) => v + 1) : values);
    }
    try {
      return await use(engine, weights);
    } finally {
      await engine.dispose();
    }
  }
  const config = (act: string): HfConfig => ({
    ...shape,
    hidden_act: act,
    model_type: "electra",
    architectures: [],
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  });

  it.each(["gelu", "gelu_new", "relu"])("states and replaced-token logits with %s", async (act) => {
    await withEngine(
      {
        objective: "electra",
        generator_kind: "uniform",
        discriminator: { ...shape, hidden_act: act },
        max_predictions_per_seq: 1,
      },
      async (engine, weights) => {
        const hidden = "hidden/electra/sequence_output";
        const expected = await engine.forward(
          { inputIds, segmentIds, lengths, rows, length },
          { network: "discriminator", outputs: [hidden, "disc/logits"] },
        );
        const states = await runGraph(config(act), { kind: "encoder" }, weights, feeds);
        expect(
          relative(
            ofTokens(states["last_hidden_state"]!.data, shape.hidden_size),
            ofTokens(expected[hidden]!.data, shape.hidden_size),
          ),
        ).toBeLessThan(1e-5);
        const logits = await runGraph(config(act), { kind: "replaced-tokens" }, weights, feeds);
        expect(
          relative(ofTokens(logits["logits"]!.data, 1), ofTokens(expected["disc/logits"]!.data, 1)),
        ).toBeLessThan(1e-5);
      },
    );
  });

  it("masked-LM logits", async () => {
    const slots = 7;
    await withEngine(
      {
        objective: "mlm",
        generator_kind: "shared",
        discriminator: shape,
        max_predictions_per_seq: slots,
      },
      async (engine, weights) => {
        const positions = Int32Array.from({ length: rows * slots }, (_, i) => {
          const position = (i % slots) * 13;
          return position < lengths[Math.floor(i / slots)]! ? position : -1;
        });
        const expected = await engine.forward(
          { inputIds, segmentIds, lengths, rows, length },
          { network: "generator", positions, outputs: ["mlm/logits"] },
        );
        const found = await runGraph(config("gelu"), { kind: "masked-lm" }, weights, feeds);
        const words = shape.vocab_size;
        const pairs = Array.from(positions).flatMap((position, slot) =>
          position < 0 ? [] : [[Math.floor(slot / slots) * length + position, slot] as const],
        );
        expect(pairs).toHaveLength(7 + 1 + 4 + 1);
        const at = (data: ArrayLike<number | bigint>, index: number): number[] =>
          Array.from({ length: words }, (_, i) => Number(data[index * words + i]));
        expect(
          relative(
            pairs.flatMap(([token]) => at(found["logits"]!.data, token)),
            pairs.flatMap(([, slot]) => at(expected["mlm/logits"]!.data, slot)),
          ),
        ).toBeLessThan(1e-5);
      },
    );
  });

  it("a row longer than the model's positions is refused, not cut", async () => {
    await withEngine(
      {
        objective: "electra",
        generator_kind: "uniform",
        discriminator: { ...shape, max_position_embeddings: 96 },
        max_predictions_per_seq: 1,
      },
      async (_, weights) => {
        const long = integers([1, 97], new Array(97).fill(5));
        const ones = integers([1, 97], new Array(97).fill(1));
        const given = { input_ids: long, attention_mask: ones, token_type_ids: ones };
        await expect(runGraph(config("gelu"), { kind: "encoder" }, weights, given)).rejects.toThrow();
      },
    );
  });
});

needsRuntime(`heads of tasks as ONNX, beside the fine-tuning engine${withoutRuntime}`, () => {
  const lengths = Int32Array.of(40, 9, 23);
  const rows = lengths.length;
  const length = 40;
  const inputIds = Int32Array.from({ length: rows * length }, (_, i) => (i * 104729 + 7) % shape.vocab_size);
  const mask = Int32Array.from(inputIds, (_, i) => (i % length < lengths[Math.floor(i / length)]! ? 1 : 0));
  const config: HfConfig = {
    ...shape,
    model_type: "electra",
    architectures: [],
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  };

  it.each(allTasks)("$name", async ({ name, head }) => {
    const tagging = head.kind === "tagging";
    const segmentIds = Int32Array.from(inputIds, (_, i) => (tagging || i % length >= 4 ? 1 : 0));
    const engine = await FinetuningEngine.create({
      model: {
        encoder: { ...shape, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
        tasks: [{ name, head: engineHead(head) }],
        max_seq_length: length,
      },
      device: "cpu",
      threads: 1,
      seed: 8,
    });
    try {
      const shapes = new Map(engine.parameters().map((parameter) => [parameter.name, parameter.shape]));
      const weights: ExportWeights = {
        path: "engine",
        shapeOf: (variable) => shapes.get(variable),
        read: (variable) => engine.readParameter(variable),
      };
      const outputs =
        head.kind === "span"
          ? [
              "start_logits",
              ...(head.jointPrediction
                ? ["start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index"]
                : ["end_logits"]),
              ...(head.answerableClassifier ? ["answerable_logit"] : []),
            ]
          : [head.kind === "regression" ? "predictions" : "logits"];
      const words = Array.from(lengths, (count) => Array.from({ length: count }, (_, position) => position));
      const offsets = Int32Array.of(0, 40, 49, 72);
      const { outputs: expected } = await engine.predict(
        {
          inputIds,
          segmentIds,
          lengths,
          rows,
          length,
          ...(tagging ? { words: { offsets, positions: Int32Array.from(words.flat()) } } : {}),
        },
        { outputs: outputs.map((output) => `${name}/${output}`) },
      );
      const found = await runGraph(config, { kind: "task", task: name, head }, weights, {
        input_ids: integers([rows, length], inputIds),
        attention_mask: integers([rows, length], mask),
        token_type_ids: integers([rows, length], segmentIds),
      });
      for (const output of outputs) {
        const wanted = expected[`${name}/${output}`]!;
        const { data, shape: size } = found[output]!;
        const width = data.length / (rows * length);
        const perToken = size[1] === length;
        const tokens = (values: ArrayLike<number | bigint>): number[] =>
          Array.from(mask).flatMap((seen, at) =>
            seen === 0 ? [] : Array.from({ length: width }, (_, i) => Number(values[at * width + i])),
          );
        if (output.endsWith("_index")) expect(Array.from(data, Number)).toEqual([...wanted.data]);
        else if (tagging) expect(relative(tokens(data), wanted.data)).toBeLessThan(1e-5);
        else if (perToken) expect(relative(tokens(data), tokens(wanted.data))).toBeLessThan(1e-5);
        else if (head.kind === "regression") {
          // The engine says what the head learned, the exported model what the task's data say.
          const scaled = wanted.data.map((value) => value * head.maximum + head.minimum);
          expect(relative(data, scaled)).toBeLessThan(1e-5);
        } else expect(relative(data, wanted.data)).toBeLessThan(1e-5);
      }
    } finally {
      await engine.dispose();
    }
  });
});

needsRuntime(`exportOnnx compares what it wrote${withoutRuntime}`, () => {
  it.each([undefined, "generator", "encoder"] as const)("part %s of a pre-trained model", async (part) => {
    const model = join(folder, `pretrained-${part}`);
    await saveCheckpoint(toySave(model, 1));
    const { numbers } = await exportOnnx({
      model,
      outputDir: join(folder, `out-${part}`),
      ...(part === undefined ? {} : { part }),
    });
    for (const { largestDifference, largestValue } of numbers!.outputs) {
      expect(largestValue).toBeGreaterThan(0.1);
      expect(largestDifference).toBeLessThan(1e-5 * largestValue);
    }
  });

  it("every kind of task, with its weights embedded and apart", async () => {
    const model = join(folder, "finetuned");
    await saveFinetuned(model, allTasks);
    for (const [index, { name: task }] of allTasks.entries()) {
      const { numbers, graph } = await exportOnnx({
        model,
        task,
        outputDir: join(folder, `task-${task}`),
        ...(index % 2 === 0 ? {} : { embeddedBytes: 0 }),
      });
      const outputs = graph.outputs.filter(({ name }) => !name.endsWith("_index"));
      expect(numbers!.outputs.map(({ output }) => output)).toEqual(outputs.map(({ name }) => name));
      for (const { largestDifference, largestValue } of numbers!.outputs) {
        expect(largestValue).toBeGreaterThan(0.1);
        expect(largestDifference).toBeLessThan(1e-5 * largestValue);
      }
    }
  });
});
