import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { hfLayout } from "../../../src/checkpoint/hf-layout.js";
import { SafetensorsReader } from "../../../src/checkpoint/safetensors.js";
import { pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";
import { exportModel } from "../../../src/interop/export-model.js";
import { type ExportOnnxOptions, exportOnnx } from "../../../src/interop/onnx/export-onnx.js";
import type { OnnxRuntime } from "../../../src/interop/onnx/onnx-runtime.js";
import { toyHparams, toySave, toyVocabulary } from "../checkpoint/toy-model.js";
import { runCli } from "../cli/run-cli.js";
import { allTasks, headVariables, saveFinetuned, saveHfFolder } from "./models.js";
import { parseOnnx, shapeOf } from "./onnx-proto.js";

let folder: string;
const place = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "export-"));
  await saveCheckpoint(toySave(place("pretrained"), 5));
  await saveFinetuned(place("finetuned"), allTasks);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Without onnxruntime, wherever the tests run. */
const exported = (name: string, options: Omit<ExportOnnxOptions, "outputDir">) =>
  exportOnnx({ runtime: null, ...options, outputDir: place(name) });
const json = (...path: string[]) => JSON.parse(readFileSync(place(join(...path)), "utf8"));
const graphOf = (name: string) => parseOnnx(readFileSync(place(join(name, "onnx/model.onnx")))).graph;
const shapes = (values: ReturnType<typeof graphOf>["input"]) =>
  Object.fromEntries(values.map((value) => [value.name, shapeOf(value)]));

const TOKENS = ["batch_size", "sequence_length"];

describe("exportOnnx of a pre-trained model", () => {
  it.each([
    ["discriminator", undefined, "ElectraForPreTraining", { logits: TOKENS }],
    ["generator", "generator", "ElectraForMaskedLM", { logits: [...TOKENS, 39] }],
    ["encoder", "encoder", "ElectraModel", { last_hidden_state: [...TOKENS, 16] }],
  ] as const)("writes the %s as transformers.js wants it", async (name, part, architecture, outputs) => {
    const made = await exported(name, {
      model: place("pretrained"),
      ...(part === undefined ? {} : { part }),
    });
    expect(readdirSync(place(name)).sort()).toEqual([
      "README.md",
      "config.json",
      "export.json",
      "onnx",
      "tokenizer.json",
      "tokenizer_config.json",
      "vocab.txt",
    ]);
    expect(made).toMatchObject({ architecture, step: 5, numbers: undefined });
    expect(json(name, "config.json")).toMatchObject({
      architectures: [architecture],
      model_type: "electra",
      "transformers.js_config": { dtype: "fp32" },
    });
    expect(json(name, "tokenizer_config.json")).toMatchObject({
      tokenizer_class: "ElectraTokenizer",
      model_max_length: 16,
    });
    expect(json(name, "export.json")).toMatchObject({ target: "onnx", opset: 17, step: 5 });
    expect(readFileSync(place(join(name, "vocab.txt")), "utf8")).toBe(toyVocabulary);
    const graph = graphOf(name);
    const card = readFileSync(place(join(name, "README.md")), "utf8");
    expect(card).toMatch(/^---\nlibrary_name: transformers\.js\n/);
    for (const { name: value } of [...graph.input, ...graph.output])
      expect(card).toContain(`- \`${value}\` [`);
    expect(shapes(graph.input)).toEqual({
      input_ids: TOKENS,
      attention_mask: TOKENS,
      token_type_ids: TOKENS,
    });
    expect(shapes(graph.output)).toEqual(outputs);
  });

  it.each(["discriminator", "generator"] as const)(
    "holds every tensor of the %s once, under Hugging Face's name, bit for bit",
    async (name) => {
      const { entries } = hfLayout(pretrainingVariables(toyHparams))[name]!;
      const source = await SafetensorsReader.open(place(`pretrained/checkpoint-5/${name}/model.safetensors`));
      const tensors = new Map(graphOf(name).initializer.map((tensor) => [tensor.name, tensor]));
      for (const { hfName, transposed, shape } of entries) {
        const tensor = tensors.get(transposed ? hfName.replace(/weight$/, "kernel") : hfName)!;
        tensors.delete(tensor.name);
        expect(tensor.dims).toEqual(transposed ? [...shape].reverse() : shape);
        const found = new Float32Array(Uint8Array.from(tensor.raw_data!).buffer);
        const values = await source.readFloat32(hfName);
        const [rows = 0, columns = 0] = shape;
        const expected = transposed
          ? found.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
          : values;
        expect(found).toEqual(expected);
      }
      await source.close();
      expect([...tensors.keys()].filter((tensor) => !tensor.startsWith("constant/"))).toEqual([]);
    },
  );

  it("puts the weights beside the model when they are too many, and says so to transformers.js", async () => {
    await exported("external", { model: place("pretrained"), embeddedBytes: 1000 });
    expect(readdirSync(place("external/onnx")).sort()).toEqual(["model.onnx", "model.onnx_data"]);
    expect(json("external", "config.json")["transformers.js_config"]).toEqual({
      dtype: "fp32",
      use_external_data_format: true,
    });
  });
});

