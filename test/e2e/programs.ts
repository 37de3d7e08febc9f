import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import type { CliResult } from "./cli.js";

/** The repository's root. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

// Below the package, so that a program here imports "electra-native" as one beside it would.
const programs = join(root, "build", `examples-${process.pid}`);

/** Makes a program of TypeScript. Node 20 runs none; its types are the business of tsconfig.test.json. */
export function writeProgram(name: string, text: string): string {
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  mkdirSync(programs, { recursive: true });
  const path = join(programs, `${name}.mjs`);
  writeFileSync(path, outputText);
  return path;
}

/** What {@link writeProgram} wrote. */
export function removePrograms(): void {
  rmSync(programs, { recursive: true, force: true });
}

/** Runs a program to its end. */
export function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  cwd = root,
  stdin = "",
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, NO_COLOR: "1", ...environment } });
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
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
