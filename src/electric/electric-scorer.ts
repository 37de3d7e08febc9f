import { ElectraError } from "../errors.js";
import { type OpenModelOptions, PretrainedModel } from "../inference/pretrained-model.js";
import { packSequences } from "../inference/sequence-batches.js";
import { scoredTokens, windowsForScoring } from "./scoring-windows.js";
import { type ScoredText, type ScoreOptions, type TextScorer, totalScore } from "./text-scorer.js";

/**
 * Scores texts with Electric: the pseudo-log-likelihood Σₜ −E(x)ₜ over the text's tokens, in one pass for a whole text
 * (Clark et al. 2020, *Pre-Training Transformers as Energy-Based Cloze Models*). The energies are not normalised, so a
 * score has a meaning only beside other scores of the same model.
 *
 * Texts longer than the model was trained with are read in overlapping windows; every token is scored once.
 *
 * @example
 * await using scorer = await ElectricScorer.open("data/models/my-electric");
 * const [right, wrong] = await scorer.score(["the cat sat on the mat", "the cat mat on the sat"]);
 */
export class ElectricScorer implements TextScorer {
  readonly model: PretrainedModel;
  /**
   * `electric` where the checkpoint says so; `unknown` for a lone folder, which does not say how it was trained. The
   * outputs of an ordinary ELECTRA discriminator are no energies.
   */
  readonly trainedAs: "electric" | "unknown";

  private constructor(model: PretrainedModel, trainedAs: "electric" | "unknown") {
    this.model = model;
    this.trainedAs = trainedAs;
  }

  /**
   * @param path run, checkpoint or Hugging Face folder, see {@link PretrainedModel.open}
   * @throws ElectraError `ERR_ELECTRA_NOT_ELECTRIC` where the checkpoint says that it was trained otherwise, and what
   *   opening a model throws
   */
  static async open(path: string, options: OpenModelOptions = {}): Promise<ElectricScorer> {
    const model = await PretrainedModel.open(path, "discriminator", options).catch((error: unknown) => {
      if (!(error instanceof ElectraError && error.code === "ERR_ELECTRA_MODEL_HALF")) throw error;
      throw new ElectraError(
        "ERR_ELECTRA_MODEL_HALF",
        `${path} holds no discriminator, which gives the energies`,
        {
          hint: "Give a run trained with electric_objective, or score with the masked language model (--masked-lm).",
          cause: error,
          exitCode: 2,
        },
      );
    });
    const electric = model.hparams?.["electric_objective"];
    if (electric !== undefined && electric !== true) {
      await model.dispose();
      throw new ElectraError(
        "ERR_ELECTRA_NOT_ELECTRIC",
        `${model.folder} was trained with electric_objective ${JSON.stringify(electric)}: its outputs tell replaced words, they are no energies`,
        {
          hint: "Train with the hparam electric_objective, or score with a masked language model (--masked-lm).",
          exitCode: 2,
        },
      );
    }
    return new ElectricScorer(model, electric === true ? "electric" : "unknown");
  }

  /** One result for each text, in the order of the texts. Texts are batched by length. */
  async score(texts: readonly string[], options: ScoreOptions = {}): Promise<ScoredText[]> {
    const { engine } = this.model;
    const prepared = texts.map((text) => windowsForScoring(text, this.model));
    const scores = prepared.map(({ pieces }) => new Float64Array(pieces.length));
    const jobs = prepared.flatMap(({ windows }, text) => windows.map((window) => ({ text, window })));
    for (const { batch, sequences } of packSequences(jobs.map(({ window }) => window.ids))) {
      const outputs = await engine.forward(batch, {
        network: "discriminator",
        outputs: ["disc/logits"],
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const energies = outputs["disc/logits"];
      if (energies === undefined) {
        throw new ElectraError("ERR_ELECTRA_OUTPUT", 'the engine returned no "disc/logits"');
      }
      const pitch = energies.data.length / batch.rows;
      for (const [row, number] of sequences.entries()) {
        const { text, window } = jobs[number]!;
        const begin = row * pitch + 1 - window.first;
        for (let piece = window.keepStart; piece < window.keepEnd; piece++)
          scores[text]![piece] = -energies.data[begin + piece]!;
      }
    }
    return prepared.map(({ pieces }, text) => totalScore(scoredTokens(pieces, scores[text]!)));
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
