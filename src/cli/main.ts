import { Command, CommanderError } from "commander";
import { packageVersion } from "../package-root.js";
import { type CliIo, processIo } from "./cli-io.js";
import type { CommandHandler } from "./command-module.js";
import { describeFailure, type Failure, formatStack } from "./failure.js";
import { Interruption } from "./interruption.js";
import { Output } from "./output.js";
import { registeredCommands } from "./registry.js";

/**
 * Runs the command line and returns the exit code: 0, 1 (run-time failure), 2 (usage or configuration), 130 or
 * 143 (stopped by SIGINT or SIGTERM). Only the file of the command that is named is loaded.
 *
 * @param argv arguments without `node` and the script
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  const flags = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : argv.length);
  const output = new Output(io, flags.includes("--json"));
  const outcome: Outcome = { exitCode: 0 };
  try {
    const program = await createProgram(flags, io, output, outcome);
    await program.parseAsync(argv, { from: "user" });
    return outcome.interruption?.exitCode ?? outcome.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageFailure(error, output);
    const stopped = outcome.interruption?.caused(error) === true;
    const failure = describeFailure(error);
    report(failure, output, stopped);
    if (flags.includes("--debug")) output.talk(formatStack(error));
    return stopped ? outcome.interruption!.exitCode! : failure.exitCode;
  } finally {
    outcome.interruption?.dispose();
  }
}

interface Outcome {
  exitCode: number;
  interruption?: Interruption;
}

async function createProgram(
  flags: readonly string[],
  io: CliIo,
  output: Output,
  outcome: Outcome,
): Promise<Command> {
  const program = new Command("electra-native")
    .description("Pre-train, fine-tune, evaluate and serve ELECTRA text encoders.")
    .version(packageVersion(), "-v, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .option("--debug", "print where an error comes from")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    })
    .addHelpText(
      "after",
      "\nExamples:\n  $ npx electra-native build-vocab --corpus-dir text --output-file data/vocab.txt --vocab-size 8000\n  $ npx electra-native doctor",
    );
  const named = flags.find((argument) => !argument.startsWith("-"));
  for (const { name, summary, group, load } of registeredCommands) {
    const command = program.command(name).summary(summary).helpGroup(group);
    if (name !== named) continue;
    command
      .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
      .showHelpAfterError(`See: npx electra-native ${name} --help`);
    const module = await load();
    const handler = module.define(command) as CommandHandler<Record<string, unknown>>;
    command.option("--debug", "print where an error comes from");
    command.action(async () => {
      outcome.interruption = new Interruption(io, output);
      const context = { output, signal: outcome.interruption.signal };
      outcome.exitCode = (await handler(context, command.opts(), command.processedArgs)) ?? 0;
    });
  }
  return program;
}

/** Commander has talked already; what is left is the exit code and the document. */
function usageFailure(error: CommanderError, output: Output): number {
  if (error.exitCode === 0) return 0;
  if (output.json) {
    const message = error.message.replace(/^error: /, "").trim();
    const hint = "Run the command with --help.";
    output.result({ error: { code: "ERR_ELECTRA_USAGE", message, hint } }, "");
  }
  return 2;
}

function report({ code, message, hint }: Failure, output: Output, stopped: boolean): void {
  if (output.json) output.result({ error: { code, message, hint } }, "");
  if (stopped) output.talk(message);
  else output.error(message, hint ?? undefined);
}
