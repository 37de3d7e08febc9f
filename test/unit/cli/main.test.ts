import { describe, expect, it } from "vitest";
import { registeredCommands } from "../../../src/cli/registry.js";
import { runCli } from "./run-cli.js";

describe("the command line", () => {
  it("prints its help to stdout, commands in groups", async () => {
    const { code, stdout, stderr } = await runCli("--help");
    expect([code, stderr]).toEqual([0, ""]);
    const commands = stdout
      .split("\n")
      .map((line) => /^ {2}([a-z][a-z-]*) {2,}\S/.exec(line)?.[1])
      .filter((name) => name !== undefined);
    expect(commands).toEqual(registeredCommands.map(({ name }) => name));
    for (const { group, summary } of registeredCommands) {
      expect(stdout).toContain(group);
      expect(stdout).toContain(summary);
    }
  });

  it("prints the package's version", async () => {
    const { code, stdout } = await runCli("--version");
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
  });

  it.each(registeredCommands.map(({ name }) => name))("prints the help of %s", async (name) => {
    const { code, stdout, stderr } = await runCli(name, "--help");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^Usage: electra-native ${name} `));
    expect(stdout).toContain("--json");
  });

  it.each<[string, readonly string[], RegExp]>([
    ["no command", [], /Usage: electra-native/],
    ["a misspelt command", ["build-vocb"], /unknown command 'build-vocb'\n\(Did you mean build-vocab\?\)/],
    [
      "a misspelt option",
      ["build-dataset", "--corpus-dr", "x"],
      /Did you mean --corpus-dir\?[\s\S]*build-dataset --help/,
    ],
    ["an option without its value", ["build-vocab", "--vocab-size"], /argument missing/],
    ["a number that is none", ["build-vocab", "--vocab-size", "1e3"], /Give a whole number of at least 1/],
    ["a size of zero", ["build-vocab", "--vocab-size", "0"], /Give a whole number of at least 1/],
    ["a negative seed", ["build-dataset", "--seed", "-1"], /Give a whole number of at least 0/],
    ["a share above one", ["build-dataset", "--held-out-fraction", "1.5"], /Give a number from 0 to below 1/],
    ["a boolean that is none", ["build-dataset", "--blanks-separate-docs", ""], /Give true, false, 1 or 0/],
    [
      "switches that contradict",
      ["build-vocab", "--do-lower-case", "--no-lower-case"],
      /cannot be used with/,
    ],
    ["an operand too many", ["doctor", "x"], /too many arguments/],
    ["missing options", ["build-vocab", "--corpus-dir", "x"], /error: --output-file not given/],
    ["nothing to inspect", ["inspect"], /nothing to inspect/],
  ])("answers %s on stderr with exit code 2", async (_name, argv, message) => {
    const { code, stdout, stderr } = await runCli(...argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  it.each<[readonly string[], string, number, RegExp]>([
    [["build-dataset", "--nonsense"], "ERR_ELECTRA_USAGE", 2, /^unknown option '--nonsense'$/],
    [["build-dataset"], "ERR_ELECTRA_USAGE", 2, /--corpus-dir, --vocab-file, --output-dir not given/],
    [["inspect", "/does/not/exist"], "ERR_ELECTRA_FILE_NOT_FOUND", 2, /\/does\/not\/exist/],
    [
      ["build-vocab", "--corpus-dir", "/does/not/exist", "--output-file", "x"],
      "ERR_ELECTRA_FILE",
      1,
      /ENOENT/,
    ],
  ])(
    "with --json answers %j with one document of the error on stdout",
    async (argv, errorCode, exitCode, message) => {
      const { code, stdout } = await runCli(...argv, "--json");
      expect(code).toBe(exitCode);
      expect(JSON.parse(stdout)).toEqual({
        error: { code: errorCode, message: expect.stringMatching(message), hint: expect.any(String) },
      });
    },
  );

  it("shows where an error comes from only with --debug", async () => {
    const plain = await runCli("inspect", "/does/not/exist");
    expect(plain.stderr).not.toContain("    at ");
    const verbose = await runCli("inspect", "/does/not/exist", "--debug");
    expect(verbose.stderr).toMatch(/ElectraError: [\s\S]* {4}at [\s\S]*caused by: Error: ENOENT/);
  });
});
