import { ElectraError } from "../errors.js";
import { bestTokens } from "./best-tokens.js";
import { type OpenModelOptions, PretrainedModel } from "./pretrained-model.js";
import { segmentWords } from "./word-segmenter.js";

/** Stands for a word that is to be filled in. */
export const MASK_MARKER = "[MASK]";

export interface FillOptions {
  /** Proposals for each mask, the likeliest first. Default 5. */
  readonly topK?: number;
  readonly signal?: AbortSignal;
}

/** A token that the model proposes; one that continues a word begins with `##`. */
export interface FillProposal {
  readonly token: string;
  readonly id: number;
  readonly probability: number;
}

/** A `[MASK]` of the text and what could stand there. */
export interface FilledMask {
  /** UTF-16 offset of the marker in the text. */
  readonly start: number;
  readonly proposals: readonly FillProposal[];
}

/**
 * Fills in masked words, with the generator of a pre-trained ELECTRA (or a model trained with the masked-language-model
 * objective). Each mask stands for one token and is filled on its own, the others staying masked.
 *
 * @example
 * await using filler = await MaskedTokenFiller.open("data/models/my-model");
 * const [mask] = await filler.fill("Fellow citizens of the [MASK] and House of Representatives");
 * console.log(mask.proposals[0]);
 */
export class MaskedTokenFiller {
  readonly model: PretrainedModel;

  private constructor(model: PretrainedModel) {
    this.model = model;
  }

  /** @param path run, checkpoint or Hugging Face folder, see {@link PretrainedModel.open} */
  static async open(path: string, options: OpenModelOptions = {}): Promise<MaskedTokenFiller> {
    return new MaskedTokenFiller(await PretrainedModel.open(path, "generator", options));
  }

  /**
   * @throws ElectraError `ERR_ELECTRA_NO_MASK` without a `[MASK]` in the text, `ERR_ELECTRA_TEXT_TOO_LONG`,
   *   `ERR_ELECTRA_FILL_OPTION`
   */
  async fill(text: string, options: FillOptions = {}): Promise<FilledMask[]> {
    const { topK = 5, signal } = options;
    const { engine, tokenizer, special, maxLength, config } = this.model;
    if (!Number.isSafeInteger(topK) || topK < 1 || topK > config.vocab_size) {
      throw new ElectraError(
        "ERR_ELECTRA_FILL_OPTION",
        `topK must be an integer of 1 to ${config.vocab_size}, not ${topK}`,
        { exitCode: 2 },
      );
    }
    const { ids, masks } = this.#encode(text);
    if (masks.length === 0) {
      throw new ElectraError("ERR_ELECTRA_NO_MASK", `there is no ${MASK_MARKER} in ${JSON.stringify(text)}`, {
        hint: `Write ${MASK_MARKER} where a word is to be filled in.`,
        exitCode: 2,
      });
    }
    if (ids.length > maxLength) {
      throw new ElectraError(
        "ERR_ELECTRA_TEXT_TOO_LONG",
        `the text has ${ids.length} tokens with [CLS] and [SEP], the model reads ${maxLength}`,
        { hint: "Give the sentence alone.", exitCode: 2 },
      );
    }
    const outputs = await engine.forward(
      { inputIds: ids, lengths: Int32Array.of(ids.length), rows: 1, length: ids.length },
      {
        network: "generator",
        positions: Int32Array.from(masks, (mask) => mask.position),
        outputs: ["mlm/logits"],
        ...(signal === undefined ? {} : { signal }),
      },
    );
    const logits = outputs["mlm/logits"];
    if (logits === undefined)
      throw new ElectraError("ERR_ELECTRA_OUTPUT", 'the engine returned no "mlm/logits"');
    const width = config.vocab_size;
    // A [MASK] of the vocabulary is no word: the generator never saw it as a target.
    const banned = new Set([special.cls, special.sep, special.mask]);
    return masks.map(({ start }, slot) => ({
      start,
      proposals: bestTokens(logits.data.subarray(slot * width, (slot + 1) * width), topK, banned).map(
        ({ id, probability }) => ({
          id,
          probability,
          token: tokenizer.vocabulary.tokens[id] ?? `[id ${id}]`,
        }),
      ),
    }));
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #encode(text: string): { ids: Int32Array; masks: { position: number; start: number }[] } {
    const { tokenizer, special } = this.model;
    const ids: number[] = [special.cls];
    const masks: { position: number; start: number }[] = [];
    let start = 0;
    for (;;) {
      const marker = text.indexOf(MASK_MARKER, start);
      const end = marker < 0 ? text.length : marker;
      for (const word of segmentWords(text.slice(start, end), tokenizer)) ids.push(...word.ids);
      if (marker < 0) break;
      masks.push({ position: ids.length, start: marker });
      ids.push(special.mask);
      start = marker + MASK_MARKER.length;
    }
    ids.push(special.sep);
    return { ids: Int32Array.from(ids), masks };
  }
}