describe("exportOnnx of a fine-tuned model", () => {
  const PAIR = { start_logits: TOKENS, end_logits: TOKENS };
  const BEAM = ["batch_size", "beam_size"];
  const beam = {
    start_top_log_probs: BEAM,
    start_top_index: BEAM,
    end_top_log_probs: [...BEAM, "beam_size"],
    end_top_index: [...BEAM, "beam_size"],
  };
  it.each([
    ["mrpc", "SequenceClassification", { logits: ["batch_size", 2] }],
    ["topics", "SequenceClassification", { logits: ["batch_size", 3] }],
    ["sts", "SequenceClassification", { logits: ["batch_size", 1], predictions: ["batch_size"] }],
    ["ner", "TokenClassification", { logits: [...TOKENS, 3] }],
    ["squad", "QuestionAnswering", { ...PAIR, ...beam, answerable_logit: ["batch_size"] }],
    ["plainspan", "QuestionAnswering", PAIR],
    ["simplespan", "QuestionAnswering", { ...PAIR, answerable_logit: ["batch_size"] }],
  ] as const)("writes the task %s for ElectraFor%s", async (task, architecture, outputs) => {
    const made = await exported(task, { model: place("finetuned"), task });
    expect(made.architecture).toBe(`ElectraFor${architecture}`);
    const graph = graphOf(task);
    expect(shapes(graph.output)).toEqual(outputs);
    const head = headVariables(allTasks.find(({ name }) => name === task)!, 16);
    const written = graph.initializer.filter(({ name }) => name.startsWith("task_specific."));
    expect(written.map(({ name, dims }) => [name.replaceAll(".", "/"), dims]).sort()).toEqual(
      head.map(({ name, shape }) => [name, [...shape]]).sort(),
    );
    expect(json(task, "tokenizer_config.json")["model_max_length"]).toBe(12);
  });

  it("says what the logits mean", () => {
    expect(json("mrpc", "config.json")).toMatchObject({
      finetuning_task: "mrpc",
      id2label: { 0: "different", 1: "same" },
      label2id: { different: 0, same: 1 },
      problem_type: "single_label_classification",
    });
    expect(json("topics", "config.json")["problem_type"]).toBe("multi_label_classification");
    expect(json("sts", "config.json")).toMatchObject({ problem_type: "regression", id2label: { 0: "sts" } });
    expect(json("ner", "config.json")["id2label"]).toEqual({ 0: "B-PER", 1: "I-PER", 2: "O" });
  });

  it("keeps a tagging model's text as it was in training: segment 1, lower-cased, ideographs together", () => {
    expect(Object.keys(shapes(graphOf("ner").input))).toEqual(["input_ids", "attention_mask"]);
    expect(json("ner", "tokenizer.json").normalizer).toEqual({
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: false,
      strip_accents: true,
      lowercase: true,
    });
    expect(json("ner", "tokenizer_config.json")["tokenize_chinese_chars"]).toBe(false);
  });

  it("gives the encoder alone, and asks which of several tasks", async () => {
    const made = await exported("taskless", { model: place("finetuned"), part: "encoder" });
    expect(made.architecture).toBe("ElectraModel");
    await expect(exported("many", { model: place("finetuned") })).rejects.toMatchObject({
      code: "ERR_ELECTRA_TASK",
      hint: expect.stringContaining("--task: mrpc, topics"),
    });
    await expect(exported("none", { model: place("finetuned"), task: "poetry" })).rejects.toThrow(
      /no task "poetry"/,
    );
    await expect(exported("none", { model: place("pretrained"), task: "mrpc" })).rejects.toThrow(
      /knows no task, and no fine-tuned model lies in it/,
    );
    expect(["many", "none"].filter((name) => existsSync(place(name)))).toEqual([]);
  });
});

