import { join } from "node:path";
import {
  type CheckpointInfo,
  findLatestCheckpoint,
  MOMENTS_FILE,
} from "../../checkpoint/checkpoint-folders.js";
import { engineParameterStore } from "../../checkpoint/engine-parameter-store.js";
import { loadWeights } from "../../checkpoint/load-checkpoint.js";
import { combineSinks } from "../../telemetry/event-sink.js";
import { trialFolder } from "./finetuning-setup.js";
import { loadEncoder } from "./initial-model.js";
import { scoreTrial } from "./score-trial.js";
import { refuseForeignTrial, requireAll, requireHeads } from "./trial-checks.js";
import type { TrialContext, TrialOutcome } from "./trial-context.js";
import { TrialRun } from "./trial-run.js";
import { evaluatedAlike, readTrialState } from "./trial-state.js";

/**
 * One trial: trains it, or continues it, or does not if it is finished; then evaluates it. What is finished is never done
 * again, and never lost.
 *
 * @throws ElectraError `ERR_ELECTRA_TRIAL_EXISTS`, `ERR_ELECTRA_DATA_CHANGED` for a trial of other settings or data
 */
export async function runTrial(context: TrialContext, trial: number): Promise<TrialOutcome> {
  const { setup, data, onLine } = context;
  const { hparams } = setup;
  const folder = trialFolder(hparams, trial);
  const state = await readTrialState(folder);
  const latest = await findLatestCheckpoint(folder);
  const nothing = { trial, files: [], trainExamplesPerSecond: undefined, info: undefined };
  if (!hparams.do_train) return await evaluateOnly(context, trial, latest);

  const saved =
    state ?? (latest && { hparams: latest.training.hparams, data: latest.training.fingerprints.data });
  if (saved !== undefined) refuseForeignTrial(folder, saved, { hparams, data });
  const trained = latest !== undefined && !(MOMENTS_FILE in latest.training.files);
  if (state !== undefined && (!hparams.do_eval || evaluatedAlike(state.hparams, hparams) || !trained)) {
    if (hparams.do_eval && !evaluatedAlike(state.hparams, hparams)) {
      onLine(`trial ${trial} cannot be evaluated with the settings of now: its model is not there any more`);
    }
    onLine(`trial ${trial} is finished: ${folder}`);
    return {
      ...nothing,
      status: "kept",
      steps: state.steps,
      checkpoint: latest?.path,
      results: state.results,
    };
  }
  if (trained && !hparams.do_eval) {
    return { ...nothing, status: "kept", steps: latest.step, checkpoint: latest.path, results: undefined };
  }
  return await new TrialRun(context, trial, folder).run(latest, trained);
}

/** Evaluates what is there, as `do_train` false asks for: the trial's model, or the one that training would begin with. */
async function evaluateOnly(
  context: TrialContext,
  trial: number,
  latest: CheckpointInfo | undefined,
): Promise<TrialOutcome> {
  const { setup, machine, createEngine, signal } = context;
  const nothing = {
    trial,
    checkpoint: latest?.path,
    steps: latest?.step ?? 0,
    trainExamplesPerSecond: undefined,
  };
  if (!setup.hparams.do_eval) {
    return { ...nothing, status: "kept", results: undefined, files: [], info: undefined };
  }
  const own = latest === undefined ? undefined : join(latest.path, "finetuned");
  const folder = own ?? setup.initial?.folder;
  if (own !== undefined || setup.initial?.tasks !== undefined || setup.initial?.part !== "finetuned") {
    await requireHeads(folder, setup.heads);
  }
  const engine = await createEngine({
    ...machine,
    model: setup.model,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const parameters = engineParameterStore(engine);
    const origins =
      own === undefined ? await loadEncoder(setup.initial!, parameters, setup.heads) : undefined;
    if (own !== undefined) await loadWeights({ folders: { finetuned: own }, parameters });
    requireAll(origins ?? [], setup.initial?.path ?? "");
    context.onTrial({
      trial,
      info: engine.info,
      parameters: engine.parameters().reduce((sum, { elements }) => sum + elements, 0),
      memory: engine.memory().total,
      tensors: [],
      resumedFrom: folder,
      step: nothing.steps,
      steps: undefined,
    });
    const sink = combineSinks(context.sinks);
    const { results, files } = await scoreTrial(context, engine, trial, sink, nothing.steps);
    return { ...nothing, status: "finished", results, files, info: engine.info };
  } finally {
    await engine.dispose();
  }
}
