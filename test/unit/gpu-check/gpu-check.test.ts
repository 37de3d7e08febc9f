import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeStandIns } from "./stand-ins.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const script = join(root, "scripts", "gpu-check");

/** The Python that a person would get; stand-ins hand on to it what they do not answer themselves. */
function findPython(): string | undefined {
  const asked = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

interface Check {
  readonly name: string;
  readonly status: "pass" | "fail" | "skip";
  readonly summary: string;
  readonly detail?: readonly string[];
}

interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly not_run: number;
  readonly header: Readonly<Record<string, string>>;
  readonly stages: Readonly<
    Record<
      string,
      { readonly finished: boolean; readonly cut_off?: string; readonly checks: readonly Check[] }
    >
  >;
}

const python = findPython();
const reason = python === undefined ? " (skipped: no python3)" : "";

describe.skipIf(python === undefined)(`scripts/gpu-check with stand-ins for a GPU${reason}`, () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "electra-gpu-check-"));
    writeStandIns(folder, python ?? "");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const begin = (args: readonly string[], env: Record<string, string> = {}): ChildProcess =>
    spawn(
      "bash",
      [
        script,
        ...["--out", join(folder, "out"), "--work", join(folder, "work"), "--kit", join(folder, "kit")],
        ...["--programs", join(folder, "programs"), ...args],
      ],
      {
        env: {
          ...process.env,
          PATH: `${join(folder, "tools")}${delimiter}${process.env["PATH"]}`,
          PYTHON: join(folder, "tools", "python-with-torch"),
          ELECTRA_CUBLASLT: "/nowhere/libcublasLt.so.13",
          HANG_FILE: join(folder, "hangs"),
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );

  async function finish(child: ChildProcess): Promise<{ code: number | null; output: string }> {
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, output };
  }

  const check = (args: readonly string[], env?: Record<string, string>) => finish(begin(args, env));

  function readReport(): { json: Report; markdown: string } {
    const names = readdirSync(join(folder, "out")).sort();
    expect(names).toHaveLength(2);
    expect(names[0]).toMatch(/^gpu-check-\d{4}-\d\d-\d\d-h100-80gb-hbm3\.json$/);
    const [json = "", markdown = ""] = names.map((name) => readFileSync(join(folder, "out", name), "utf8"));
    return { json: JSON.parse(json) as Report, markdown };
  }
  const named = (report: Report, stage: string, name: string): Check | undefined =>
    report.stages[stage]?.checks.find((each) => each.name === name);

  it("reports both stages in one JSON and one Markdown file", async () => {
    const { code, output } = await check(["--stage", "all"]);
    expect(output).toMatch(/\n\d+ passed, 0 failed, 0 not run\n$/);
    expect(code).toBe(0);
    const { json, markdown } = readReport();
    expect(Object.values(json.stages).map(({ finished }) => finished)).toEqual([true, true]);
    expect(json.header).toMatchObject({ driver: "580.1", cuBLASLt: "libcublasLt.so.13" });
    expect(named(json, "correctness", "memcheck")?.summary).toMatch(/^0 errors in \d+ cases/);
    expect(named(json, "correctness", "training as on the CPU, tiny, f32")?.summary).toContain(
      "losses within 2.0e-06, weights moved by 25 %; 1 flips in 200 slots",
    );
    expect(named(json, "speed", "peers, small, bf16")?.summary).toBe(
      "ours 4.50 ms; PyTorch eager, autocast takes 2.00 times as long",
    );
    for (const line of [
      // Small: 1.15 TFLOP in 4.5 ms.
      "| small 128 x 128 | bf16 | yes | 4.5 | 28444 | 3.64e+06 | 256 | 25.8 % | 31.9 % | 2000 |",
      // 100 GFLOP would take 0.125 ms, 0.3 GB 0.1 ms, of 0.5.
      "| linear | real shape | bf16 | 0.5 | 200 | 600 | 25 % |",
      "| optimizer | 14 M parameters | bf16 | 0.2 |  | 2000 | 67 % |",
    ])
      expect(markdown).toContain(line);
    // So small a case says nothing about speed.
    expect(markdown).not.toContain("| rows | tiny |");
  }, 120_000);

  it("adds a stage to the report of the same day and sources", async () => {
    await check(["--stage", "correctness", "--only", "golden"]);
    const first = readReport().json;
    await check(["--stage", "speed", "--only", "roofs"]);
    const second = readReport().json;
    expect(second.stages["speed"]?.finished).toBe(true);
    // Somebody may be writing kernels while this runs; what other ones gave is dropped.
    const kept =
      second.header["sources"] === first.header["sources"] ? first.stages["correctness"] : undefined;
    expect(second.stages["correctness"]).toEqual(kept);
  }, 60_000);

  it("goes on after crashes and errors, and ends with 1", async () => {
    const only = ["--only", "operators,racecheck"];
    const { code, output } = await check(["--stage", "correctness", ...only], {
      CRASH: "test --precision bf16 --shard 0/",
      SANITIZER_ERRORS: "2",
    });
    expect(code).toBe(1);
    const { json, markdown } = readReport();
    const crashed = named(json, "correctness", "operators, bf16");
    expect(crashed?.status).toBe("fail");
    expect(crashed?.detail?.join("\n")).toMatch(/ended by SIGSEGV\nabout to crash/);
    expect(named(json, "correctness", "racecheck")?.status).toBe("fail");
    expect(named(json, "correctness", "operators, f32")?.status).toBe("pass");
    expect(markdown).toContain("### operators, bf16: what it said");
    expect(output).toContain(`${json.passed} passed, ${json.failed} failed, 0 not run`);
  }, 120_000);

  it("keeps to its budget when a program hangs, and says what was not run", async () => {
    const began = performance.now();
    const { code } = await check(["--stage", "correctness", "--budget", "18"], {
      HANG: "test --precision f32",
    });
    expect(performance.now() - began).toBeLessThan(40_000);
    expect(code).toBe(1);
    const { json } = readReport();
    expect(named(json, "correctness", "operators, f32")?.detail?.join("\n")).toContain("stopped after");
    expect(named(json, "correctness", "memcheck")).toMatchObject({ status: "skip" });
    expect(named(json, "correctness", "memcheck")?.summary).toMatch(/^no time/);
    expect(json.stages["correctness"]?.finished).toBe(true);
  }, 60_000);

  it("leaves a report and no program behind when it is stopped", async () => {
    const child = begin(["--stage", "correctness"], { HANG: "test --precision f32" });
    const end = finish(child);
    while (!existsSync(join(folder, "hangs"))) await delay(50);
    await delay(200);
    const pid = Number(readFileSync(join(folder, "hangs"), "utf8"));
    child.kill("SIGTERM");
    expect((await end).code).toBe(1);
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    const { json, markdown } = readReport();
    expect(json.stages["correctness"]).toMatchObject({ finished: false, cut_off: "stopped by SIGTERM" });
    expect(named(json, "correctness", "products, cuBLASLt")?.status).toBe("pass");
    expect(markdown).toContain("**Not finished: stopped by SIGTERM.**");
  }, 60_000);

  it("does not take kernels of our own for cuBLASLt", async () => {
    const env = { CUBLASLT_SAYS: "built-in: the library cannot be opened" };
    const { code } = await check(["--stage", "correctness", "--only", "products"], env);
    expect(code).toBe(1);
    const { json } = readReport();
    expect(named(json, "correctness", "products, built in")?.status).toBe("pass");
    expect(named(json, "correctness", "products, cuBLASLt")).toMatchObject({
      status: "fail",
      detail: [expect.stringContaining("was not used: built-in: the library cannot be opened")],
    });
  }, 60_000);

  it("counts a compiled peer that is faster than ours as a failure", async () => {
    const { code } = await check(["--stage", "speed", "--only", "small, bf16"], { SLOW_PEER: "4" });
    expect(code).toBe(1);
    expect(named(readReport().json, "speed", "peers, small, bf16")?.detail?.[0]).toMatch(
      /is faster than ours: 0\.89/,
    );
  }, 60_000);

  it("says what is missing where there is no GPU", async () => {
    rmSync(join(folder, "tools", "nvidia-smi"));
    const { code, output } = await check([], {
      PATH: `${join(folder, "tools")}${delimiter}/usr/bin${delimiter}/bin`,
    });
    // A machine whose system folders hold the real tool has a GPU.
    if (existsSync("/usr/bin/nvidia-smi")) return;
    expect(code).toBe(2);
    expect(output).toContain("nvidia-smi could not be started");
    expect(existsSync(join(folder, "out"))).toBe(false);
  });

  it("leaves out what needs Node where there is none", async () => {
    rmSync(join(folder, "work", "package"), { recursive: true });
    rmSync(join(folder, "tools", "node"));
    const { code } = await check(["--stage", "correctness", "--only", "golden"], {
      PATH: `${join(folder, "tools")}${delimiter}/bin`,
    });
    if (existsSync("/bin/node")) return;
    expect(code).toBe(1);
    expect(named(readReport().json, "correctness", "golden fixtures, f32")).toMatchObject({
      status: "skip",
      summary: "no Node here and none in a kit (scripts/gpu-check-kit makes one)",
    });
  }, 60_000);
});
