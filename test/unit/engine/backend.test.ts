import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { describeBackend, openBackend } from "../../../src/engine/backend.js";
import * as cudaLibrary from "../../../src/engine/cuda-library.js";
import { isDeviceChoice } from "../../../src/engine/device-choice.js";
import type { NativeBackendOptions } from "../../../src/engine/native-types.js";
import { ElectraError } from "../../../src/errors.js";

// What opens the session is a stand-in here: this is about which device is asked for, and what is said about it.
let folder: string;
let library: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-backend-"));
  library = join(folder, "electra_cuda.so");
  writeFileSync(library, "it is only looked for");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const seesGpu = vi.spyOn(cudaLibrary, "seesNvidiaGpu");
beforeEach(() => {
  for (const name of ["ELECTRA_DEVICE", "ELECTRA_PRECISION"]) vi.stubEnv(name, "");
  vi.stubEnv("ELECTRA_CUDA_LIBRARY", join(folder, "absent.so"));
  vi.stubEnv("ELECTRA_CUDA_EMULATED_LIBRARY", join(folder, "absent.so"));
  seesGpu.mockReturnValue(false);
});
afterEach(() => vi.unstubAllEnvs());

type Settings = Parameters<typeof openBackend>[0];

/** What the native side is asked for, call by call; GPUs answer with `failure` if there is one. */
async function ask(settings: Settings, failure?: Error) {
  const asked: NativeBackendOptions[] = [];
  const { warnings } = await openBackend({ threads: 1, ...settings }, async (options) => {
    asked.push(options);
    if (options.device === "cuda" && failure !== undefined) throw failure;
  });
  return { asked, warnings };
}

const unusable = new ElectraError("ERR_ELECTRA_NO_CUDA", "the GPU is on fire", { hint: "Fetch water." });

describe("a name for a device", () => {
  it.each(["auto", "cpu", "cuda", "cuda:0", "cuda:15", "emulated"])("may be %s", (name) => {
    expect(isDeviceChoice(name)).toBe(true);
  });
  it.each(["", "gpu", "cuda:", "cuda:-1", "cuda:1.5", "cuda:9999", "CPU"])("may not be %j", (name) => {
    expect(isDeviceChoice(name)).toBe(false);
  });
});

describe("cpu", () => {
  it("is opened in float32 without a look at GPUs, and without a word", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    expect(await ask({ device: "cpu" })).toEqual({
      asked: [{ device: "cpu", threads: 1, gemm: "auto", isa: "auto", precision: "float32" }],
      warnings: [],
    });
  });

  it("has no bf16", async () => {
    await expect(ask({ device: "cpu", precision: "bf16" })).rejects.toMatchObject({
      code: "ERR_ELECTRA_PRECISION",
      exitCode: 2,
    });
  });
});

describe("cuda", () => {
  it.each([
    [{ device: "cuda" }, { ordinal: -1, precision: "bfloat16" }],
    [{ device: "cuda:3" }, { ordinal: 3, precision: "bfloat16" }],
    [
      { device: "cuda:0", precision: "f32" },
      { ordinal: 0, precision: "float32" },
    ],
    [
      { device: "cuda", precision: "bf16" },
      { ordinal: -1, precision: "bfloat16" },
    ],
  ] as const)("%j asks the library for %j", async (settings, expected) => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    const { asked, warnings } = await ask(settings);
    expect(asked).toEqual([
      { device: "cuda", threads: 1, gemm: "auto", isa: "auto", library, emulated: false, ...expected },
    ]);
    expect(warnings).toEqual([]);
  });

  it("without a library says where it would lie and how it is built", async () => {
    await expect(ask({ device: "cuda" })).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_CUDA",
      message: expect.stringContaining("absent.so"),
      hint: expect.stringContaining("ELECTRA_CUDA=ON npx electra-native build"),
    });
  });

  it("that cannot be used fails instead of running on the CPU", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    await expect(ask({ device: "cuda" }, unusable)).rejects.toBe(unusable);
  });
});

