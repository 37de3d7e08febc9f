import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { gpuFindings } from "../../../src/cli/doctor/examine-cuda.js";
import { listCudaDevices } from "../../../src/engine/cuda-devices.js";
import { Kernels } from "../../../src/engine/kernels.js";
import { describeWithAddon } from "./describe-with-addon.js";

// A library that sees GPUs and computes nothing, once with the addon's own contract and once with another.
const root = fileURLToPath(new URL("../../../", import.meta.url));
const compiler = process.env["CXX"] ?? "c++";
const describeWithCompiler =
  spawnSync(compiler, ["--version"]).status === 0
    ? describeWithAddon
    : (name: string, body: () => void) => describe.skip(`${name} (skipped: no ${compiler})`, body);

describeWithCompiler("the CUDA library", () => {
  let folder: string;
  const library = (name: string) => join(folder, `${name}.so`);
  const compile = (name: string, contract: string) =>
    execFileSync(compiler, [
      ...["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", `-DSTAND_IN_CONTRACT=${contract}`],
      ...["-o", library(name), join(root, "test/unit/engine/fixtures/stand-in-cuda-library.cc")],
    ]);
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "electra-cuda-"));
    const contract = execFileSync(process.execPath, [join(root, "scripts/contract-hash.cjs")], {
      encoding: "utf8",
    });
    compile("ours", contract.trim());
    compile("other", "0x0123456789abcdefull");
    execFileSync(compiler, ["-shared", "-o", library("empty"), "-x", "c++", "/dev/null"]);
    writeFileSync(library("text"), "this is not a library");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => {
    vi.stubEnv("ELECTRA_DEVICE", "");
    vi.stubEnv("ELECTRA_PRECISION", "");
  });
  afterEach(() => vi.unstubAllEnvs());

  const create = async (name: string, device: "cuda" | "cuda:0" | "cuda:7" | "auto") => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library(name));
    await using kernels = await Kernels.create({ device, threads: 1 });
    return kernels.info;
  };

  it.each([
    [
      "of other sources",
      "other",
      "cuda:0",
      /built from different sources/,
      /ELECTRA_CUDA=ON npx electra-native build/,
    ],
    [
      "that cannot be opened",
      "text",
      "cuda",
      /cannot be opened: .*text\.so/,
      /ELECTRA_CUDA=ON npx electra-native build/,
    ],
    [
      "of something else",
      "empty",
      "cuda",
      /empty\.so lacks electra_cuda/,
      /ELECTRA_CUDA=ON npx electra-native build/,
    ],
    ["without such a GPU", "ours", "cuda:7", /no GPU number 7: CUDA sees 1/, /CUDA_VISIBLE_DEVICES/],
    [
      "whose GPU fails",
      "ours",
      "cuda:0",
      /GPU number 0 cannot be used: GPU 0 of compute type 1 is painted on/,
      /doctor/,
    ],
  ] as const)("%s is refused with the reason and the remedy", async (_, name, device, message, hint) => {
    await expect(create(name, device)).rejects.toMatchObject({
      name: "ElectraError",
      code: "ERR_ELECTRA_NO_CUDA",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
  });

  it("is tried GPU by GPU before cuda gives up", async () => {
    vi.stubEnv("STAND_IN_GPUS", "3");
    await expect(create("ours", "cuda")).rejects.toThrow(/GPU number 2 cannot be used/);
    vi.stubEnv("STAND_IN_GPUS", "0");
    await expect(create("ours", "cuda")).rejects.toThrow(/NVIDIA driver/);
  });

  it.each(["other", "text", "empty", "ours"])(
    "(%s) that is no use leaves auto on the CPU, with a warning",
    async (name) => {
      const { device, warnings } = await create(name, "auto");
      expect(device).toBe("cpu");
      expect(warnings).toMatchObject([{ code: "cpu_instead_of_gpu", hint: expect.any(String) }]);
    },
  );

  const hasDriver =
    spawnSync("ldconfig", ["-p"], { encoding: "utf8" }).stdout?.includes("libcuda.so.1") === true;
  it.each([
    [
      "CUDA driver version is insufficient for CUDA runtime version",
      hasDriver ? /driver.* is too old/ : /no NVIDIA driver/,
      /Install/,
    ],
    ["no CUDA-capable device is detected", hasDriver ? /sees no GPU/ : /no NVIDIA driver/, /nvidia-smi/],
    [
      "system not yet initialized",
      hasDriver ? /system not yet initialized/ : /no NVIDIA driver/,
      /nvidia-smi/,
    ],
  ])("passes on why CUDA refuses: %s", async (words, message, hint) => {
    vi.stubEnv("STAND_IN_REFUSAL", words);
    await expect(create("ours", "cuda")).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_CUDA",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
    const report = listCudaDevices();
    expect(report.devices).toEqual([]);
    expect(report.reason).toMatch(message);
    expect(report.remedy).toMatch(hint);
    expect(gpuFindings(report)).toMatchObject([{ status: "warn", remedy: expect.stringMatching(hint) }]);
  });

  it("lists the GPUs with what keeps them from being used", () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library("ours"));
    vi.stubEnv("STAND_IN_GPUS", "2");
    const report = listCudaDevices();
    expect(report.reason).toBeUndefined();
    expect(report.devices).toMatchObject([
      { name: "Stand-in 0", computeCapability: "9.0", usable: false, reason: "it is painted on" },
      { name: "Stand-in 1" },
    ]);
    expect(gpuFindings(report)[1]).toMatchObject({
      name: "GPU",
      status: "warn",
      detail: expect.stringMatching(/^cuda:1 Stand-in 1, compute capability 9\.0, .* it is painted on$/),
      remedy: expect.any(String),
    });
  });

  it("is missed with the command that builds it", () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library("absent"));
    expect(listCudaDevices()).toMatchObject({
      devices: [],
      reason: expect.stringContaining("absent.so"),
      remedy: expect.stringContaining("ELECTRA_CUDA=ON npx electra-native build"),
    });
  });
});

describe("what doctor says of a GPU", () => {
  const device = {
    name: "NVIDIA H100",
    computeCapability: "9.0",
    totalMemory: 80 * 2 ** 30,
    freeMemory: 79 * 2 ** 30,
    usable: true,
    reason: "",
  };
  const found = (changes: Partial<typeof device>) =>
    gpuFindings({ devices: [{ ...device, ...changes }], reason: undefined, remedy: undefined })[0];

  it("is good where a kernel ran on it", () => {
    expect(found({})).toEqual({
      name: "GPU",
      status: "ok",
      detail: "cuda:0 NVIDIA H100, compute capability 9.0, 79.0 of 80.0 GiB free",
    });
  });

  it("is what to do where it is too old, or somebody else's", () => {
    expect(found({ computeCapability: "7.5" })).toMatchObject({
      status: "warn",
      remedy: expect.stringContaining("8.0"),
    });
    expect(found({ usable: false, reason: "busy" })).toMatchObject({
      status: "warn",
      detail: expect.stringMatching(/busy$/),
      remedy: expect.stringContaining("nvidia-smi"),
    });
  });
});
