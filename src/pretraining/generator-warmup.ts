import type { Engine } from "../engine/engine.js";
import type { LossDenominators, ParameterKind } from "../engine/types.js";
import type { PretrainingHparams } from "../hparams/pretraining-hparams.js";
import type { InitialState } from "./load-initial-model.js";

/** Variables that nothing but the generator has. */
const GENERATOR = /^(?:generator|generator_ltr|generator_rtl|generator_predictions|cloze_predictions)\//;
const GENERATOR_ENCODER = /^generator(?:_ltr|_rtl)?\/encoder\//;
/** Tables that both networks use, unless the generator has its own. */
const SHARED = /^electra\/embeddings\//;

/** Longest warm-up that is chosen without being asked for. */
const MOST_STEPS = 2000;

/**
 * Step before which only a generator learns that was created beside a trained discriminator; undefined where both learn
 * from the start.
 */
export function generatorWarmupEnd(
  hparams: PretrainingHparams,
  initial: Pick<InitialState, "step" | "origins">,
): number | undefined {
  const created = (name: string, origin: string): boolean =>
    origin === "created" && GENERATOR_ENCODER.test(name);
  // A discriminator that is new too learns together with it, as in any run.
  const trained = initial.origins.some(
    ({ name, origin }) => origin === "loaded" && name.startsWith("electra/encoder/"),
  );
  if (!trained || !initial.origins.some(({ name, origin }) => created(name, origin))) return undefined;
  const remaining = hparams.num_train_steps - initial.step;
  const steps = hparams.generator_warmup_steps ?? Math.min(MOST_STEPS, Math.floor(remaining / 10));
  const end = initial.step + Math.min(steps, remaining);
  return end > initial.step ? end : undefined;
}

interface Held {
  readonly name: string;
  readonly kind: ParameterKind;
  readonly elements: number;
  /** Undefined for zeros, as fresh moments are. */
  readonly data: Float32Array | undefined;
}

/**
 * Holds everything but the generator's own variables at what it was, embeddings that both networks share included: the
 * trained discriminator reads through them. Adam does not know of this. The discriminator's loss weighs nothing, so that its
 * gradients are zero, and what weight decay (and the generator's gradients, in the shared tables) still change is put back.
 * A copy of the held variables is kept on the host meanwhile.
 */
export class GeneratorWarmup {
  /** What makes the discriminator's loss weigh nothing in a step: a mean over infinitely many tokens. */
  static readonly denominators: LossDenominators = { discriminator: Number.POSITIVE_INFINITY };
  /** First step in which everything learns. */
  readonly end: number;
  readonly #engine: Engine;
  #held: readonly Held[];

  private constructor(end: number, engine: Engine, held: readonly Held[]) {
    this.end = end;
    this.#engine = engine;
    this.#held = held;
  }

  /** @param end first step in which everything learns */
  static async begin(engine: Engine, end: number): Promise<GeneratorWarmup> {
    const held: Held[] = [];
    for (const { name, elements } of engine.parameters()) {
      if (GENERATOR.test(name)) continue;
      for (const kind of ["value", "adam_m", "adam_v"] as const) {
        const data = await engine.readParameter(name, kind);
        const zero = kind !== "value" && data.every((element) => element === 0);
        held.push({ name, kind, elements, data: zero ? undefined : data });
      }
    }
    return new GeneratorWarmup(end, engine, held);
  }

  /**
   * After every step: the tables that the generator's next step reads. The rest of what is held has no part in its loss. Sent
   * at once, so that it lies between this step and the next in the engine's queue.
   */
  async holdShared(): Promise<void> {
    const shared = this.#held.filter(({ name, kind }) => kind === "value" && SHARED.test(name));
    await Promise.all(shared.map(({ name, data }) => this.#engine.writeParameter(name, data!)));
  }

  /** Before anybody looks, when no step is under way: evaluation, a checkpoint. */
  async holdAll(): Promise<void> {
    for (const { name, kind, elements, data } of this.#held) {
      await this.#engine.writeParameter(name, data ?? new Float32Array(elements), kind);
    }
  }

  /** Before the first step in which everything learns. The copies are given up. */
  async finish(): Promise<void> {
    await this.holdAll();
    this.#held = [];
  }
}
