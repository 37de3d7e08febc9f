import type { Command } from "commander";
import type { CommandHandler } from "../command-module.js";
import { formatListing } from "../output.js";
import { jsonOption } from "../run-options.js";

interface Options {
  readonly dataDir: string;
}

export function define(command: Command): CommandHandler<Options> {
  command.option("--data-dir <folder>", "folder to test writing in", ".").addOption(jsonOption());
  return async ({ output, signal }, { dataDir }) => {
    const { examine } = await import("../doctor/examine.js");
    const findings = await examine({ dataDir, signal });
    const failed = findings.filter(({ status }) => status === "fail");
    output.result(
      { ok: failed.length === 0, checks: findings },
      formatListing(findings.map(({ name, status, detail }) => [`${MARKS[status]} ${name}`, detail])),
    );
    for (const { name, status, remedy } of findings) {
      if (status !== "ok" && remedy !== undefined) output.talk(`${name}: ${remedy}`);
    }
    output.next(failed[0]?.command ?? "npx electra-native build-vocab --help");
    return failed.length === 0 ? 0 : 1;
  };
}

const MARKS = { ok: "ok  ", warn: "note", fail: "FAIL" } as const;
