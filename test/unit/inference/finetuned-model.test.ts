import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { Classifier } from "../../../src/inference/classifier.js";
import { FinetunedModel } from "../../../src/inference/finetuned-model.js";
import { toySave } from "../checkpoint/toy-model.js";
import { describeWithEngines } from "./describe-with-finetuning.js";
import { saveTinyFinetuned, temporaryFolder, tinyTasks } from "./tiny-finetuned.js";
import { tinyTokens } from "./tiny-model.js";

const { mood, topics, likeness, names } = tinyTasks;

/** Changes a JSON file. */
async function edit(path: string, change: (document: Record<string, unknown>) => void): Promise<void> {
  const document = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  change(document);
  await writeFile(path, JSON.stringify(document));
}

describeWithEngines("a fine-tuned model", (options) => {
  it("is found by its trial, its checkpoint and its part, with the weights that were saved", async () => {
    const { trial, folder, naive } = await saveTinyFinetuned({ tasks: [mood] });
    for (const path of [trial, join(trial, "checkpoint-9"), folder]) {
      const model = await FinetunedModel.open(path, options);
      expect(model).toMatchObject({ folder, step: 9, tasks: [mood] });
      expect(model.hparams.max_seq_length).toBe(24);
      const name = "task_specific/mood/dense/kernel";
      expect(await model.engine.readParameter(name)).toEqual(await naive.readParameter(name));
      const query = "electra/encoder/layer_1/attention/self/query/kernel";
      expect(await model.engine.readParameter(query)).toEqual(await naive.readParameter(query));
      await model.dispose();
    }
  });

  it("is found in the run that it was made from, if it is the only one there", async () => {
    const run = await temporaryFolder();
    const made = join(run, "finetuning_models");
    await saveTinyFinetuned({ tasks: [mood], trial: join(made, "mood_model_1") });
    // Stopped before its first checkpoint.
    await mkdir(join(made, "mood_model_2"));
    for (const path of [run, made]) {
      const model = await FinetunedModel.open(path, options);
      expect(model.folder).toContain("mood_model_1");
      await model.dispose();
    }
    await saveTinyFinetuned({ tasks: [topics], trial: join(made, "topics_model_10") });
    await saveTinyFinetuned({ tasks: [topics], trial: join(made, "topics_model_9") });
    const failure = await FinetunedModel.open(run, options).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_ELECTRA_NO_MODEL", exitCode: 2 });
    expect((failure as { hint: string }).hint.split("\n").slice(1)).toEqual(
      ["mood_model_1", "topics_model_9", "topics_model_10"].map((name) => `  ${join(made, name)}`),
    );
  });

  it("gives what its head says in the order of the rows, whatever batches they make", async () => {
    const { trial } = await saveTinyFinetuned({ tasks: [topics, mood] });
    const model = await FinetunedModel.open(trial, options);
    const classifier = new Classifier(model, "mood");
    const texts = [
      "the",
      "the cat sat on the",
      "",
      "cat, cat",
      "the cat",
      "sat sat sat sat sat sat",
      "a b c",
    ];
    const rows = texts.map((text) => classifier.featurize(text));
    const together = await model.predict(mood, rows, { batchSize: 3 });
    for (const [i, row] of rows.entries()) {
      const [alone] = await model.predict(mood, [row]);
      for (const k of [0, 1, 2]) expect(together[i]!.logits![k]).toBeCloseTo(alone!.logits![k]!, 5);
    }
    expect(await model.predict(mood, [])).toEqual([]);
    await model.dispose();
  });
});