describe("exportOnnx of another format's folder", () => {
  it.each(["discriminator", "generator"] as const)(
    "makes the same %s, byte for byte, of a TensorFlow checkpoint and of Hugging Face folders",
    async (part) => {
      const model = place("pretrained");
      const path = (name: string) => place(`${name}-${part}/onnx/model.onnx`);
      await exported(`own-${part}`, { model, part });
      for (const format of ["tf", "hf"] as const) {
        const between = place(`${format}-${part}-between`);
        await exportModel({ model, format, outputDir: between });
        await exported(`${format}-${part}`, { model: between, part });
        expect(readFileSync(path(format))).toEqual(readFileSync(path("own")));
      }
    },
  );

  it("takes a vocabulary from elsewhere", async () => {
    const between = place("no-vocabulary");
    await exportModel({ model: place("pretrained"), format: "tf", outputDir: between });
    rmSync(join(between, "vocab.txt"));
    const options = { model: between, part: "encoder" } as const;
    await expect(exported("with-vocabulary", options)).rejects.toThrow(/vocab\.txt cannot be read/);
    const vocabFile = place("elsewhere.txt");
    writeFileSync(vocabFile, toyVocabulary);
    await exported("with-vocabulary", { ...options, vocabFile });
    expect(readFileSync(place("with-vocabulary/vocab.txt"), "utf8")).toBe(toyVocabulary);
  });
});

describe("exportOnnx of a Hugging Face folder", () => {
  const config = {
    ...toySave("", 1).configs.generator!,
    architectures: ["ElectraForSequenceClassification"],
  };
  const encoder = (): Record<string, readonly number[]> =>
    Object.fromEntries(
      hfLayout(pretrainingVariables(toyHparams)).generator!.entries.flatMap(({ hfName, shape }) =>
        hfName.startsWith("electra.") ? [[hfName, shape]] : [],
      ),
    );

  it("takes the class's own head with its labels", async () => {
    const { hidden_size: size } = config;
    await saveHfFolder(
      place("hf"),
      {
        ...encoder(),
        "classifier.dense.weight": [size, size],
        "classifier.dense.bias": [size],
        "classifier.out_proj.weight": [2, size],
        "classifier.out_proj.bias": [2],
      },
      { ...config, id2label: { 0: "bad", 1: "good" } } as never,
      toyVocabulary,
    );
    const made = await exported("from-hf", { model: place("hf") });
    expect(made.architecture).toBe("ElectraForSequenceClassification");
    expect(shapes(graphOf("from-hf").output)).toEqual({ logits: ["batch_size", 2] });
    expect(json("from-hf", "config.json")["id2label"]).toEqual({ 0: "bad", 1: "good" });
  });

  it("refuses a head that is not there, a half that is not there, and weights of another size", async () => {
    await saveHfFolder(place("bare"), encoder(), { ...config, architectures: [] } as never, toyVocabulary);
    expect((await exported("from-bare", { model: place("bare") })).architecture).toBe("ElectraModel");
    await expect(exported("x", { model: place("bare"), part: "discriminator" })).rejects.toMatchObject({
      code: "ERR_ELECTRA_MODEL_HALF",
    });
    await expect(exported("x", { model: place("bare"), part: "generator" })).rejects.toThrow(
      /holds no generator, only: discriminator/,
    );
    const wide = { ...config, intermediate_size: 40, architectures: [] } as never;
    await saveHfFolder(place("wrong"), encoder(), wide, toyVocabulary);
    await expect(exported("x", { model: place("wrong") })).rejects.toMatchObject({
      code: "ERR_ELECTRA_CHECKPOINT_MISMATCH",
    });
    const odd = { ...config, hidden_act: "swish", architectures: [] } as never;
    await saveHfFolder(place("odd"), encoder(), odd, toyVocabulary);
    await expect(exported("x", { model: place("odd") })).rejects.toThrow(/hidden_act is "swish"/);
    expect(readdirSync(folder).filter((name) => /^x/.test(name))).toEqual([]);
  });
});

