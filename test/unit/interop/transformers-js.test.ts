import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { readModelWeights } from "../../../src/checkpoint/model-weights.js";
import { pairInput } from "../../../src/finetuning/features/pair-input.js";
import { Classifier } from "../../../src/inference/classifier.js";
import { weightsOfPart } from "../../../src/interop/export-weights.js";
import { encoderStates } from "../../../src/interop/onnx/encoder-states.js";
import { exportOnnx } from "../../../src/interop/onnx/export-onnx.js";
import { type ReferenceOutputs, referenceHead } from "../../../src/interop/onnx/reference-heads.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { toySave, toyVocabulary } from "../checkpoint/toy-model.js";
import { allTasks, runtimeFolder, saveFinetuned, withoutRuntime } from "./models.js";

/** The part of transformers.js that is used. */
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoTokenizer: { from_pretrained(name: string): Promise<TokenizerOfTheirs> };
  readonly AutoModel: { from_pretrained(name: string): Promise<ModelOfTheirs> };
  readonly AutoModelForSequenceClassification: { from_pretrained(name: string): Promise<ModelOfTheirs> };
  readonly AutoModelForMaskedLM: { from_pretrained(name: string): Promise<ModelOfTheirs> };
  pipeline(task: string, name: string): Promise<(...given: unknown[]) => Promise<unknown>>;
}
interface TensorOfTheirs {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}
type TokenizerOfTheirs = (
  text: string | string[],
  options?: object,
) => Record<"input_ids" | "attention_mask", TensorOfTheirs>;
type ModelOfTheirs = (inputs: object) => Promise<Record<string, TensorOfTheirs>>;

const texts = ["w5 w6 w7", "w38 w9 w12 w13 w14 w20 w21", "w17", "w30 w31 unheard w8", "w6 w5"];
const tokenizer = new Tokenizer({ vocabulary: Vocabulary.parse(toyVocabulary) });
let folder: string;
let theirs: Transformers;

