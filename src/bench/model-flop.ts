import type { PretrainingModelConfig, TransformerShape } from "../engine/types.js";

/** Multiplications and additions of matrix products; everything else of a transformer has none. */
export interface EncoderFlop {
  readonly forward: number;
  /** Forward and backward. */
  readonly training: number;
}

/**
 * What an encoder computes on rows of the given lengths, without padding: 2 for each weight of a linear layer and token, 4 h for
 * each pair of tokens that attend (scores, context). Backward, a linear layer costs twice its forward (gradients of input and of
 * weights), attention 10 h a pair: the scores once more, because they are not stored, and four gradients.
 *
 * @param embedding width of the tables, where it is not the shape's own
 */
export function encoderFlop(
  shape: TransformerShape,
  lengths: ArrayLike<number>,
  embedding = shape.embedding_size,
): EncoderFlop {
  const { hidden_size: h, intermediate_size, num_hidden_layers: layers } = shape;
  let tokens = 0;
  let pairs = 0;
  for (let row = 0; row < lengths.length; row++) {
    tokens += lengths[row]!;
    pairs += lengths[row]! ** 2;
  }
  const projection = embedding === h ? 0 : embedding * h;
  const linear = 2 * tokens * (projection + layers * (4 * h * h + 2 * h * intermediate_size));
  return {
    forward: linear + 4 * layers * h * pairs,
    training: 3 * linear + 14 * layers * h * pairs,
  };
}

/**
 * What a pre-training step computes: networks and heads, forward and backward.
 *
 * @param slots masked tokens of the batch; two towers predict every token instead
 */
export function pretrainingStepFlop(
  model: PretrainingModelConfig,
  lengths: ArrayLike<number>,
  slots: number,
): number {
  const { discriminator, generator, generator_kind: kind } = model;
  let tokens = 0;
  for (let row = 0; row < lengths.length; row++) tokens += lengths[row]!;
  const trained = (columns: number, rows: number) => 6 * columns * rows;
  const replaces = model.objective !== "mlm";

  let flop = replaces || kind === "shared" ? encoderFlop(discriminator, lengths).training : 0;
  // The detection head: a dense layer of the encoder's width, then one column.
  if (replaces) flop += trained(discriminator.hidden_size * (discriminator.hidden_size + 1), tokens);
  // With one encoder for both, it runs on the masked tokens too.
  if (replaces && kind === "shared") flop += encoderFlop(discriminator, lengths).training;
  if (kind === "uniform") return flop;

  const own = kind === "shared" ? discriminator : generator!;
  const embedding =
    model.untied_generator_embeddings === true && kind !== "shared"
      ? own.hidden_size
      : discriminator.embedding_size;
  const towers = kind === "two_towers" ? 2 : 1;
  if (kind !== "shared") flop += towers * encoderFlop(own, lengths, embedding).training;
  // The language model: to the embeddings' width, then the table.
  const predicted = kind === "two_towers" ? tokens : slots;
  return flop + trained(embedding * (towers * own.hidden_size + own.vocab_size), predicted);
}
