import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli } from "../cli/run-cli.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { taskFolder, toyVocabulary } from "../finetuning/task-folder.js";

describeWithAddon("timing fine-tuning", () => {
  const rows = (count: number) =>
    Array.from({ length: count }, (_, i) => `gj04\t${i % 2}\t\tthe old bridge is red\n`).join("");

  it("says how many examples a second are trained and evaluated, from files in the reference's layout", async () => {
    const { dataDir } = taskFolder({ "cola/train.tsv": rows(12), "cola/dev.tsv": rows(7) });
    writeFileSync(join(dataDir, "vocab.txt"), `${toyVocabulary.tokens.join("\n")}\n`);
    const args = ["bench", "finetune", "--task", "cola", "--data-dir", dataDir, "--batch-size", "2"];
    const { code, stdout, stderr } = await runCli(...args, "--steps", "2", "--threads", "1", "--json");
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({
      task: "cola",
      model_size: "small",
      batch_size: 2,
      steps: 2,
      eval_examples: 7,
    });
    expect(result.train_ex_per_s).toBeGreaterThan(0);
    // Seven tokens a row with [CLS] and [SEP].
    expect(result.train_tokens_per_s).toBeCloseTo(7 * result.train_ex_per_s, 6);
    expect(result.eval_ex_per_s).toBeGreaterThan(0);
  });

  it("needs data", async () => {
    const { dataDir } = taskFolder({ "cola/train.tsv": "", "cola/dev.tsv": rows(2) });
    writeFileSync(join(dataDir, "vocab.txt"), `${toyVocabulary.tokens.join("\n")}\n`);
    const none = await runCli("bench", "finetune", "--data-dir", dataDir, "--batch-size", "2", "--json");
    expect([none.code, JSON.parse(none.stdout).error.message]).toEqual([
      2,
      "The training data of cola have no rows.",
    ]);
    expect((await runCli("bench", "finetune")).stderr).toContain("--data-dir not given");
  });
});