describe("auto", () => {
  it("takes the first GPU that can be used, in bf16", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    const { asked, warnings } = await ask({});
    expect(asked).toMatchObject([{ device: "cuda", ordinal: -1, precision: "bfloat16" }]);
    expect(warnings).toEqual([]);
  });

  it("falls back to the CPU and says why, with the remedy", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    const { asked, warnings } = await ask({}, unusable);
    expect(asked.map(({ device, precision }) => [device, precision])).toEqual([
      ["cuda", "bfloat16"],
      ["cpu", "float32"],
    ]);
    expect(warnings).toEqual([
      {
        code: "cpu_instead_of_gpu",
        message: "computing on the CPU: the GPU is on fire",
        hint: "Fetch water.",
      },
    ]);
  });

  it("does not hide a model that does not fit behind a slow CPU", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    const tooLarge = new ElectraError("ERR_ELECTRA_OUT_OF_MEMORY", "no memory");
    await expect(ask({}, tooLarge)).rejects.toBe(tooLarge);
  });

  it("is quiet where there is neither a library nor a GPU", async () => {
    expect((await ask({})).warnings).toEqual([]);
  });

  it("says that the library is missing where there is a GPU", async () => {
    seesGpu.mockReturnValue(true);
    expect((await ask({})).warnings).toMatchObject([
      { code: "cpu_instead_of_gpu", hint: expect.stringContaining("ELECTRA_CUDA=ON") },
    ]);
  });

  it("with bf16 has nothing to fall back on, and says why there is no GPU", async () => {
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    await expect(ask({ precision: "bf16" }, unusable)).rejects.toMatchObject({
      code: "ERR_ELECTRA_PRECISION",
      message: expect.stringContaining("the GPU is on fire"),
      hint: "Fetch water.",
      cause: unusable,
    });
  });
});

describe("the environment", () => {
  it("decides where nothing was asked for", async () => {
    vi.stubEnv("ELECTRA_DEVICE", "cuda:2");
    vi.stubEnv("ELECTRA_PRECISION", "f32");
    vi.stubEnv("ELECTRA_CUDA_LIBRARY", library);
    expect((await ask({})).asked).toMatchObject([{ device: "cuda", ordinal: 2, precision: "float32" }]);
    expect((await ask({ device: "cpu" })).asked).toMatchObject([{ device: "cpu" }]);
  });

  it.each(["ELECTRA_DEVICE", "ELECTRA_PRECISION"])("is named when %s makes no sense", async (name) => {
    vi.stubEnv(name, "fast");
    await expect(ask({})).rejects.toMatchObject({
      code: "ERR_ELECTRA_ARGUMENT",
      message: expect.stringContaining(`${name} is "fast"`),
      exitCode: 2,
    });
  });
});

describe("the emulated device", () => {
  it("is found by its own variable", async () => {
    vi.stubEnv("ELECTRA_CUDA_EMULATED_LIBRARY", library);
    expect((await ask({ device: "emulated" })).asked).toMatchObject([
      { device: "cuda", library, emulated: true },
    ]);
  });

  it("says how it is built", async () => {
    await expect(ask({ device: "emulated" })).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_CUDA",
      hint: expect.stringContaining("test:emulated"),
    });
  });
});

describe("a GPU without cuBLASLt", () => {
  const info = { isa: "sm_90", threads: 1, precision: "bfloat16" } as const;
  it.each([
    ["cuda:0 NVIDIA H100", "built-in (libcublasLt not found: no such file)", 1],
    ["cuda:0 NVIDIA H100", "cuBLASLt 13.1.1", 0],
    // Tests choose the built-in products; nobody is to be warned of that.
    ["cuda:0 emulated", "built-in (libcublasLt not found: no such file)", 0],
    ["cpu", "built-in avx512", 0],
  ])("on %s with %s gives %i warnings", (device, gemm, count) => {
    const { warnings } = describeBackend({ ...info, device, gemm }, "1.0.0", []);
    expect(warnings).toHaveLength(count);
    if (count > 0) {
      expect(warnings[0]).toMatchObject({
        code: "no_cublaslt",
        message: expect.stringContaining("no such file"),
        hint: expect.stringContaining("ELECTRA_CUBLASLT"),
      });
    }
  });
});
