import { type Command, Option } from "commander";
import type { EvaluatePretrainingResult } from "../../pretraining/evaluate.js";
import type { PretrainingSetup } from "../../pretraining/pretraining-setup.js";
import { announceMachine, machineLine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parseBoolean } from "../option-parsers.js";
import { formatListing, type Output, shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly dataDir?: string;
  readonly modelName?: string;
  readonly hparams: string;
  readonly preset: "google" | "fixed";
  readonly dryRun: boolean;
  readonly allowChangedData: boolean;
  readonly initFrom?: string;
  readonly allowCreated?: readonly string[];
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--data-dir <folder>", "holds vocab.txt, pretrain_tfrecords/ and models/")
    .option("--model-name <name>", "the model is <data-dir>/models/<name>; an existing one is continued")
    .option("--hparams <json>", "hyper-parameters: a JSON object, or a file ending in .json", "{}")
    .addOption(
      new Option(
        "--preset <name>",
        "google: everything as the reference does it; fixed: its slips mended, sizes with their published settings",
      )
        .choices(["google", "fixed"])
        .default("google"),
    )
    .option(
      "--init-from <path>",
      "begin a new run with the weights of a run, checkpoint, Hugging Face folder or TensorFlow checkpoint",
    )
    .option(
      "--allow-created <names>",
      "networks that the model of --init-from may lack, by commas, such as generator: they begin at random",
      (names: string) => names.split(",").filter((name) => name !== ""),
    )
    .option("--dry-run [boolean]", "say what would be done, and stop", parseBoolean, false)
    .option(
      "--allow-changed-data [boolean]",
      "continue although the records have changed",
      parseBoolean,
      false,
    );
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Examples:",
      "  $ npx electra-native pretrain --data-dir data --model-name electra_small_owt",
      "  $ npx electra-native pretrain --data-dir data --model-name tiny --hparams '{\"debug\": true}'",
      '  $ npx electra-native pretrain --data-dir data --model-name electra_small_owt --hparams \'{"do_train": false, "do_eval": true}\'',
      "",
      "Ctrl-C finishes the step, writes a checkpoint and leaves; the same command goes on from there.",
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
      ...(options.initFrom === undefined ? {} : { initFrom: options.initFrom }),
      ...machineOf(options),
      signal: context.signal,
    };
    if (options.dryRun) return await describe(context.output, request);
    if (hparams["do_eval"] === true && hparams["do_train"] === false) {
      return await evaluate(context.output, request);
    }
    return await train(context.output, request, options);
  };
}

type Request = Parameters<typeof import("../../pretraining/evaluate.js").evaluatePretraining>[0] & {
  readonly signal: AbortSignal;
};