describe("a fine-tuned model is refused", () => {
  const open = async (path: string) => {
    const { naively } = await saveTinyFinetuned({ tasks: [mood] });
    return await FinetunedModel.open(path, naively);
  };

  it("where labels and head differ", async () => {
    const { trial, folder } = await saveTinyFinetuned({ tasks: [mood] });
    await edit(join(folder, "finetuning.json"), (document) => {
      document["tasks"] = [{ name: "mood", head: { kind: "classification", labels: ["bad", "good"] } }];
    });
    // The folder alone: in a checkpoint already the file's size would give it away.
    const copy = join(await temporaryFolder(), "copy");
    await cp(folder, copy, { recursive: true });
    await expect(open(copy)).rejects.toMatchObject({
      code: "ERR_ELECTRA_CHECKPOINT_MISMATCH",
      message: expect.stringMatching(/the task mood has 2 labels .* its head tells 3 classes apart/),
    });
    await expect(open(trial)).rejects.toMatchObject({ code: "ERR_ELECTRA_NO_MODEL" });
  });

  it.each<[string, string, (document: Record<string, unknown>) => void, RegExp]>([
    [
      "the case of the text",
      "tokenizer_config.json",
      (document) => {
        document["do_lower_case"] = false;
      },
      /fine-tuned on lower-cased text .* tokenizer is cased/,
    ],
    [
      "the number of positions",
      "config.json",
      (document) => {
        document["max_position_embeddings"] = 16;
      },
      /fine-tuned with 24 tokens .* has 16 positions/,
    ],
    [
      "LayerNorm's epsilon",
      "config.json",
      (document) => {
        document["layer_norm_eps"] = 1e-5;
      },
      /layer_norm_eps is 0.00001/,
    ],
    [
      "the tasks",
      "finetuning.json",
      (document) => {
        document["tasks"] = [likeness];
      },
      /task_specific\.likeness\.dense\.weight .*missing/,
    ],
    [
      "the number of layers",
      "config.json",
      (document) => {
        document["num_hidden_layers"] = 1;
      },
      /layer\.1\.\S+ .*unknown/,
    ],
  ])("where files disagree about %s", async (_, file, change, message) => {
    const { folder } = await saveTinyFinetuned({ tasks: [mood] });
    await edit(join(folder, file), change);
    await expect(open(folder)).rejects.toThrow(message);
  });

  it("with another vocabulary, or without one", async () => {
    const { folder } = await saveTinyFinetuned({ tasks: [mood] });
    await writeFile(join(folder, "vocab.txt"), `${[...tinyTokens, "more"].join("\n")}\n`);
    await expect(open(folder)).rejects.toThrow(`has ${tinyTokens.length + 1} tokens, but the model knows`);
    await rm(join(folder, "vocab.txt"));
    await expect(open(folder)).rejects.toThrow("vocab.txt cannot be read");
  });

  it("without the file that says what its heads mean", async () => {
    const { folder } = await saveTinyFinetuned({ tasks: [mood] });
    await rm(join(folder, "finetuning.json"));
    await expect(open(folder)).rejects.toMatchObject({ code: "ERR_ELECTRA_NO_MODEL" });
  });

  it("where there is only a pre-trained one", async () => {
    const run = await temporaryFolder();
    await saveCheckpoint(toySave(run, 3));
    await expect(open(run)).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_MODEL",
      message: expect.stringContaining("is a pre-trained model"),
      hint: expect.stringContaining("finetune"),
    });
  });

  it("by those who want another kind of task, or have to say which", async () => {
    const { trial, naively } = await saveTinyFinetuned({ tasks: [mood, topics, names] });
    const model = await FinetunedModel.open(trial, naively);
    expect(model.task(["tagging"])).toEqual(names);
    expect(model.task(["classification", "multi-label"], "topics")).toEqual(topics);
    const hint = expect.stringContaining("mood (classification), topics (multi-label), names (tagging)");
    for (const [kinds, name, message] of [
      [["classification", "multi-label"], undefined, "knows several such tasks"],
      [["span"], undefined, "knows no task of the kind span"],
      [["span"], "mood", "the task mood of"],
      [["span"], "moods", 'knows no task "moods"'],
    ] as const) {
      expect(() => model.task(kinds, name)).toThrow(
        expect.objectContaining({
          code: "ERR_ELECTRA_TASK",
          hint,
          message: expect.stringContaining(message),
        }),
      );
    }
    await expect(Classifier.open(trial, naively)).rejects.toMatchObject({ code: "ERR_ELECTRA_TASK" });
  });
});
