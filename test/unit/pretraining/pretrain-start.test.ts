import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { pretrain } from "../../../src/pretraining/pretrain.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { makeHuntingData } from "./hunting-data.js";

describeWithAddon("the start of a run", () => {
  let folder: string;
  let dataDir: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "electra-start-"));
    dataDir = await makeHuntingData(folder, 120);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => vi.unstubAllEnvs());

  /** What is told, in order: the start, then events by type or code. */
  const run = async (modelName: string, steps: number): Promise<string[]> => {
    const told: string[] = [];
    await pretrain({
      dataDir,
      modelName,
      device: "auto",
      threads: 1,
      hparams: {
        ...{ max_seq_length: 16, train_batch_size: 4, num_train_steps: steps, num_warmup_steps: 1 },
        model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 1 },
      },
      onStart: ({ info, memory }) => {
        told.push(`start on ${info.device}`);
        // Room for a batch was made before anything else.
        expect(memory.activations).toBeGreaterThan(0);
      },
      sinks: [
        {
          emit: (event) => void told.push(event.type === "warning" ? event.code : event.type),
          close: async () => {},
        },
      ],
    });
    return told;
  };

  it("says first on what it runs, then why that is no GPU, and remembers both", async () => {
    const broken = join(folder, "electra_cuda.so");
    writeFileSync(broken, "this is not a library");
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", broken);
    const told = await run("warned", 2);
    expect(told[0]).toBe("start on cpu");
    expect(told.filter((event) => event === "cpu_instead_of_gpu")).toHaveLength(1);
    const saved = join(dataDir, "models/warned/checkpoint-2/training.json");
    expect(JSON.parse(readFileSync(saved, "utf8")).fingerprints).toMatchObject({
      device: "cpu",
      precision: "float32",
    });
  });

  it("tells of another machine after the start as well", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", join(folder, "absent.so"));
    await run("moved", 2);
    vi.stubEnv("ELECTRA_ISA", "baseline");
    const told = await run("moved", 3);
    expect(told.indexOf("resumed_elsewhere")).toBeGreaterThan(told.indexOf("start on cpu"));
    expect(told).not.toContain("cpu_instead_of_gpu");
  });
});