describe("the output folder", () => {
  it("is replaced only with overwrite, and only if it is an export", async () => {
    const model = place("pretrained");
    await exported("twice", { model });
    await expect(exported("twice", { model })).rejects.toMatchObject({
      code: "ERR_ELECTRA_OUTPUT_FOLDER",
      hint: expect.stringContaining("--overwrite"),
    });
    writeFileSync(place("twice/old.txt"), "");
    await exported("twice", { model, overwrite: true, part: "generator" });
    expect(readdirSync(place("twice"))).not.toContain("old.txt");
    expect(json("twice", "config.json").architectures).toEqual(["ElectraForMaskedLM"]);

    const folders = place("hf-again");
    await exportModel({ model, format: "hf", outputDir: folders });
    for (const inside of [folders, join(folders, "generator")]) {
      const made = exported("hf-again", { model: inside, overwrite: true });
      await expect(made).rejects.toThrow(/holds the model that is to be exported/);
    }
    expect(readdirSync(folders)).toContain("generator");

    mkdirSync(place("mine"));
    await exported("mine", { model });
    mkdirSync(place("letters"));
    writeFileSync(place("letters/a.txt"), "dear");
    await expect(exported("letters", { model, overwrite: true })).rejects.toThrow(/it holds a\.txt/);
    expect(readdirSync(place("letters"))).toEqual(["a.txt"]);
    await expect(exported("letters/a.txt", { model, overwrite: true })).rejects.toMatchObject({
      code: "ERR_ELECTRA_OUTPUT_FOLDER",
    });
  });

  it("keeps what was there when the new export is not equal to its source", async () => {
    const model = place("pretrained");
    await exported("kept", { model });
    const before = readFileSync(place("kept/export.json"), "utf8");
    const wrong: OnnxRuntime = {
      version: "wrong",
      openSession: async () => ({
        inputNames: ["input_ids", "attention_mask", "token_type_ids"],
        outputNames: ["logits"],
        run: async ({ input_ids }) => {
          const { shape } = input_ids!;
          return { logits: { shape, data: new Float32Array(shape[0]! * shape[1]!).fill(0.25) } };
        },
        release: async () => {},
      }),
    };
    await expect(exported("kept", { model, overwrite: true, runtime: wrong })).rejects.toMatchObject({
      code: "ERR_ELECTRA_EXPORT",
    });
    expect(readFileSync(place("kept/export.json"), "utf8")).toBe(before);
    const stopped = AbortSignal.abort(new Error("stopped by hand"));
    await expect(exported("kept", { model, overwrite: true, signal: stopped })).rejects.toThrow(/stopped/);
    expect(readdirSync(folder).filter((name) => /\.(tmp|old)-/.test(name))).toEqual([]);
  });
});

