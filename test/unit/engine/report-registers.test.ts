import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("../../../scripts/report-registers.mjs", import.meta.url));
const place = "_ZN7electra4cuda55_GLOBAL__N__bcb73125_22_attention_tensor_cu_5310c683";
/** What nvcc 13.0 says with -Xptxas -v. */
const log = `[2/9] nvcc -x cu -c attention_tensor.cu
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '${place}5shortILi64ELb0EEEvi' for 'sm_80'
ptxas info    : Function properties for ${place}5shortILi64ELb0EEEvi
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 8 bytes cumulative stack size, 520 bytes cmem[0]
ptxas info    : Compile time = 105.969 ms
ptxas info    : Compiling entry function '${place}5shortILi64ELb1EEEvi' for 'sm_80'
ptxas info    : Function properties for ${place}5shortILi64ELb1EEEvi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 130 registers, used 1 barriers, 4096 bytes smem, 520 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compiling entry function '_ZN7electra4cuda10sort_countEi' for 'sm_90'
ptxas info    : Function properties for _ZN7electra4cuda10sort_countEi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers, 2048 bytes smem
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-registers-"));
  writeFileSync(join(folder, "build.log"), log);
  writeFileSync(join(folder, "empty.log"), "ninja: no work to do.\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const report = (...args: string[]) =>
  spawnSync(process.execPath, [script, ...args], { cwd: folder, encoding: "utf8" });

describe("scripts/report-registers.mjs", () => {
  it("reads registers, shared memory and spills of every kernel out of a build's log", () => {
    const kernels = JSON.parse(report("build.log", "--json").stdout) as Record<string, unknown>[];
    expect(kernels).toMatchObject([
      { file: "(header)", architecture: "sm_90", registers: 32, shared: 2048, spillStores: 0, spillLoads: 0 },
      {
        file: "attention_tensor.cu",
        architecture: "sm_80",
        registers: 128,
        shared: 0,
        stack: 8,
        spillStores: 4,
      },
      { file: "attention_tensor.cu", architecture: "sm_80", registers: 130, shared: 4096, stack: 0 },
    ]);
  });

  it("ends with the kernels that spill", () => {
    const { stdout, status } = report("build.log");
    expect(status).toBe(0);
    expect(stdout).toContain("3 kernels (instances and architectures), 1 with spills");
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/short.* sm_80: 4 B stored, 12 B loaded$/);
  });

  it("refuses a log in which ptxas says nothing", () => {
    const { stderr, status } = report("empty.log");
    expect(status).toBe(1);
    expect(stderr).toMatch(/no report of ptxas in empty\.log.*-Xptxas -v/);
  });
});
