import { ElectraError } from "../errors.js";
import { type OpenModelOptions, PretrainedModel } from "../inference/pretrained-model.js";
import { packSequences } from "../inference/sequence-batches.js";
import { logProbability } from "./log-probability.js";
import { type Piece, type ScoringWindow, scoredTokens, windowsForScoring } from "./scoring-windows.js";
import { type ScoredText, type ScoreOptions, type TextScorer, totalScore } from "./text-scorer.js";

export interface MaskedLmScorerOptions extends OpenModelOptions {
  /**
   * Mask the later pieces of the same word too, so that a word's pieces do not give each other away. minicons calls it
   * `within_word_l2r` (Kauf and Ivanova 2023). Default false.
   */
  readonly withinWordLeftToRight?: boolean;
}

/** A pass over one masked copy of a window. */
interface MaskedCopy {
  readonly text: number;
  readonly window: ScoringWindow;
  readonly piece: number;
}

/** Ids of masked copies that wait at a time: 4 MiB, however long the texts are. */
const HELD_IDS = 1 << 20;

/**
 * Exact pseudo-log-likelihood of a masked language model, Σₜ log P(xₜ | all other tokens): a text of n tokens takes n
 * passes, each with one token masked. The model is the generator of a pre-trained ELECTRA or a model trained with the
 * masked-language-model objective. Probabilities are normalised over the vocabulary.
 *
 * Texts longer than the model was trained with are read in overlapping windows; every token is scored once.
 */
export class MaskedLmScorer implements TextScorer {
  readonly model: PretrainedModel;
  readonly withinWordLeftToRight: boolean;

  private constructor(model: PretrainedModel, withinWordLeftToRight: boolean) {
    this.model = model;
    this.withinWordLeftToRight = withinWordLeftToRight;
  }

  /**
   * @param path run, checkpoint or Hugging Face folder with a masked-language-model generator, see
   *   {@link PretrainedModel.open}; Electric's own generator of two towers is none
   */
  static async open(path: string, options: MaskedLmScorerOptions = {}): Promise<MaskedLmScorer> {
    const { withinWordLeftToRight = false, ...opening } = options;
    const model = await PretrainedModel.open(path, "generator", { ...opening, slots: 1 });
    return new MaskedLmScorer(model, withinWordLeftToRight);
  }

  /** One result for each text, in the order of the texts. Masked copies are batched by length. */
  async score(texts: readonly string[], options: ScoreOptions = {}): Promise<ScoredText[]> {
    const prepared = texts.map((text) => windowsForScoring(text, this.model));
    const scores = prepared.map(({ pieces }) => new Float64Array(pieces.length));
    const windows = prepared.flatMap((each, text) => each.windows.map((window) => ({ text, window })));
    windows.sort((a, b) => b.window.ids.length - a.window.ids.length);
    let copies: MaskedCopy[] = [];
    let held = 0;
    const run = async (): Promise<void> => {
      await this.#run(copies, (text) => prepared[text]!.pieces, scores, options.signal);
      copies = [];
      held = 0;
    };
    for (const { text, window } of windows) {
      for (let piece = window.keepStart; piece < window.keepEnd; piece++) {
        copies.push({ text, window, piece });
        held += window.ids.length;
        if (held >= HELD_IDS) await run();
      }
    }
    await run();
    return prepared.map(({ pieces }, text) => totalScore(scoredTokens(pieces, scores[text]!)));
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #run(
    copies: readonly MaskedCopy[],
    piecesOf: (text: number) => readonly Piece[],
    scores: readonly Float64Array[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { engine, config } = this.model;
    const sequences = copies.map((copy) => this.#mask(copy, piecesOf(copy.text)));
    for (const { batch, sequences: members } of packSequences(sequences)) {
      const outputs = await engine.forward(batch, {
        network: "generator",
        positions: Int32Array.from(members, (member) => position(copies[member]!)),
        outputs: ["mlm/logits"],
        ...(signal === undefined ? {} : { signal }),
      });
      const logits = outputs["mlm/logits"];
      if (logits === undefined) {
        throw new ElectraError("ERR_ELECTRA_OUTPUT", 'the engine returned no "mlm/logits"');
      }
      const pitch = logits.data.length / batch.rows;
      for (const [row, member] of members.entries()) {
        const { text, piece } = copies[member]!;
        const { id } = piecesOf(text)[piece]!;
        scores[text]![piece] = logProbability(
          logits.data.subarray(row * pitch, row * pitch + config.vocab_size),
          id,
        );
      }
    }
  }

  #mask({ window, piece }: MaskedCopy, pieces: readonly Piece[]): Int32Array {
    const ids = window.ids.slice();
    const { mask } = this.model.special;
    const last = window.first + ids.length - 2;
    for (let each = piece; each < last; each++) {
      if (each > piece && !(this.withinWordLeftToRight && pieces[each]!.word === pieces[piece]!.word)) break;
      ids[each - window.first + 1] = mask;
    }
    return ids;
  }
}

/** Where the piece stands in its window's ids. */
function position({ window, piece }: MaskedCopy): number {
  return piece - window.first + 1;
}
