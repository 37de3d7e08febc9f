import { type Command, InvalidArgumentError, Option } from "commander";
import type { Truth } from "../../electric/development-truth.js";
import type { ListWithTruth, RerankMetric } from "../../electric/judged-lists.js";
import type { RerankMeasure } from "../../electric/measure-rerank.js";
import type { ParsedNBest } from "../../electric/nbest-format.js";
import type { RerankOptions, ScoredList } from "../../electric/rerank.js";
import type { TextScorer } from "../../electric/text-scorer.js";
import type { TunedWeight } from "../../electric/tune-weight.js";
import { ElectraError } from "../../errors.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { type Output, shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";
import { addScoringOptions, type ScoringOptions, scoringFlags, scoringMethod } from "../scoring-options.js";

interface Options extends RunOptions, ScoringOptions {
  readonly nbest?: string;
  readonly weight?: number;
  readonly devNbest?: string;
  readonly devReferences?: string;
  readonly references?: string;
  readonly metric: RerankMetric;
  readonly normalize?: boolean;
  readonly suffix?: string;
  readonly best?: boolean;
}

export function define(command: Command): CommandHandler<Options> {
  addScoringOptions(command)
    .option(
      "--nbest <file>",
      'the lists: {"id", "hypothesis", "score"} a line, or id ||| hypothesis ||| features ||| score',
    )
    .option("--weight <w>", "total = score + w · pseudo-log-likelihood", parseWeight)
    .option("--normalize", "weigh the mean over a hypothesis's tokens instead of the sum")
    .option("--suffix <text>", "put behind every hypothesis before it is scored, for instance a full stop")
    .option("--best", "print the best hypothesis of each list alone")
    .option("--references <file>", "truth of the lists: say what the weight does to them")
    .optionsGroup("Picking the weight:")
    .addOption(new Option("--dev-nbest <file>", "pick the weight on these lists").conflicts("weight"))
    .addOption(
      new Option(
        "--dev-references <file>",
        'their truth: {"id", "reference"} or {"id", "chosen"} a line, id ||| reference, or plain lines',
      ).conflicts("weight"),
    )
    .addOption(
      new Option("--metric <name>", "what the weight is to improve, and what is measured")
        .choices(["word-error-rate", "oracle-accuracy"])
        .default("word-error-rate"),
    );
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Prints the lists in the form they came in, the best hypothesis first. Higher scores are better.",
      "",
      "Examples:",
      "  $ npx electra-native rerank --model data/models/my-electric --nbest test.jsonl --weight 0.3 --best",
      "  $ npx electra-native rerank --model data/models/my-electric --nbest test.nbest --dev-nbest dev.nbest --dev-references dev.txt",
    ].join("\n"),
  );
  return async ({ output, signal }, options) => {
    const { model: path, nbest, weight, devNbest, devReferences } = options;
    requireOptions({ "--model": path, "--nbest": nbest });
    if (weight === undefined) checkDevelopment(devNbest, devReferences);
    const [{ openTextScorer }, { scoreNBest }, { rerank }, { formatNBest }] = await Promise.all([
      import("../../electric/open-text-scorer.js"),
      import("../../electric/score-nbest.js"),
      import("../../electric/rerank.js"),
      import("../../electric/nbest-format.js"),
    ]);
    // All files are read before the model is opened: what is wrong with them shows at once.
    const { lists, format } = await readNBest(nbest!);
    const development = weight === undefined ? await readDevelopment(devNbest!, devReferences!) : undefined;
    const truths = options.references === undefined ? undefined : await readTruths(options.references, lists);
    const method = scoringMethod(options);
    const { scorer, warning } = await openTextScorer(path!, {
      method,
      ...machineOf(options),
      signal,
    });
    let chosen: number;
    try {
      announceMachine(output, scorer.model.engine.info);
      if (warning !== undefined) output.warn(warning);
      const tuned =
        development === undefined ? undefined : await tune(development, scorer, options, signal, output);
      chosen = tuned?.weight ?? weight!;
      const ranking = { weight: chosen, normalize: options.normalize === true };
      const scored = await scoreNBest(lists, scorer, { signal, ...suffixOf(options) });
      const ranked = rerank(scored, ranking);
      const measured =
        truths === undefined
          ? undefined
          : await measure(withTruths(scored, truths), { ...ranking, metric: options.metric }, output);
      const document = {
        model: path,
        step: scorer.model.step ?? null,
        method,
        weight: chosen,
        normalize: options.normalize === true,
        suffix: options.suffix ?? "",
        tuning: tuned ?? null,
        measured: measured ?? null,
        lists: ranked.map(({ id, entries }) => ({
          id,
          entries: entries.map(({ hypothesis, score, likelihood, total }) => ({
            hypothesis,
            score,
            pseudo_log_likelihood: likelihood.score,
            mean: likelihood.mean,
            total,
          })),
        })),
      };
      const text = options.best
        ? ranked.map(({ entries }) => `${entries[0]!.hypothesis}\n`).join("")
        : formatNBest(ranked, format);
      output.result(document, text);
    } finally {
      await scorer.dispose();
    }
    const model = shellQuote(path!) + scoringFlags(options);
    const settings =
      (options.normalize ? " --normalize" : "") +
      (options.suffix === undefined ? "" : ` --suffix ${shellQuote(options.suffix)}`);
    output.next(
      weight === undefined
        ? `npx electra-native rerank --model ${model} --nbest other.jsonl --weight ${chosen}${settings}`
        : `npx electra-native rerank --model ${model} --nbest ${shellQuote(nbest!)} --dev-nbest dev.jsonl --dev-references dev.txt${settings}`,
    );
    return 0;
  };
}

