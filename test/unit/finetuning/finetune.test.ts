import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { type FinetuneOptions, finetune } from "../../../src/finetuning/training/finetune.js";
import { pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";
import { discriminatorConfig, generatorConfig } from "../../../src/hparams/transformer-config.js";
import { exportModel } from "../../../src/interop/export-model.js";
import type { EventSink } from "../../../src/telemetry/event-sink.js";
import { MemoryStore, toyHparams } from "../checkpoint/toy-model.js";
import { PlainEngine, type PlainEngineLog } from "./plain-engine.js";
import { taskFolder, toyVocabulary } from "./task-folder.js";

const vocabText = `${toyVocabulary.tokens.join("\n")}\n`;

/** Whether a text is about a boat. */
function lines(count: number, offset = 0): string {
  const words = ["the", "old", "bridge", "is", "red", "blue", "when", "where"];
  return Array.from({ length: count }, (_, i) => {
    const label = (i + offset) % 2;
    const text = [0, 1, 2].map((k) => words[(7 * i + 3 * k + offset) % words.length]);
    if (label === 1) text.splice(i % 3, 0, "boat", "boat");
    return `gj04\t${label}\t\t${text.join(" ")}\n`;
  }).join("");
}

const hparams = {
  task_names: ["cola"],
  max_seq_length: 16,
  train_batch_size: 8,
  num_train_epochs: 4,
  learning_rate: 0.3,
};

/** A data folder with a pre-trained model `m` and two tasks, and what runs there. */
async function workshop() {
  const { dataDir } = taskFolder({
    "cola/train.tsv": lines(60),
    "cola/dev.tsv": lines(40, 1),
    "cola/test.tsv": `index\tsentence\n${lines(5).replaceAll(/^gj04\t.\t\t/gm, "0\t")}`,
    "sst/train.tsv": `sentence\tlabel\n${lines(30).replaceAll(/^gj04\t(.)\t\t(.*)$/gm, "$2\t$1")}`,
    "sst/dev.tsv": `sentence\tlabel\n${lines(20).replaceAll(/^gj04\t(.)\t\t(.*)$/gm, "$2\t$1")}`,
  });
  const shape = { ...toyHparams, vocab_size: toyVocabulary.size };
  const variables = pretrainingVariables(shape);
  const parameters = new MemoryStore(variables, 5);
  await saveCheckpoint({
    runDir: join(dataDir, "models/m"),
    step: 10,
    seed: 7,
    cursor: 0,
    hparams: { max_seq_length: 16 },
    versions: {},
    fingerprints: { data: 0, package: 0, isa: 0, gemm: 0, precision: 0, device: 0, threads: 0 },
    parameters,
    configs: { generator: generatorConfig(shape), discriminator: discriminatorConfig(shape) },
    tokenizer: { vocabText, doLowerCase: true, stripAccents: true },
  });
  const run = async (
    more: Readonly<Record<string, unknown>> = {},
    options: Partial<FinetuneOptions> = {},
    log?: PlainEngineLog,
  ) => {
    const made: PlainEngineLog = log ?? { created: [], steps: [] };
    const talk: string[] = [];
    const result = await finetune({
      dataDir,
      modelName: "m",
      hparams: { ...hparams, ...more },
      createEngine: PlainEngine.maker(made),
      onLine: (line) => void talk.push(line),
      ...options,
    });
    return { result, log: made, talk: talk.join("\n") };
  };
  return { dataDir, parameters, run, models: join(dataDir, "models/m/finetuning_models") };
}

const weightsOf = (folder: string, step: number) =>
  readFileSync(join(folder, `checkpoint-${step}`, "finetuned/model.safetensors"));

/** Aborts before the step of this number. */
function stopAt(step: number) {
  const controller = new AbortController();
  const log: PlainEngineLog = {
    created: [],
    steps: [],
    beforeStep: (now) => {
      if (now === step) controller.abort(new Error("stop"));
    },
  };
  return { signal: controller.signal, log };
}

describe("a fine-tuning run", () => {
  it("learns, evaluates, saves a model with its results, and writes the results", async () => {
    const { run, dataDir, models, parameters } = await workshop();
    const { result, log, talk } = await run();
    expect(result).toMatchObject({
      status: "finished",
      trials: [{ trial: 1, status: "finished", steps: 32 }],
    });
    expect(result.summary["cola"]!.metrics["mcc"]!.median).toBeGreaterThan(80);
    expect(log.created[0]!.model).toMatchObject({
      encoder: { hidden_size: 16, num_hidden_layers: 2, vocab_size: toyVocabulary.size },
      tasks: [{ name: "cola", head: { kind: "classification", classes: 2 } }],
      max_seq_length: 16,
    });
    // 60 rows are 8 batches: 32 steps, a tenth of which is warm-up.
    expect(log.steps.map(({ step }) => step)).toEqual(Array.from({ length: 32 }, (_, i) => i));
    expect(log.steps[0]!.learningRate).toBe(0);
    expect(log.steps[3]!.learningRate).toBeCloseTo((0.3 * (1 - 3 / 32) * 3) / 3.2, 5);
    expect(log.steps[31]!.learningRate).toBeCloseTo(0.3 / 32, 5);
    expect(log.created[0]!.learningRateScale!("electra/encoder/layer_1/output/dense/bias")).toBeCloseTo(
      0.8 ** 2,
    );
    expect(log.created[0]!.learningRateScale!("task_specific/cola/dense/bias")).toBe(1);

    const finetuned = join(models, "cola_model_1/checkpoint-32/finetuned");
    const file = JSON.parse(readFileSync(join(finetuned, "finetuning.json"), "utf8"));
    expect(file).toMatchObject({
      format: 1,
      trial: 1,
      tasks: [{ name: "cola", head: { kind: "classification", labels: ["0", "1"] } }],
      hparams: { max_seq_length: 16, learning_rate: 0.3 },
    });
    expect(file.results.cola.mcc).toBe(result.summary["cola"]!.metrics["mcc"]!.median);
    expect(readFileSync(join(finetuned, "vocab.txt"), "utf8")).toBe(vocabText);
    expect(existsSync(join(models, "cola_model_1/checkpoint-32/training.safetensors"))).toBe(false);
    // The encoder was the pre-trained one's discriminator: the plain engine leaves it as it is.
    const weights = weightsOf(join(models, "cola_model_1"), 32);
    const layerNorm = parameters.tensors.get("value:electra/encoder/layer_1/output/LayerNorm/gamma")!;
    expect(weights.includes(Buffer.from(layerNorm.buffer))).toBe(true);

    const results = join(dataDir, "models/m/results");
    expect(readFileSync(join(results, "cola_results.txt"), "utf8")).toMatch(
      /^cola: mcc: \d+\.\d\d - loss: 0\.\d\d\n$/,
    );
    expect(talk).toContain("Training for 32 steps");
    expect(talk).toMatch(/={80}\nRun dev set evaluation: model=m, trial 1\/1:\n={80}\ncola: mcc: /);
    const events = readFileSync(join(models, "cola_model_1/events.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.filter(({ type }) => type === "step")).toHaveLength(32);
    expect(events.map(({ type }) => type).slice(-4)).toEqual(["checkpoint", "done", "eval", "checkpoint"]);
  });

  it("has trials that share nothing but the data, and sums them up", async () => {
    const { run, dataDir, models } = await workshop();
    const { result, log } = await run({ num_trials: 3 });
    expect(new Set(log.created.map(({ seed }) => seed)).size).toBe(3);
    expect(log.created[0]!.seed).toBe(42);
    expect(
      new Set([1, 2, 3].map((trial) => weightsOf(join(models, `cola_model_${trial}`), 32).toString("hex")))
        .size,
    ).toBe(3);
    expect(result.summary["cola"]!.metrics["mcc"]!.trials).toBe(3);
    const text = readFileSync(join(dataDir, "models/m/results/cola_results.txt"), "utf8");
    expect(text.split("\n")).toHaveLength(4);
  });

  it("trains several tasks together and reports each", async () => {
    const { run, models } = await workshop();
    const { result } = await run({ task_names: ["cola", "sst"] });
    expect(result.trials[0]!.steps).toBe(48);
    expect(Object.keys(result.summary)).toEqual(["cola", "sst"]);
    expect(result.summary["sst"]!.metrics["accuracy"]!.median).toBeGreaterThan(80);
    expect(existsSync(join(models, "cola,sst_model_1"))).toBe(true);
  });

  it("keeps only the last model, but all results, if that is wanted", async () => {
    const { run, models } = await workshop();
    const { result } = await run({ num_trials: 2, keep_all_models: false });
    expect(readdirSync(join(models, "cola_model_1")).filter((name) => name.startsWith("checkpoint"))).toEqual(
      [],
    );
    expect(existsSync(join(models, "cola_model_2/checkpoint-32"))).toBe(true);
    const again = await run({ num_trials: 3, keep_all_models: false });
    expect(again.result.trials.map(({ status }) => status)).toEqual(["kept", "kept", "finished"]);
    expect(again.result.trials[0]!.results).toEqual(result.trials[0]!.results);
  });

  it("says that it is finished instead of starting over, unless it is told to", async () => {
    const { run, models } = await workshop();
    const first = await run();
    const again = await run();
    expect(again.result.status).toBe("complete");
    expect(again.log.created).toEqual([]);
    expect(again.result.summary).toEqual(first.result.summary);
    const weights = weightsOf(join(models, "cola_model_1"), 32);
    const anew = await run({}, { overwrite: true });
    expect(anew.result.status).toBe("finished");
    expect(anew.log.steps).toHaveLength(32);
    expect(weightsOf(join(models, "cola_model_1"), 32).equals(weights)).toBe(true);
  });

  it.each([
    ["learning_rate", 0.2, /learning_rate 0\.3 -> 0\.2/],
    ["seed", 1, /seed 42 -> 1/],
    ["max_seq_length", 12, /max_seq_length 16 -> 12/],
  ])("does not take a trial with another %s for its own", async (name, value, message) => {
    const { run } = await workshop();
    await run();
    await expect(run({ [name]: value })).rejects.toMatchObject({
      code: "ERR_ELECTRA_TRIAL_EXISTS",
      message: expect.stringMatching(message) as string,
      hint: expect.stringContaining("--overwrite") as string,
    });
  });

  it("does not take a trial of other data for its own, nor one that began with another model", async () => {
    const { run, dataDir } = await workshop();
    await run();
    writeFileSync(join(dataDir, "finetuning_data/cola/train.tsv"), lines(70));
    await expect(run()).rejects.toThrow(/trained on other data: train\.tsv changed/);
    writeFileSync(join(dataDir, "finetuning_data/cola/train.tsv"), lines(60));
    expect((await run()).result.status).toBe("complete");
    const weights = join(dataDir, "models/m/checkpoint-10/discriminator/model.safetensors");
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(weights, bytes);
    await expect(run()).rejects.toThrow(/began with another pre-trained model/);
  });

  it("evaluates a finished trial again where it is to be scored otherwise", async () => {
    const { run } = await workshop();
    await run({ task_names: ["sst"] });
    const again = await run({ task_names: ["sst"], qa_na_threshold: 1 });
    expect(again.result.status).toBe("finished");
    expect(again.log.steps).toEqual([]);
    expect(again.result.summary["sst"]!.metrics["accuracy"]!.median).toBeGreaterThan(80);
  });
});

describe("an interrupted run", () => {
  it.each([false, true])("goes on bit for bit (reshuffle %s)", async (reshuffle_each_epoch) => {
    const undisturbed = await workshop();
    await undisturbed.run({ reshuffle_each_epoch });
    const { run, models } = await workshop();
    for (const step of [5, 20]) {
      const { signal, log } = stopAt(step);
      const { result } = await run({ reshuffle_each_epoch }, { signal }, log);
      expect(result.status).toBe("interrupted");
      expect(result.trials[0]).toMatchObject({ status: "interrupted", steps: step + 1 });
      expect(existsSync(join(models, `cola_model_1/checkpoint-${step + 1}/training.safetensors`))).toBe(true);
    }
    const { result, log } = await run({ reshuffle_each_epoch });
    expect(result.status).toBe("finished");
    expect(log.steps[0]!.step).toBe(21);
    const folder = join(models, "cola_model_1");
    expect(weightsOf(folder, 32).equals(weightsOf(join(undisturbed.models, "cola_model_1"), 32))).toBe(true);
    expect(readdirSync(folder).filter((name) => name.startsWith("checkpoint"))).toEqual(["checkpoint-32"]);
    const steps = readFileSync(join(folder, "events.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ type }) => type === "step")
      .map(({ step }) => step);
    expect(steps).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));
  });

  it("of negative num_trials goes on until it is stopped", async () => {
    const { run } = await workshop();
    const controller = new AbortController();
    const log: PlainEngineLog = { created: [], steps: [] };
    const asked = { num_trials: -1, num_train_epochs: 0.5 };
    const onTrial = ({ trial }: { readonly trial: number }) => {
      if (trial === 3) controller.abort();
    };
    const { result } = await run(asked, { signal: controller.signal, onTrial }, log);
    expect(result.status).toBe("interrupted");
    expect(result.trials.map(({ trial, status, steps }) => [trial, status, steps])).toEqual([
      [1, "finished", 4],
      [2, "finished", 4],
      [3, "interrupted", 0],
    ]);
    expect(result.trials[2]!.checkpoint).toBeUndefined();
  });

  it("keeps the trials before", async () => {
    const { run } = await workshop();
    let trial = 0;
    const controller = new AbortController();
    const log: PlainEngineLog = {
      created: [],
      steps: [],
      beforeStep: (step) => {
        if (step === 0) trial++;
        if (trial === 2 && step === 9) controller.abort();
      },
    };
    const { result } = await run({ num_trials: 3 }, { signal: controller.signal }, log);
    expect(result.trials.map(({ status }) => status)).toEqual(["finished", "interrupted"]);
    expect(result.summary["cola"]!.metrics["mcc"]!.trials).toBe(1);
    const further = await run({ num_trials: 3 });
    expect(further.result.trials.map(({ status }) => status)).toEqual(["kept", "finished", "finished"]);
    expect(further.log.steps).toHaveLength(32 - 10 + 32);
  });

  it("that was stopped before it was evaluated only evaluates", async () => {
    const { run } = await workshop();
    const controller = new AbortController();
    const first = await run(
      {},
      {
        signal: controller.signal,
        onLine: (line) => {
          if (line.includes("Run dev set evaluation")) controller.abort();
        },
      },
    );
    expect(first.result.trials[0]).toMatchObject({ status: "interrupted", steps: 32, results: undefined });
    const { result, log } = await run();
    expect(log.steps).toEqual([]);
    expect(result.summary["cola"]!.metrics["mcc"]!.median).toBeGreaterThan(80);
  });
});

describe("evaluation alone", () => {
  it("takes the trial's model, or the fine-tuned one that is named", async () => {
    const { run, models } = await workshop();
    const trained = await run();
    const again = await run({ do_train: false });
    expect(again.log.steps).toEqual([]);
    expect(again.result.summary).toEqual(trained.result.summary);
    const named = await run({
      do_train: false,
      init_checkpoint: join(models, "cola_model_1"),
      model_dir: join(models, "elsewhere"),
    });
    expect(named.result.summary).toEqual(trained.result.summary);
  });

  it("refuses a model without these heads", async () => {
    const { run, models } = await workshop();
    await expect(run({ do_train: false })).rejects.toMatchObject({ code: "ERR_ELECTRA_NO_MODEL" });
    await run();
    await expect(
      run({ do_train: false, task_names: ["sst"], init_checkpoint: join(models, "cola_model_1") }),
    ).rejects.toThrow(/was trained for cola \(classification of 0, 1\); asked for is sst/);
  });
});

describe("what a run begins with", () => {
  it("is the head too, if a fine-tuned model has the same task", async () => {
    const { run, models } = await workshop();
    await run();
    let origins: string[] = [];
    const onTrial: FinetuneOptions["onTrial"] = ({ tensors }) => {
      origins = tensors.map(({ name, origin }) => `${origin} ${name}`);
    };
    const from = join(models, "cola_model_1");
    await run({ init_checkpoint: from, model_dir: join(models, "second"), num_train_epochs: 1 }, { onTrial });
    expect(origins).toContain("loaded task_specific/cola/dense/kernel");
    await run(
      { init_checkpoint: from, model_dir: join(models, "third"), task_names: ["sst"], num_train_epochs: 1 },
      { onTrial },
    );
    expect(origins).toContain("created task_specific/sst/dense/kernel");
    expect(origins).toContain("ignored task_specific/cola/dense/kernel");
    expect(origins).toContain("loaded electra/embeddings/word_embeddings");
  });

  it.each(["tf", "hf"] as const)("may come from elsewhere (%s), with the same outcome", async (format) => {
    const { run, dataDir, models } = await workshop();
    await run();
    const foreign = join(dataDir, format);
    await exportModel({ model: join(dataDir, "models/m"), format, outputDir: foreign });
    const elsewhere = join(models, format);
    await run({
      init_checkpoint: format === "hf" ? join(foreign, "discriminator") : foreign,
      model_dir: elsewhere,
      vocab_file: join(dataDir, "models/m/checkpoint-10/discriminator/vocab.txt"),
    });
    expect(weightsOf(`${elsewhere}_1`, 32).equals(weightsOf(join(models, "cola_model_1"), 32))).toBe(true);
  });

  it("may be a fine-tuned TensorFlow checkpoint, whose heads go by name and shape", async () => {
    const { run, dataDir, models } = await workshop();
    const trained = await run();
    const foreign = join(dataDir, "tf");
    await exportModel({ model: join(models, "cola_model_1"), format: "tf", outputDir: foreign });
    const asked = { do_train: false, init_checkpoint: foreign, model_dir: join(models, "nothing") };
    const evaluated = await run(asked);
    expect(evaluated.result.summary).toEqual(trained.result.summary);
    await expect(run({ ...asked, task_names: ["sst"] })).rejects.toThrow(
      /no task_specific\/sst\/dense\/kernel/,
    );
  });

  it.each([
    [{ vocab_size: 40 }, /vocab_size is 40, but the model in .* has \d+/],
    [{ embedding_size: 9 }, /embedding_size is 9/],
    [
      { model_hparam_overrides: { num_hidden_layers: 3 } },
      /num_hidden_layers is 3, but the model in .* has 2/,
    ],
    [{ do_lower_case: false }, /do_lower_case is false/],
    [{ max_seq_length: 17 }, /max_seq_length 17 is longer than the model reads: it has 16 positions/],
    [{ init_checkpoint: "nowhere" }, /No model to fine-tune: nowhere/],
    [{ task_names: ["colla"] }, /Unknown task colla/],
  ])("must fit: %j", async (more, message) => {
    const { run } = await workshop();
    await expect(run(more)).rejects.toThrow(message);
  });

  it("may be another vocabulary only by mistake", async () => {
    const { run, dataDir } = await workshop();
    const file = join(dataDir, "other.txt");
    writeFileSync(file, vocabText.replace("boat", "ship"));
    await expect(run({ vocab_file: file })).rejects.toThrow(
      /other\.txt is not the vocabulary.*"ship", not "boat"/,
    );
    writeFileSync(file, vocabText);
    expect((await run({ vocab_file: file })).result.status).toBe("finished");
  });

  it("may be nothing: random weights of the shape that is asked for", async () => {
    const { run, dataDir } = await workshop();
    writeFileSync(join(dataDir, "vocab.txt"), vocabText);
    const shape = toyHparams.model_hparam_overrides;
    const { log } = await run({ init_checkpoint: null, model_hparam_overrides: shape, embedding_size: 8 });
    expect(log.created[0]!.model.encoder).toMatchObject({
      hidden_size: 16,
      embedding_size: 8,
      vocab_size: toyVocabulary.size,
    });
  });

  it("is told before anything is done, with what to know of it", async () => {
    const { run } = await workshop();
    const codes: string[] = [];
    const sink: EventSink = {
      emit: (event) => {
        if (event.type === "warning") codes.push(event.code);
      },
      close: async () => {},
    };
    await run({ use_tpu: true, num_train_epochs: 0.2 }, { sinks: [sink] });
    expect(codes[0]).toBe("tpu_ignored");
  });

  it("needs rows and steps", async () => {
    const { run, dataDir } = await workshop();
    await expect(run({ num_train_epochs: 0.1 })).rejects.toThrow(
      /60 rows in batches of 8, 0\.1 times, make no step/,
    );
    writeFileSync(join(dataDir, "finetuning_data/cola/train.tsv"), "");
    await expect(run()).rejects.toThrow(/no rows/);
  });
});

describe("test predictions", () => {
  it("are logits by example, and GLUE's form", async () => {
    const { run, dataDir } = await workshop();
    const { result } = await run({ write_test_outputs: true, num_trials: 2, n_writes_test: 1 });
    const model = join(dataDir, "models/m");
    const file = join(model, "test_predictions/cola_test_1_predictions.json");
    expect(result.files).toContain(file);
    const logits = JSON.parse(readFileSync(file, "utf8"));
    expect(Object.keys(logits)).toEqual(["0", "1", "2", "3", "4"]);
    const submission = readFileSync(join(model, "glue_submission/1/CoLA.tsv"), "utf8").trim().split("\n");
    expect(submission).toEqual([
      "index\tprediction",
      ...Object.entries<number[]>(logits).map(([eid, [no, yes]]) => `${eid}\t${yes! > no! ? 1 : 0}`),
    ]);
    expect(existsSync(join(model, "test_predictions/cola_test_2_predictions.json"))).toBe(false);
  });
});
