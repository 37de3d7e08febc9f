import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliResult, runCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { writeSyntheticCorpus } from "./synthetic-corpus.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const missing = missingBuild();
const reason = missing ? ` (skipped: ${missing})` : "";

/** What makes a run a matter of seconds, whatever the document asks for. */
const debugSize = {
  debug: true,
  num_train_steps: 3,
  num_warmup_steps: 1,
  train_batch_size: 4,
  eval_batch_size: 4,
  num_eval_steps: 1,
};

/** The lines of a document's blocks that are fenced as `sh`. */
function commandsOf(document: string): string[] {
  const text = readFileSync(join(root, document), "utf8");
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => block!.trim().split("\n"));
}

/** The words of a command as the shell would give them to a program. */
async function shellWords(command: string, dataDir: string): Promise<string[]> {
  const { code, stdout, stderr } = await run("sh", ["-c", `set -f; printf '%s\\0' ${command}`], {
    DATA_DIR: dataDir,
  });
  expect(code, stderr).toBe(0);
  return stdout.split("\0").slice(0, -1);
}

function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  cwd = root,
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, NO_COLOR: "1", ...environment } });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

describe.skipIf(missing !== undefined)(`the commands of docs/from-google-electra.md${reason}`, () => {
  const commands = commandsOf("docs/from-google-electra.md");
  let dataDir = "";
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "electra-examples-"));
    // Five files at least: the document builds with five processes.
    await writeSyntheticCorpus(join(dataDir, "text"), { documents: 6, sentences: 30 });
  });
  afterAll(async () => {
    await rm(dataDir, { recursive: true, force: true });
  });

  it("are there for every step of the reference's README", () => {
    const names = commands.map((command) => command.split(" ")[2]);
    expect(new Set(names)).toEqual(new Set(["build-vocab", "build-dataset", "pretrain"]));
    expect(commands.length).toBeGreaterThan(10);
  });

  // In the document's order: each uses what those before it made.
  it.each(commands)("%s", async (command) => {
    const words = await shellWords(command, dataDir);
    expect(words.slice(0, 2)).toEqual(["npx", "electra-native"]);
    const args = words.slice(2);
    if (args[0] === "pretrain") {
      const place = args.indexOf("--hparams");
      const given = place < 0 ? {} : (JSON.parse(args[place + 1]!) as Record<string, unknown>);
      if (place >= 0) args.splice(place, 2);
      args.push("--hparams", JSON.stringify({ ...given, ...debugSize }));
    }
    const { code, stdout, stderr } = await runCli([...args, "--json"], { cwd: dataDir });
    expect(code, stderr).toBe(0);
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(document).not.toHaveProperty("error");
    if (args[0] === "build-dataset") expect(document["examples"]).toBeGreaterThan(4);
    if (args[0] === "pretrain" && !("split" in document)) {
      expect(document).toMatchObject({ status: "finished", step: debugSize.num_train_steps });
    }
    if ("split" in document) {
      const results = readdirSync(join(dataDir, "models/electra_small_owt/results")).sort();
      expect(results).toEqual(["unsup_results.json", "unsup_results.txt"]);
    }
  });

  it("know the JSON file of hparams too", async () => {
    writeFileSync(join(dataDir, "hparams.json"), JSON.stringify(debugSize));
    const { code, stderr } = await runCli(
      ["pretrain", "--data-dir", dataDir, "--model-name", "from-file", "--hparams", "hparams.json"],
      { cwd: dataDir },
    );
    expect(code, stderr).toBe(0);
  });
});

describe.skipIf(missing !== undefined)(`examples/train-loop.ts${reason}`, () => {
  // Below the package, so that it imports "electra-native" as a program beside it would.
  const folder = join(root, "build", `examples-${process.pid}`);
  let work = "";
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "electra-train-loop-"));
    mkdirSync(folder, { recursive: true });
    // Node 20 runs no TypeScript; the types are checked by tsconfig.test.json.
    const { outputText } = ts.transpileModule(readFileSync(join(root, "examples/train-loop.ts"), "utf8"), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    });
    writeFileSync(join(folder, "train-loop.mjs"), outputText);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await rm(work, { recursive: true, force: true });
  });

  it("learns a made-up language until the held-out loss stops falling, and leaves a checkpoint", async () => {
    const { code, stdout, stderr } = await run(process.execPath, [join(folder, "train-loop.mjs")], {
      TMPDIR: work,
    });
    expect(code, stderr).toBe(0);
    const losses = [...stdout.matchAll(/held-out loss ([\d.]+)/g)].map(([, loss]) => Number(loss));
    expect(losses.length).toBeGreaterThan(2);
    expect(Math.min(...losses)).toBeLessThan(losses[0]!);
    const model = /^best checkpoint in (.+)$/m.exec(stdout)?.[1] ?? "";
    const inspected = await runCli(["inspect", model, "--json"], { cwd: work });
    expect(inspected.code, inspected.stderr).toBe(0);
    const document = JSON.parse(inspected.stdout) as {
      kind: string;
      checkpoints: number[];
      broken: unknown[];
    };
    expect(document).toMatchObject({ kind: "run", broken: [] });
    // The best, not the last.
    const best = 20 * (losses.indexOf(Math.min(...losses)) + 1);
    expect(document.checkpoints).toEqual([best]);
  });
});