async function train(output: Output, request: Request, options: Options): Promise<number> {
  const [{ pretrain }, { TerminalSink }, { rowsNote, summarizeOrigins }, { textTable }] = await Promise.all([
    import("../../pretraining/pretrain.js"),
    import("../../telemetry/terminal-sink.js"),
    import("../../pretraining/load-initial-model.js"),
    import("../../telemetry/text-table.js"),
  ]);
  const terminal = new TerminalSink({ stream: output.talkStream });
  const result = await pretrain({
    ...request,
    sinks: [terminal],
    allowChangedData: options.allowChangedData,
    ...(options.allowCreated === undefined ? {} : { allowCreated: options.allowCreated }),
    onStart: ({
      setup,
      info,
      memory,
      parameters,
      records,
      heldOutRecords,
      resumedFrom,
      initialized,
      step,
      generatorWarmupEnd,
    }) => {
      // What else is to be said of the machine comes as the run's warnings.
      output.talk(machineLine(info));
      output.talk(
        `${setup.objective}: ${(parameters / 1e6).toFixed(1)} M parameters, ${records} records` +
          `${heldOutRecords > 0 ? ` (${heldOutRecords} held out)` : ""}, ` +
          `${(memory.total / 2 ** 20).toFixed(0)} MiB held, model folder ${setup.hparams.model_dir}`,
      );
      if (initialized !== undefined) {
        output.talk(`beginning with the weights of ${initialized.path}:`);
        output.talk(textTable([["tensors", "count", "values"], ...summarizeOrigins(initialized.origins)]));
        if (initialized.vocabulary !== undefined) {
          output.talk(`vocabulary: ${rowsNote(initialized.vocabulary)}`);
        }
        output.talk(
          `Adam ${initialized.moments ? "goes on with the moments of the checkpoint" : "begins anew"}, learning_rate ${setup.hparams.learning_rate}`,
        );
      }
      output.talk(
        resumedFrom === undefined
          ? `starting at step ${step} of ${setup.hparams.num_train_steps}`
          : `continuing ${resumedFrom}: step ${step} of ${setup.hparams.num_train_steps}`,
      );
      if (generatorWarmupEnd !== undefined) {
        output.talk(`only the generator learns, up to step ${generatorWarmupEnd}`);
      }
    },
  }).finally(() => terminal.close());

  if (result.status === "complete") {
    output.talk(
      `All ${result.step} steps were done before. To go on, raise num_train_steps (and rescale learning_rate: the schedule ends at 0).`,
    );
  }
  output.result(
    {
      status: result.status,
      step: result.step,
      checkpoint: result.checkpoint ?? null,
      model_dir: result.modelDir,
      seconds: result.seconds,
      tokens: result.tokens,
      metrics: result.metrics,
      device: result.info.device,
      gemm: result.info.gemm,
      isa: result.info.isa,
      threads: result.info.threads,
      precision: result.info.precision,
    },
    formatListing([
      ["status", result.status],
      ["step", String(result.step)],
      ["checkpoint", result.checkpoint ?? "none"],
      ["time", `${result.seconds.toFixed(1)} s`],
    ]),
  );
  const again = `npx electra-native pretrain --data-dir ${shellQuote(request.dataDir)} --model-name ${shellQuote(request.modelName)}`;
  if (result.status === "interrupted") {
    output.next(`${again} --hparams ${shellQuote(options.hparams)}`);
  } else {
    const evaluation = JSON.stringify({ ...request.hparams, do_train: false, do_eval: true });
    output.next(`${again} --hparams ${shellQuote(evaluation)}`);
  }
  return 0;
}

async function evaluate(output: Output, request: Request): Promise<number> {
  const [{ evaluatePretraining, numbers }, { formatResults }] = await Promise.all([
    import("../../pretraining/evaluate.js"),
    import("../../telemetry/reference-console.js"),
  ]);
  const result: EvaluatePretrainingResult = await evaluatePretraining(request);
  announceMachine(output, result.info);
  output.talk(
    result.split === "held_out"
      ? `evaluated ${result.checkpoint} on held-out records`
      : `evaluated ${result.checkpoint} on records of the training data, as the reference does: none are held out`,
  );
  output.result(
    { checkpoint: result.checkpoint, split: result.split, metrics: result.metrics, files: result.files },
    formatResults(numbers(result.metrics)),
  );
  output.next(
    `echo "the text to look at" | npx electra-native detect --model ${shellQuote(result.checkpoint)}`,
  );
  return 0;
}

async function describe(output: Output, request: Request): Promise<number> {
  const [
    { setUpPretraining, openPretrainingData },
    { pretrainingVariables, countParameters },
    { formatConfig },
  ] = await Promise.all([
    import("../../pretraining/pretraining-setup.js"),
    import("../../hparams/pretraining-variables.js"),
    import("../../telemetry/reference-console.js"),
  ]);
  const setup: PretrainingSetup = await setUpPretraining(request);
  for (const { message, hint } of setup.warnings) output.warn(message, hint);
  const data = await openPretrainingData(setup.hparams);
  data.close();
  const parameters = countParameters(pretrainingVariables(setup.hparams));
  const stepsPerEpoch = data.train.length / setup.hparams.train_batch_size;
  output.result(
    {
      hparams: setup.hparams,
      parameters,
      records: data.train.length,
      held_out_records: data.heldOut?.length ?? 0,
      steps_per_epoch: stepsPerEpoch,
      epochs: setup.hparams.num_train_steps / stepsPerEpoch,
      // Values, gradients and two moments; activations come on top and depend on the batch.
      parameter_bytes: parameters * 16,
    },
    [
      formatConfig(setup.hparams as unknown as Record<string, unknown>),
      "",
      formatListing([
        [
          "parameters",
          `${parameters} (${((parameters * 16) / 2 ** 20).toFixed(0)} MiB with gradients and moments)`,
        ],
        ["records", `${data.train.length} to train on, ${data.heldOut?.length ?? 0} held out`],
        ["epochs", (setup.hparams.num_train_steps / stepsPerEpoch).toFixed(2)],
      ]),
    ].join("\n"),
  );
  return 0;
}