describe.skipIf(runtimeFolder === undefined)(`exports in transformers.js${withoutRuntime}`, () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "transformers-js-"));
    const home = join(runtimeFolder!, "node_modules/@huggingface/transformers");
    theirs = (await import(
      /* @vite-ignore */ pathToFileURL(join(home, "dist/transformers.node.mjs")).href
    )) as Transformers;
    theirs.env.allowRemoteModels = false;
    theirs.env.localModelPath = folder;
    await saveCheckpoint(toySave(join(folder, "pretrained"), 1));
    await saveFinetuned(join(folder, "finetuned"), allTasks);
    await exportOnnx({ model: join(folder, "pretrained"), outputDir: join(folder, "detector") });
    for (const part of ["generator", "encoder"] as const) {
      await exportOnnx({ model: join(folder, "pretrained"), outputDir: join(folder, part), part });
    }
    for (const { name: task } of allTasks) {
      await exportOnnx({ model: join(folder, "finetuned"), task, outputDir: join(folder, task) });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What the engine's encoder and the formulas of the head say about texts, one row a text. */
  async function expected(model: string, part: "discriminator" | "finetuned", task?: string) {
    const opened = await readModelWeights(join(folder, model));
    const weights = weightsOfPart(opened, part);
    const config = opened.configs[part]!;
    const known = allTasks.find(({ name }) => name === task);
    const head =
      known === undefined
        ? { kind: "encoder" as const }
        : { kind: "task" as const, task: known.name, head: known.head };
    const compute = await referenceHead(head, config, weights);
    const outputs: ReferenceOutputs[] = [];
    for (const text of texts) {
      const { inputIds, segmentIds } = pairInput(tokenizer, 16, text);
      if (known?.head.kind === "tagging") segmentIds.fill(1);
      const row = {
        inputIds,
        segmentIds: Int32Array.from(segmentIds),
        lengths: Int32Array.of(inputIds.length),
        rows: 1,
        length: inputIds.length,
      };
      const [hidden] = await encoderStates(row, { config, weights, special: { cls: 2, sep: 3 } });
      outputs.push(compute({ inputIds, segmentIds, hidden: hidden! }));
    }
    await opened.close();
    return outputs;
  }
  const argmax = (values: ArrayLike<number>): number =>
    Array.from(values).reduce((best, value, i, all) => (value > all[best]! ? i : best), 0);

  it("tokenizes as we do, with padding", async () => {
    const tokenize = await theirs.AutoTokenizer.from_pretrained("encoder");
    const { input_ids, attention_mask } = tokenize(texts, { padding: true });
    const length = input_ids.dims[1]!;
    texts.forEach((text, row) => {
      const of = (tensor: TensorOfTheirs) =>
        Array.from(tensor.data)
          .slice(row * length, (row + 1) * length)
          .map(Number);
      const { inputIds } = pairInput(tokenizer, 16, text);
      expect(of(input_ids)).toEqual([...inputIds, ...new Array(length - inputIds.length).fill(0)]);
      expect(of(attention_mask)).toEqual(of(input_ids).map((_, i) => (i < inputIds.length ? 1 : 0)));
    });
  });

  it("gives the encoder's states, in a batch of padded texts", async () => {
    const tokenize = await theirs.AutoTokenizer.from_pretrained("encoder");
    const model = await theirs.AutoModel.from_pretrained("encoder");
    const { last_hidden_state } = await model(tokenize(texts, { padding: true }));
    const rows = await expected("pretrained", "discriminator");
    const [, length, width] = last_hidden_state!.dims as [number, number, number];
    rows.forEach(({ last_hidden_state: states }, row) => {
      const found = Array.from(last_hidden_state!.data)
        .slice(row * length * width)
        .map(Number);
      states!.forEach((value, i) => {
        expect(found[i]).toBeCloseTo(value, 4);
      });
    });
  });

  it.each(["mrpc", "topics"])("gives the labels of the classifier %s, with their scores", async (task) => {
    const { head } = allTasks.find(({ name }) => name === task)!;
    const classify = await theirs.pipeline("text-classification", task);
    const found = (await classify(texts, { top_k: null })) as { label: string; score: number }[][];
    const rows = await expected("finetuned", "finetuned", task);
    await using classifier = await Classifier.open(join(folder, "finetuned"), { task, threads: 1 });
    const ours = await classifier.classify(texts);
    rows.forEach(({ logits }, row) => {
      const { labels, kind } = head as { labels: readonly string[]; kind: string };
      expect(found[row]![0]!.label).toBe(labels[argmax(logits!)]);
      const { label = found[row]![0]!.label, probabilities } = ours[row]!;
      expect(found[row]![0]!.label).toBe(label);
      for (const { label: each, score } of found[row]!) expect(score).toBeCloseTo(probabilities![each]!, 4);
      const total = logits!.reduce((sum, logit) => sum + Math.exp(logit), 0);
      for (const [id, label] of labels.entries()) {
        const logit = logits![id]!;
        const score = kind === "multi-label" ? 1 / (1 + Math.exp(-logit)) : Math.exp(logit) / total;
        expect(found[row]!.find((entry) => entry.label === label)!.score).toBeCloseTo(score, 4);
      }
    });
  });

  it("gives the tags of words", async () => {
    const tag = await theirs.pipeline("token-classification", "ner");
    const rows = await expected("finetuned", "finetuned", "ner");
    for (const [row, text] of texts.entries()) {
      const found = (await tag(text, { ignore_labels: [] })) as { entity: string; index: number }[];
      const wanted = rows[row]!["logits"]!;
      expect(found.length).toBeGreaterThanOrEqual(text.split(" ").length - 1);
      for (const { entity, index } of found) {
        expect(entity).toBe(["B-PER", "I-PER", "O"][argmax(wanted.slice(3 * index, 3 * index + 3))]);
      }
    }
  });

  it("gives values, replaced tokens and answers through AutoModel and the pipelines", async () => {
    const tokenize = await theirs.AutoTokenizer.from_pretrained("sts");
    const regress = await theirs.AutoModel.from_pretrained("sts");
    const { predictions } = await regress(tokenize(texts, { padding: true }));
    const rows = await expected("finetuned", "finetuned", "sts");
    rows.forEach((row, i) => {
      expect(Number(predictions!.data[i])).toBeCloseTo(row["predictions"]![0]!, 4);
    });
    const detect = await theirs.AutoModel.from_pretrained("detector");
    const inputs = tokenize(texts, { padding: true });
    expect((await detect(inputs))["logits"]!.dims).toEqual(inputs.input_ids.dims);

    const fill = await theirs.pipeline("fill-mask", "generator");
    const proposals = (await fill("w5 [MASK] w7", { top_k: 3 })) as { token_str: string; score: number }[];
    expect(proposals).toHaveLength(3);
    expect(proposals.every(({ score }) => score > 0 && score < 1)).toBe(true);
    const answer = await theirs.pipeline("question-answering", "squad");
    const context = "w9 w10 w11 w12 w13";
    const { answer: found } = (await answer("w5 w6", context)) as { answer: string };
    expect(found === "" || context.includes(found)).toBe(true);
    expect(found).not.toBe("");
  });

  it("answers from examples/onnx-transformers-js.mjs for every kind of model", async () => {
    // Below a folder that has transformers.js, as in a project of one's own.
    const project = join(folder, "project");
    mkdirSync(project);
    symlinkSync(join(runtimeFolder!, "node_modules"), join(project, "node_modules"));
    const program = join(project, "onnx-transformers-js.mjs");
    copyFileSync("examples/onnx-transformers-js.mjs", program);
    writeFileSync(join(project, "package.json"), "{}");
    const cases: [string, RegExp, ...string[]][] = [
      ["encoder", /^\[ 1, 16 \]/],
      ["detector", /token: 'w5', replaced: 0\.\d+/],
      ["generator", /token_str: 'w\d+'/, "w5 [MASK]"],
      ["mrpc", /label: 'same', score: 0\.\d+/],
      ["mrpc", /label: 'same', logit: -?\d/, "w5", "w6"],
      ["sts", /^\[ \d/],
      ["ner", /entity: '(B-PER|I-PER|O)'/],
      ["squad", /answer: 'w/, "w5 w6", "w9 w10 w11"],
    ];
    for (const [name, printed, ...given] of cases) {
      const text = given.length > 0 ? given : ["w5 w6 w7"];
      expect(await runNode(program, [join(folder, name), ...text])).toMatch(printed);
    }
    expect(await runNode(program, [])).toMatch(/^usage:/);
  }, 60_000);
});

function runNode(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, NO_COLOR: "1" } });
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    child.stderr.on("data", (chunk) => {
      text += chunk;
    });
    child.on("error", reject);
    child.on("close", () => resolve(text));
  });
}
