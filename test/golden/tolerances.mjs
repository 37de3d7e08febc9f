// How far results may be from the reference's, by the type that the engine computes with.
//
// float32: the bounds of the fixtures' README, which two float32 implementations of the reference keep to.
//
// bfloat16 has 8 bits of significand. Rounding to nearest is off by up to 2^-8 of the value, and, because a value lies
// anywhere between two powers of two, by about u = 2^-9 of it as root mean square. Activations, the matrices that products
// read, and the gradients of activations are rounded so; sums, losses, softmax, LayerNorm's statistics, parameters and
// their gradients are kept in float32.
//
//   depth       A number passes R = 4 + 8 · layers roundings from the ids to the logits: the embeddings and what they are
//               projected to, the head's hidden layer and the matrix behind it; in each layer query, key and value, the
//               context, both halves of the feed-forward layer, its input, and both sums that LayerNorm makes. LayerNorm
//               keeps errors from growing on the way, and their signs are independent, so they add as squares: the root
//               mean square at the end is u · sqrt(R) of the values' size. Electric's logits hold the generator's, too: 2 R.
//   outputs     Four standard deviations cover the largest of ten thousand elements: 4 u sqrt(R) of the largest value.
//               A probability or the loss of a slot moves no more than twice as far as its logits do.
//   losses      A mean over the batch, as far off as a single logit typically is: two standard deviations, 2 u sqrt(R)
//               of itself. Every update in between moves the weights a little elsewhere and lets as much be added.
//   squares     A sum S of squared differences moves with each by twice the difference: two standard deviations of
//               predictions as large as p are 4 u sqrt(R) p sqrt(S).
//   gradients   The way there and back: 2 R roundings. Elements, against the variable's largest: 4 u sqrt(2 R). Norms:
//               2 u sqrt(2 R), of the variable's norm or a hundredth of the global one, because what is nearly zero is a sum of
//               large terms that cancel, and their errors do not. The gradient that is zero (key bias): against the global norm.
//   weights     Adam's first updates are (1 - beta1) / sqrt(1 - beta2) = 3.16 learning rates in the direction of the
//               gradient's sign, however small the gradient is. Where a gradient's error e = u sqrt(2 R) of its typical size
//               exceeds it, the sign is a matter of chance: for a share e of the elements, each then twice the update off.
//               Root mean square against the change: 2 sqrt(e), times two for what later steps make of it; single
//               elements: twice the update in every step.
//   moments     As the gradients they are made of; as much again for the weights these were taken at, in every step.
//   samples     An id drawn from given uniforms is decided by the two best scores. Their distance is exponentially
//               distributed with mean 1, so errors of d of the logits leave a share of 2 d undecided.
//   decisions   A share of outputs 4 u sqrt(R) around the threshold may fall on the other side of it, and always one.
//
// Positions, masks and targets are integers that no rounding touches: equal in both.

const u = 2 ** -9;

/** Variants in which a query sees nothing but padding: float32 keeps about 1e-3 of scores near -10000 (README, quirk 6). */
const loose = new Set(["electric", "electric_untied_embeddings", "two_tower"]);

/**
 * @param {"float32" | "bfloat16"} precision
 * @param {object} model the engine's model
 * @param {string} variant
 */
export function tolerancesFor(precision, model, variant) {
  return precision === "float32" ? float32(loose.has(variant) ? 10 : 1) : bfloat16(model);
}

function float32(factor) {
  return {
    exactSamples: true,
    loss: () => 1e-5,
    // Predictions are good to about 3e-6.
    squares: (_updates, sum) => 6e-6 * Math.sqrt(sum),
    output: () => 2e-5 * factor,
    gradient: 1e-4 * factor,
    gradientNorm: 1e-4 * factor,
    gradientNormFloor: 1e-6,
    zeroGradient: 1e-6 * factor,
    globalNorm: () => 1e-5,
    weightsRms: 1e-3,
    weightsPerRate: () => 0.02,
    moments: () => 1e-4,
    metric: (_name, expected) => 1e-5 * Math.max(Math.abs(expected), 1e-12),
    undecided: () => 0,
  };
}

function bfloat16(model) {
  const networks = [model.discriminator, model.generator ?? model.discriminator];
  const layers = Math.max(...networks.map((network) => network.num_hidden_layers));
  return bfloat16Bounds((4 + 8 * layers) * (model.objective === "electric" ? 2 : 1));
}

/**
 * Bounds of a fine-tuning model. In bfloat16 R counts the roundings of the head instead: of the state it reads and its
 * matrix, 2; the joint end of spans adds its two products, their sum, the hidden layer and the second matrix, 5.
 */
export function finetuningTolerances(precision, { encoder, tasks }) {
  if (precision === "float32") return float32(1);
  const heads = tasks.map(({ head }) => (head.kind === "span" ? 7 : 2));
  return bfloat16Bounds(2 + 8 * encoder.num_hidden_layers + Math.max(...heads));
}

function bfloat16Bounds(depth) {
  const there = u * Math.sqrt(depth);
  const back = u * Math.sqrt(2 * depth);
  const adamStep = (1 - 0.9) / Math.sqrt(1 - 0.999);
  return {
    exactSamples: false,
    loss: (updates) => 2 * there * (1 + updates),
    squares: (updates, sum, largest) => 4 * there * largest * Math.sqrt(sum) * (1 + updates),
    output: (largest) => 4 * there * largest,
    gradient: 4 * back,
    gradientNorm: 2 * back,
    gradientNormFloor: 0.01,
    zeroGradient: 2 * back,
    globalNorm: (updates) => 2 * back * (1 + updates),
    weightsRms: 4 * Math.sqrt(back),
    weightsPerRate: (updates) => 2 * adamStep * updates,
    moments: (updates) => 4 * back * (1 + updates),
    metric: (name, expected) => (/loss/.test(name) ? 2 * there * Math.abs(expected) : 4 * there + 1 / 50),
    undecided: (count, largest) => 1 + Math.ceil(2 * there * largest * count),
  };
}
