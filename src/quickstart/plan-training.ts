import { readFile, rename, writeFile } from "node:fs/promises";
import { BatchLoader } from "../data/batch-loader.js";
import { Engine } from "../engine/engine.js";
import type { DeviceChoice, TrainStepResult } from "../engine/types.js";
import { openPretrainingData, setUpPretraining } from "../pretraining/pretraining-setup.js";
import type { QuickstartRecipe } from "./recipe.js";

/** How long to train, settled once for a model and kept, so that a second run goes on with the same schedule. */
export interface TrainingPlan {
  readonly steps: number;
  readonly warmupSteps: number;
  /** Measured in some steps of a model that is thrown away. */
  readonly secondsPerStep: number;
  readonly tokensPerSecond: number;
  /** Whether the machine was too slow for all steps of the recipe. */
  readonly cut: boolean;
}

export interface PlanTrainingOptions {
  readonly dataDir: string;
  readonly modelName: string;
  readonly hparams: Readonly<Record<string, unknown>>;
  readonly recipe: QuickstartRecipe["training"];
  /** Minutes of training asked for; otherwise the recipe's steps. */
  readonly minutes?: number;
  readonly threads?: number;
  readonly device?: DeviceChoice;
  readonly signal?: AbortSignal;
  /** Where the plan is kept. */
  readonly path: string;
}

/** Measures the speed of this machine and settles the number of steps, or finds the plan that was made before. */
export async function planTraining(options: PlanTrainingOptions): Promise<TrainingPlan> {
  const key = JSON.stringify([options.recipe, options.hparams, options.minutes ?? null]);
  try {
    const kept = JSON.parse(await readFile(options.path, "utf8")) as { key: string; plan: TrainingPlan };
    if (kept.key === key) return kept.plan;
  } catch {
    // No plan yet, or one that a stop cut short.
  }
  const speed = await measureSpeed(options);
  const plan = {
    ...planSteps(options.recipe, speed.secondsPerStep, options.minutes),
    ...speed,
  };
  await writeFile(`${options.path}.tmp`, `${JSON.stringify({ key, plan }, null, 2)}\n`);
  await rename(`${options.path}.tmp`, options.path);
  return plan;
}

/** Steps for a speed: those of the recipe, fewer where they would take too long, or as many as fit into the minutes. */
export function planSteps(
  recipe: Pick<QuickstartRecipe["training"], "steps" | "fewestSteps" | "seconds" | "warmup">,
  secondsPerStep: number,
  minutes?: number,
): Pick<TrainingPlan, "steps" | "warmupSteps" | "cut"> {
  const affordable = Math.floor(
    (minutes === undefined ? recipe.seconds : minutes * 60) / Math.max(secondsPerStep, 1e-6),
  );
  const steps =
    minutes === undefined
      ? Math.max(recipe.fewestSteps, Math.min(recipe.steps, affordable))
      : Math.max(1, affordable);
  return {
    steps,
    warmupSteps: Math.min(steps - 1, Math.round(steps * recipe.warmup)),
    cut: minutes === undefined && steps < recipe.steps,
  };
}

async function measureSpeed(
  options: PlanTrainingOptions,
): Promise<Pick<TrainingPlan, "secondsPerStep" | "tokensPerSecond">> {
  const { dataDir, modelName, recipe, signal, threads, device } = options;
  const setup = await setUpPretraining({ dataDir, modelName, hparams: options.hparams, preset: "fixed" });
  const data = await openPretrainingData(setup.hparams);
  try {
    const engine = await Engine.create({
      model: setup.model,
      seed: setup.hparams.seed,
      ...(threads === undefined ? {} : { threads }),
      ...(device === undefined ? {} : { device }),
    });
    const loader = new BatchLoader({
      source: data.train,
      batchSize: setup.hparams.train_batch_size,
      order: { kind: "shuffled", seed: setup.hparams.seed },
    });
    try {
      const warmUp = Math.ceil(recipe.probeSteps / 2);
      const seconds: number[] = [];
      let tokens = 0;
      let last = 0;
      // As in training, the next step is handed over before the last one has ended.
      let underWay: Promise<TrainStepResult> | undefined;
      for (let step = 0; step <= warmUp + recipe.probeSteps; step++) {
        signal?.throwIfAborted();
        const batch = await loader.next();
        if (batch === undefined) throw new Error("the stream of training records ended");
        const next = engine.trainStep(
          { ...batch, length: setup.hparams.max_seq_length, firstRow: 0 },
          { step, learningRate: 0 },
        );
        // Met when it is awaited; until then it must not count as unhandled.
        next.catch(() => undefined);
        const result = await underWay;
        underWay = next;
        const now = performance.now();
        if (result !== undefined && step > warmUp) {
          seconds.push((now - last) / 1000);
          tokens += result.tokens;
        }
        last = now;
      }
      await underWay;
      // The median: a neighbour that holds up some steps must not shorten the whole run.
      const secondsPerStep = seconds.sort((a, b) => a - b)[Math.floor(seconds.length / 2)]!;
      return { secondsPerStep, tokensPerSecond: tokens / recipe.probeSteps / secondsPerStep };
    } finally {
      loader.close();
      await engine.dispose();
    }
  } finally {
    data.close();
  }
}
