import type { EventSink } from "../../telemetry/event-sink.js";
import { formatHeading } from "../../telemetry/reference-console.js";
import type { TrialResults } from "../results/trial-results.js";
import { evaluateTrial, writeTestOutputs } from "./evaluate-trial.js";
import type { TrialEngine } from "./save-trial.js";
import type { TrialContext } from "./trial-context.js";

/**
 * Evaluates a trial's model and tells of it; then predicts the test splits, if that is asked for.
 *
 * @param step of the model
 * @returns results, and the files beside them
 * @throws the signal's reason after an abort
 */
export async function scoreTrial(
  context: TrialContext,
  engine: TrialEngine,
  trial: number,
  sink: EventSink,
  step: number,
): Promise<{ readonly results: TrialResults; readonly files: readonly string[] }> {
  const { setup, features, signal, onLine } = context;
  const { hparams } = setup;
  const started = performance.now();
  const name = `model=${hparams.model_name}, trial ${trial}/${hparams.num_trials}`;
  onLine(formatHeading(`Run dev set evaluation: ${name}`));
  const options = { engine, setup, features, trial, signal, onLine };
  const { tasks, degenerate, files } = await evaluateTrial(options);
  const time = Date.now() / 1000;
  const metrics = Object.entries(tasks).flatMap(([task, values]) =>
    values.flatMap(([metric, value]): [string, number][] =>
      value === null ? [] : [[`${task}_${metric}`, value]],
    ),
  );
  sink.emit({
    type: "eval",
    time,
    step,
    split: "dev",
    metrics: Object.fromEntries(metrics),
    seconds: (performance.now() - started) / 1000,
  });
  for (const [task, reason] of Object.entries(degenerate)) {
    sink.emit({
      type: "warning",
      time,
      step,
      code: "degenerate_trial",
      message: `trial ${trial} has not learned ${task}: ${reason}`,
      hint: "Such runs happen with small data sets. Run more trials (num_trials) and take the median, or train longer.",
    });
  }
  const results: TrialResults = {
    trial,
    tasks,
    ...(Object.keys(degenerate).length === 0 ? {} : { degenerate }),
  };
  if (!hparams.write_test_outputs || trial > hparams.n_writes_test) return { results, files };
  onLine(formatHeading(`Running on the test set and writing the predictions: ${name}`));
  return { results, files: [...files, ...(await writeTestOutputs(options))] };
}
