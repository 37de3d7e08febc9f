import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { missingBuild } from "./needs-build.js";

// What people see who ask for a GPU on machines that have none, or one that is not as it should be. The emulator plays
// these machines; it reads its variables once, so each has a process of its own.
const root = fileURLToPath(new URL("../../", import.meta.url));
const library = `${root}build/emulated/electra_cuda_emulated.so`;
const missing =
  missingBuild() ??
  (existsSync(library) ? undefined : `${library} is missing: npm run test:emulated -- --build-only`);

interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function node(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Answer> {
  const clean = { ELECTRA_DEVICE: "", ELECTRA_PRECISION: "", NO_COLOR: "1" };
  try {
    const options = { cwd: tmpdir(), env: { ...process.env, ...clean, ...env } };
    return { code: 0, ...(await promisify(execFile)(process.execPath, args, options)) };
  } catch (error) {
    return error as Answer;
  }
}

/** One step of a model that takes the CPU no time. */
const bench = (device: string, env: Readonly<Record<string, string>>, more: readonly string[] = []) =>
  node(
    [
      ...[`${root}scripts/electra-native.mjs`, "bench", "step", "--device", device, "--threads", "1"],
      ...["--batch-size", "1", "--seq-length", "16", "--steps", "1", ...more],
    ],
    env,
  );

describe.skipIf(missing !== undefined)(`choosing a device${missing ? ` (skipped: ${missing})` : ""}`, () => {
  it.each([
    ["none", /^error: there is no NVIDIA driver on this machine/m, /^ {2}Install NVIDIA's driver/m],
    ["old", /^error: the NVIDIA driver.* is too old for this CUDA library/m, /^ {2}Install a newer driver/m],
  ])("by name says what is wrong with the driver (%s) and what to do", async (driver, message, remedy) => {
    const { code, stdout, stderr } = await bench("emulated", { ELECTRA_EMULATOR_DRIVER: driver }, ["--json"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(remedy);
    expect(JSON.parse(stdout).error).toMatchObject({ code: "ERR_ELECTRA_NO_CUDA", hint: expect.any(String) });
  });

  it.each(["none", "old"])(
    "auto runs on the CPU and says why once, with a driver that is %s",
    async (driver) => {
      const env = { ELECTRA_EMULATOR_DRIVER: driver, ELECTRA_CUDA_LIBRARY: library };
      const { code, stderr } = await bench("auto", env);
      expect(code).toBe(0);
      expect(stderr).toMatch(/^device cpu, GEMM /);
      expect(stderr.match(/warning: computing on the CPU: .*NVIDIA driver/g)).toHaveLength(1);
    },
  );

  it("auto is silent where nobody would expect a GPU", async () => {
    const { code, stderr } = await bench("auto", { ELECTRA_CUDA_LIBRARY: "/nowhere/electra_cuda.so" });
    expect(code).toBe(0);
    // A machine that has a GPU is told that the library for it is missing.
    const hasGpu = existsSync("/dev/nvidiactl") || existsSync("/dev/dxg");
    expect(stderr.includes("warning")).toBe(hasGpu);
  });

  it.each([
    ["cuda", [], /this build has no CUDA library/, 1],
    ["cpu", ["--precision", "bf16"], /bf16 needs a GPU/, 2],
    ["gpu", [], /cuda:N for GPU number N/, 2],
  ] as const)("%s with %j explains itself", async (device, more, message, exitCode) => {
    const { code, stderr } = await bench(device, { ELECTRA_CUDA_LIBRARY: "/nowhere/electra_cuda.so" }, more);
    expect(stderr).toMatch(message);
    expect(code).toBe(exitCode);
  });

  it("doctor says what is there and what is missing", async () => {
    const doctor = [`${root}scripts/electra-native.mjs`, "doctor"];
    const seen = await node(doctor, { ELECTRA_CUDA_LIBRARY: library });
    expect(seen.stdout).toMatch(/^ok {3}GPU {14}cuda:0 emulated, compute capability 8\.0, .* GiB free$/m);
    expect(seen.stdout).toMatch(/^ok {3}GPU products {5}built-in.* on cuda:0, sm_80$/m);
    const none = await node(doctor, { ELECTRA_CUDA_LIBRARY: library, ELECTRA_EMULATOR_DRIVER: "none" });
    expect(none.stdout).toMatch(/^note GPU {14}none usable: .*NVIDIA driver/m);
    expect(none.stderr).toMatch(/^GPU: .*nvidia-smi/m);
    expect(none.code).toBe(0);
  });
});

describe.skipIf(missing !== undefined)(`a GPU's memory${missing ? ` (skipped: ${missing})` : ""}`, () => {
  /** Makes room for training batches of some number of rows, on a GPU of 64 MiB. */
  const reserve = async (rows: number): Promise<Answer> =>
    node(
      [
        "--input-type=module",
        "--eval",
        `
        const load = (name) => import(${JSON.stringify(`file://${root}dist/`)} + name);
        const { Engine } = await load("engine/engine.js");
        const { pretrainingModelConfig } = await load("pretraining/model-config.js");
        const { resolvePretrainingHparams } = await load("hparams/pretraining-hparams.js");
        const { hparams } = resolvePretrainingHparams({
          dataDir: ".",
          modelName: "memory",
          hparams: {
            vocab_size: 2000,
            max_seq_length: 64,
            model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 2 },
          },
        });
        const model = pretrainingModelConfig(hparams, { cls: 2, sep: 3, mask: 4 });
        const engine = await Engine.create({ model, device: "emulated", reserveRows: ${rows} });
        console.log(JSON.stringify(engine.memory()));
        await engine.dispose();
        `,
      ],
      { ELECTRA_EMULATOR_MEMORY: String(64 << 20) },
    );

  it("is asked for before anything is allocated; the batch that is said to fit does", async () => {
    const { code, stderr } = await reserve(1000);
    expect(code).not.toBe(0);
    expect(stderr).toContain("ERR_ELECTRA_OUT_OF_MEMORY");
    expect(stderr).toMatch(
      /cuda:0 emulated has [\d.]+ MiB free and needs [\d.]+ MiB: the model's variables, gradients and moments [\d.]+ MiB, activations for training on 1000 rows of up to 64 tokens [\d.]+ MiB, workspace [\d.]+ MiB/,
    );
    const fits = Number(/largest batch that fits has (\d+) rows/.exec(stderr)?.[1]);
    expect(fits).toBeGreaterThan(1);
    const [largest, larger] = [await reserve(fits), await reserve(fits + 1)];
    expect(largest.stderr).toBe("");
    expect(JSON.parse(largest.stdout).activations).toBeGreaterThan(1 << 20);
    expect(larger.stderr).toContain(`largest batch that fits has ${fits} rows`);
  });
});
