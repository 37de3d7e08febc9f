import { spawn } from "node:child_process";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { ElectraError } from "../../errors.js";
import { packageRoot } from "../../package-root.js";
import type { CommandHandler } from "../command-module.js";
import { jsonOption } from "../run-options.js";

interface Options {
  readonly force?: boolean;
}

/**
 * The work is in `scripts/electra-native.mjs`, which answers `build` before anything of `dist` is loaded, so that
 * it also mends an install without `dist`. This file is for the help.
 */
export function define(command: Command): CommandHandler<Options> {
  command.addOption(new Option("--force", "compile even where nothing has changed")).addOption(jsonOption());
  return async ({ output, signal }, options) => {
    const script = join(packageRoot, "scripts", "electra-native.mjs");
    const args = [script, "build", ...(options.force ? ["--force"] : [])];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], signal });
    child.stdout.on("data", (text: Buffer) => output.talkStream.write(text));
    child.stderr.on("data", (text: Buffer) => output.talkStream.write(text));
    const code = await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status) => resolve(status ?? 1));
    });
    if (code !== 0) {
      throw new ElectraError("ERR_ELECTRA_BUILD", `${script} build ended with exit code ${code}`, {
        hint: "What it printed above says why.",
      });
    }
    output.result({ built: true }, "");
    return 0;
  };
}
