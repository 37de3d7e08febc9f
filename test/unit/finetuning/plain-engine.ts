import type {
  FinetuningBatch,
  FinetuningEngineCreateOptions,
  FinetuningTrainStepOptions,
  FinetuningTrainStepResult,
  PredictOptions,
  PredictResult,
} from "../../../src/engine/finetuning-types.js";
import type { ParameterKind } from "../../../src/engine/types.js";
import type { TrialEngine } from "../../../src/finetuning/training/save-trial.js";
import { pretrainingVariables, type VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { SeededRandom } from "../../../src/metrics/seeded-random.js";
import { toyHparams } from "../checkpoint/toy-model.js";

export interface PlainEngineLog {
  readonly created: FinetuningEngineCreateOptions[];
  readonly steps: FinetuningTrainStepOptions[];
  /** Called before every step. */
  beforeStep?: (step: number) => void;
}

/**
 * An engine that is none: all variables of the encoder, of which it uses the word table alone, and a logistic regression on
 * the mean of a row's words for tasks of two or more classes, with momentum where Adam's first moment is. Enough to learn
 * which words mean what, and to notice if state is lost.
 */
export class PlainEngine {
  readonly info = {
    device: "cpu",
    gemm: "plain",
    isa: "none",
    threads: 1,
    precision: "float32",
    version: "0",
    warnings: [],
  } as const;
  readonly #options: FinetuningEngineCreateOptions;
  readonly #log: PlainEngineLog;
  readonly #tensors = new Map<string, Float32Array>();
  readonly #variables: readonly {
    name: string;
    shape: readonly number[];
    elements: number;
    decay: boolean;
  }[];
  readonly #width: number;

  private constructor(options: FinetuningEngineCreateOptions, log: PlainEngineLog) {
    const { encoder, tasks } = options.model;
    this.#options = options;
    this.#log = log;
    this.#width = encoder.embedding_size;
    const { vocab_size, embedding_size, ...rest } = encoder;
    const shapes = pretrainingVariables({
      ...toyHparams,
      vocab_size,
      embedding_size,
      model_hparam_overrides: rest as VariableHparams["model_hparam_overrides"],
      uniform_generator: true,
    }).filter(({ name }) => name.startsWith("electra/"));
    const heads = tasks.flatMap(({ name, head }) => {
      if (head.kind !== "classification") throw new Error(`no plain head for ${head.kind}`);
      const scope = `task_specific/${name}/dense`;
      return [
        { name: `${scope}/kernel`, shape: [this.#width, head.classes] },
        { name: `${scope}/bias`, shape: [head.classes] },
      ];
    });
    this.#variables = [...shapes, ...heads].map(({ name, shape }) => ({
      name,
      shape,
      elements: shape.reduce((product, size) => product * size, 1),
      decay: false,
    }));
    const random = new SeededRandom(options.seed ?? 0);
    for (const { name, elements } of this.#variables) {
      this.#tensors.set(
        `value:${name}`,
        Float32Array.from({ length: elements }, () => random.below(2001) / 1000 - 1),
      );
      this.#tensors.set(`adam_m:${name}`, new Float32Array(elements));
      this.#tensors.set(`adam_v:${name}`, new Float32Array(elements));
    }
  }

  static maker(log: PlainEngineLog): (options: FinetuningEngineCreateOptions) => Promise<TrialEngine> {
    return async (options) => {
      log.created.push(options);
      return new PlainEngine(options, log) as unknown as TrialEngine;
    };
  }

  parameters() {
    return this.#variables;
  }

  memory() {
    return { parameters: 0, activations: 0, workspace: 0, total: 0 };
  }

  async readParameter(name: string, kind: ParameterKind = "value") {
    return this.#tensor(name, kind).slice();
  }

  async writeParameter(name: string, data: Float32Array, kind: ParameterKind = "value") {
    this.#tensor(name, kind).set(data);
  }

  async trainStep(
    batch: FinetuningBatch,
    options: FinetuningTrainStepOptions,
  ): Promise<FinetuningTrainStepResult> {
    this.#log.beforeStep?.(options.step);
    this.#log.steps.push(options);
    const { losses, probabilities, words } = this.#forward(batch);
    const { tasks } = this.#options.model;
    // A draw of the step's own, as dropout is: the same seed and step give the same numbers.
    const noise = 1 + new SeededRandom(((options.seed ?? 0) % 1000) + options.step).below(1000) / 1e5;
    for (const [taskId, { name }] of tasks.entries()) {
      const kernel = `task_specific/${name}/dense/kernel`;
      const gradient = new Float32Array(this.#tensor(kernel).length);
      const classes = gradient.length / this.#width;
      for (let row = 0; row < batch.rows; row++) {
        if (batch.taskIds![row] !== taskId) continue;
        for (let c = 0; c < classes; c++) {
          const error = probabilities[row]![c]! - (batch.targets!.classes![row] === c ? 1 : 0);
          for (let i = 0; i < this.#width; i++) gradient[i * classes + c]! += error * words[row]![i]!;
        }
      }
      const moments = this.#tensor(kernel, "adam_m");
      const values = this.#tensor(kernel);
      for (let i = 0; i < values.length; i++) {
        moments[i] = 0.9 * moments[i]! + noise * gradient[i]!;
        values[i]! -= options.learningRate * moments[i]!;
      }
    }
    return {
      ...this.#result(batch, losses),
      step: options.step,
      learningRate: options.learningRate,
      gradientNorm: 1,
    };
  }

  async predict(batch: FinetuningBatch, { outputs, signal }: PredictOptions): Promise<PredictResult> {
    signal?.throwIfAborted();
    const { losses, logits } = this.#forward(batch);
    const named = outputs.map((name) => {
      if (name === "loss") return [name, { shape: [batch.rows], data: Float32Array.from(losses) }] as const;
      const classes = this.#options.model.tasks.find((task) => name === `${task.name}/logits`)!.head;
      const width = classes.kind === "classification" ? classes.classes : 0;
      const data = Float32Array.from(
        logits.flatMap((row) => (row.length === 0 ? new Array(width).fill(0) : row)),
      );
      return [name, { shape: [batch.rows, width], data }] as const;
    });
    return { ...this.#result(batch, losses), outputs: Object.fromEntries(named) };
  }

  async dispose() {}

  #result(batch: FinetuningBatch, losses: readonly number[]) {
    const { tasks } = this.#options.model;
    const of = (task: number) => losses.filter((_, row) => batch.taskIds![row] === task);
    return {
      loss: losses.reduce((sum, loss) => sum + loss, 0),
      taskLosses: tasks.map((_, task) => of(task).reduce((sum, loss) => sum + loss, 0)),
      taskRows: tasks.map((_, task) => of(task).length),
      tokens: batch.lengths.reduce((sum, length) => sum + length, 0),
      outputs: {},
      seconds: 0,
    };
  }

  #forward(batch: FinetuningBatch) {
    const table = this.#tensor("electra/embeddings/word_embeddings");
    const width = this.#width;
    const losses: number[] = [];
    const logits: number[][] = [];
    const probabilities: number[][] = [];
    const words: number[][] = [];
    for (let row = 0; row < batch.rows; row++) {
      const mean = new Array<number>(width).fill(0);
      const length = batch.lengths[row]!;
      for (let i = 0; i < length; i++) {
        const id = batch.inputIds[row * batch.length + i]!;
        for (let k = 0; k < width; k++) mean[k]! += table[id * width + k]! / Math.max(1, length);
      }
      words.push(mean);
      const task = this.#options.model.tasks[batch.taskIds![row]!];
      if (task === undefined) {
        losses.push(0);
        logits.push([]);
        probabilities.push([]);
        continue;
      }
      const kernel = this.#tensor(`task_specific/${task.name}/dense/kernel`);
      const classes = kernel.length / width;
      const scores = Array.from({ length: classes }, (_, c) =>
        mean.reduce((sum, value, k) => sum + value * kernel[k * classes + c]!, 0),
      );
      const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
      logits.push(scores);
      probabilities.push(scores.map((score) => Math.exp(score) / total));
      losses.push(-Math.log(probabilities[row]![batch.targets?.classes?.[row] ?? 0]!));
    }
    return { losses, logits, probabilities, words };
  }

  #tensor(name: string, kind: ParameterKind = "value"): Float32Array {
    const tensor = this.#tensors.get(`${kind}:${name}`);
    if (tensor === undefined) throw new Error(`no ${kind} of ${name}`);
    return tensor;
  }
}