describe("the command export", () => {
  const command = (...more: string[]) => runCli("export", "--to", "onnx", ...more);

  it("prints what was written and checked, and the command to type next", async () => {
    const { code, stdout, stderr } = await command(
      ...["--model", place("finetuned"), "--task", "mrpc", "--output-dir", place("cli")],
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/class +ElectraForSequenceClassification/);
    expect(stdout).toMatch(/outputs +logits \[batch_size, 2\]/);
    expect(stdout).toMatch(/read back +\d+ nodes, 41 weights of \d+ values: equal bit for bit/);
    // With onnxruntime-node it says how far its numbers are off, without it how to find out.
    expect(stdout + stderr).toMatch(/run: logits +largest difference|npm install onnxruntime-node/);
    expect(stderr).toMatch(/Next:\n {2}node examples\/onnx-transformers-js\.mjs .*cli "/);
  });

  it("prints one document with --json", async () => {
    const { stdout } = await command(
      ...["--model", place("pretrained"), "--part", "encoder", "--output-dir", place("doc"), "--json"],
    );
    expect(JSON.parse(stdout)).toMatchObject({
      path: place("doc"),
      head: { kind: "encoder" },
      architecture: "ElectraModel",
      step: 5,
      outputs: [{ name: "last_hidden_state", shape: [...TOKENS, 16] }],
      structure: { weights: 39 },
    });
  });

  it.each([
    [["--model", "m"], /--output-dir not given/],
    [["--model", "/nowhere", "--output-dir", "o"], /\/nowhere is not a folder/],
  ])("refuses %j", async (given, message) => {
    const { code, stderr } = await command(...given);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  it.each([
    ["onnx", "--moments"],
    ["hf", "--moments"],
    ["tf", "--part", "generator"],
    ["tf", "--task", "mrpc"],
    ["hf", "--part", "encoder"],
  ])("--to %s refuses %s, which means nothing to it", async (to, ...flag) => {
    const { code, stderr } = await runCli(
      ...["export", "--to", to, "--model", place("pretrained"), "--output-dir", place("unused"), ...flag],
    );
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(
        `${flag.join(" ")} means nothing to --to ${to}`.replace(/ (generator|mrpc) /, " "),
      ),
    ]);
    expect(existsSync(place("unused"))).toBe(false);
  });

  it("writes what inspect looks into, as a folder and as a file", async () => {
    for (const path of ["encoder", "encoder/onnx/model.onnx", "external"].map(place)) {
      const { code, stdout } = await runCli("inspect", path);
      expect(code).toBe(0);
      expect(stdout).toMatch(/input_ids +int64 \[batch_size, sequence_length\]/);
      expect(stdout).toMatch(/electra\.embeddings\.word_embeddings\.weight +float \[39, 8\]/);
      expect(stdout).toMatch(/weights +(39|43) of \d+ values/);
    }
    const { stdout } = await runCli("inspect", place("mrpc"), "--json");
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({
      kind: "onnx",
      opset: 17,
      export: { target: "onnx", head: { kind: "classification", task: "mrpc" } },
      outputs: [{ name: "logits", type: "float", shape: ["batch_size", 2] }],
    });
    expect(document.tensors).toContainEqual({
      name: "task_specific.mrpc.dense.bias",
      type: "float",
      shape: [2],
      bytes: 8,
    });
    writeFileSync(place("bad.onnx"), "this is no model at all, whatever its name");
    const bad = await runCli("inspect", place("bad.onnx"));
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringMatching(/bad\.onnx: .* \(byte \d+\)/)]);
  });

  it("refuses another format by name", async () => {
    const { code, stderr } = await runCli("export", "--to", "poem", "--model", "m", "--output-dir", "o");
    expect([code, stderr]).toEqual([2, expect.stringMatching(/Allowed choices are .*onnx/)]);
  });
});
