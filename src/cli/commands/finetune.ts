import { type Command, Option } from "commander";
import type { TrialStart } from "../../finetuning/training/trial-context.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { describeResult, describeSetup, tensorLines } from "../finetuning-listing.js";
import { parseBoolean } from "../option-parsers.js";
import { type Output, shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly dataDir?: string;
  readonly modelName?: string;
  readonly hparams: string;
  readonly taskFile: readonly string[];
  readonly preset: "google" | "fixed";
  readonly dryRun: boolean;
  readonly overwrite: boolean;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--data-dir <folder>", "holds models/ and finetuning_data/<task>/")
    .option("--model-name <name>", "the model to fine-tune is <data-dir>/models/<name>")
    .option("--hparams <json>", "hyper-parameters: a JSON object, or a file ending in .json", "{}")
    .addOption(
      new Option(
        "--task-file <file>",
        "a task of your own: a description (.json) or a module (.mjs); may be repeated",
      )
        .argParser((file: string, files: readonly string[]) => [...files, file])
        .default([], "none"),
    )
    .addOption(
      new Option(
        "--preset <name>",
        "google: everything as the reference does it; fixed: its slips mended, settings as published",
      )
        .choices(["google", "fixed"])
        .default("google"),
    )
    .option("--dry-run [boolean]", "say what would be done, and stop", parseBoolean, false)
    .option("--overwrite [boolean]", "delete the trials of earlier runs and begin anew", parseBoolean, false);
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Examples:",
      '  $ npx electra-native finetune --data-dir data --model-name electra_small --hparams \'{"task_names": ["mrpc"]}\'',
      '  $ npx electra-native finetune --data-dir data --model-name electra_small --hparams \'{"task_names": ["rte"], "num_trials": 5}\'',
      "  $ npx electra-native finetune --data-dir data --model-name electra_small --task-file tickets/task.json",
      "",
      "Ctrl-C finishes the step, writes a checkpoint and leaves; the same command goes on from there. Trials that are",
      "finished are kept: raise num_trials for more of them.",
    ].join("\n"),
  );
  return async (context, options) => {
    requireOptions({ "--data-dir": options.dataDir, "--model-name": options.modelName });
    const { readHparams } = await import("../../hparams/hparams-file.js");
    const { hparams, place } = await readHparams(options.hparams);
    const request = {
      dataDir: options.dataDir!,
      modelName: options.modelName!,
      preset: options.preset,
      place,
      hparams: { ...hparams, ...(options.seed === undefined ? {} : { seed: options.seed }) },
      taskFiles: options.taskFile,
      ...machineOf(options),
      signal: context.signal,
    };
    if (options.dryRun) {
      const { setUpFinetuning } = await import("../../finetuning/training/finetuning-setup.js");
      const setup = await setUpFinetuning(request);
      for (const { message, hint } of setup.warnings) context.output.warn(message, hint);
      const { document, text } = await describeSetup(setup);
      context.output.result(document, text);
      context.output.next(commandLine(options));
      return 0;
    }
    return await train(context.output, request, options);
  };
}

type Request = Parameters<typeof import("../../finetuning/training/finetune.js").finetune>[0];

async function train(output: Output, request: Request, options: Options): Promise<number> {
  const [{ finetune }, { TerminalSink }] = await Promise.all([
    import("../../finetuning/training/finetune.js"),
    import("../../telemetry/terminal-sink.js"),
  ]);
  const terminal = new TerminalSink({ stream: output.talkStream });
  let announced = false;
  const result = await finetune({
    ...request,
    overwrite: options.overwrite,
    sinks: [terminal],
    onLine: (line) => terminal.log(line),
    onTrial: (start: TrialStart) => {
      if (!announced) announceMachine(output, start.info);
      for (const line of tensorLines(start, announced)) terminal.log(line);
      announced = true;
    },
  }).finally(() => terminal.close());
  const { document, text } = describeResult(result);
  output.result(document, text);
  if (result.status === "complete") {
    output.talk(
      "All trials were finished before. Raise num_trials for more, or begin anew with --overwrite, which deletes these models.",
    );
  }
  const model = result.trials.findLast(({ checkpoint }) => checkpoint !== undefined)?.checkpoint;
  output.next(
    result.status === "interrupted" || model === undefined
      ? commandLine(options)
      : `echo "a text" | npx electra-native predict --model ${shellQuote(model)}`,
  );
  return 0;
}

/** The command that goes on; without `--overwrite`, which would delete what there is to go on with. */
function commandLine(options: Options): string {
  const { dataDir, modelName, hparams, taskFile, preset, seed, device, precision, threads } = options;
  const same = Object.entries({ seed, device, precision, threads }).filter(
    ([, value]) => value !== undefined,
  );
  return [
    "npx electra-native finetune",
    `--data-dir ${shellQuote(dataDir!)}`,
    `--model-name ${shellQuote(modelName!)}`,
    ...(hparams === "{}" ? [] : [`--hparams ${shellQuote(hparams)}`]),
    ...taskFile.map((file) => `--task-file ${shellQuote(file)}`),
    ...(preset === "google" ? [] : [`--preset ${preset}`]),
    ...same.map(([name, value]) => `--${name} ${value}`),
  ].join(" ");
}