function checkDevelopment(nbest: string | undefined, references: string | undefined): void {
  if (nbest !== undefined && references !== undefined) return;
  throw new ElectraError("ERR_ELECTRA_USAGE", "no weight was given, and not all that picking one needs", {
    hint: "Give --weight, or --dev-nbest with --dev-references.",
    exitCode: 2,
  });
}

interface Development {
  readonly lists: ParsedNBest["lists"];
  readonly truths: readonly Truth[];
}

async function readDevelopment(nbest: string, references: string): Promise<Development> {
  const { lists } = await readNBest(nbest);
  return { lists, truths: await readTruths(references, lists) };
}

async function readTruths(references: string, lists: ParsedNBest["lists"]): Promise<readonly Truth[]> {
  const [{ parseTruth }, text] = await Promise.all([
    import("../../electric/development-truth.js"),
    readWhole(references),
  ]);
  return parseTruth(text, references, lists);
}

function withTruths(lists: readonly ScoredList[], truths: readonly Truth[]): ListWithTruth[] {
  return lists.map((list, index) => ({ list, truth: truths[index]! }));
}

async function readNBest(path: string): Promise<ParsedNBest> {
  const { parseNBest } = await import("../../electric/nbest-format.js");
  return parseNBest(await readWhole(path), path);
}

async function readWhole(path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new ElectraError("ERR_ELECTRA_FILE", `cannot read ${path}: ${(error as Error).message}`, {
      hint: "Check the path.",
      cause: error,
      exitCode: 2,
    });
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ElectraError("ERR_ELECTRA_TEXT", `${path} is not valid UTF-8`, {
      hint: "Convert it, for instance with iconv -t UTF-8.",
      cause: error,
      exitCode: 2,
    });
  }
}

async function tune(
  { lists, truths }: Development,
  scorer: TextScorer,
  { metric, normalize, suffix }: Options,
  signal: AbortSignal,
  output: Output,
): Promise<TunedWeight> {
  const [{ scoreNBest }, { tuneWeight }] = await Promise.all([
    import("../../electric/score-nbest.js"),
    import("../../electric/tune-weight.js"),
  ]);
  const scored = await scoreNBest(lists, scorer, { signal, ...suffixOf({ suffix }) });
  const tuned = tuneWeight(withTruths(scored, truths), { metric, normalize: normalize === true });
  output.talk(
    `weight ${tuned.weight}: ${metric.replaceAll("-", " ")} ${percent(tuned.value)} on ${lists.length} development lists; ` +
      `${percent(tuned.baseline)} without it, ${percent(tuned.oracle)} at best`,
  );
  return tuned;
}

async function measure(
  lists: readonly ListWithTruth[],
  options: RerankOptions & { readonly metric: RerankMetric },
  output: Output,
): Promise<RerankMeasure> {
  const { measureRerank } = await import("../../electric/measure-rerank.js");
  const measured = measureRerank(lists, options);
  const { value, baseline, oracle, better, worse, gain, gainLower, gainUpper } = measured;
  output.talk(
    `${options.metric.replaceAll("-", " ")} on these ${measured.lists} lists: ${percent(value)}; ${percent(baseline)} without re-ranking, ${percent(oracle)} at best\n` +
      `${better} lists better, ${worse} worse; gain ${percent(gain)}, 95 % interval ${percent(gainLower)} to ${percent(gainUpper)}`,
  );
  return measured;
}

function suffixOf({ suffix }: { readonly suffix?: string | undefined }): { readonly suffix?: string } {
  return suffix === undefined ? {} : { suffix };
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}

function parseWeight(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
    throw new InvalidArgumentError("Give a number of at least 0.");
  }
  return value;
}
