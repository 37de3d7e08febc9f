// The models and batches that two devices train in step with each other.
import { pathToFileURL } from "node:url";

/** Where the compiled package lies: `dist`, or what ELECTRA_DIST names. */
const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);

/** Imports a module of the compiled package. */
export const load = (path) => import(new URL(path, dist).href);

const special = { cls: 1, sep: 2, mask: 3 };
const firstWord = 5;

const transformer = (overrides) => ({
  vocab_size: 600,
  embedding_size: 64,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 64,
  type_vocab_size: 2,
  initializer_range: 0.02,
  ...overrides,
});

/** Heads of 64 columns, as every real model has, and a projection behind the embeddings; small enough to be emulated. */
function tinyModel(length) {
  return {
    objective: "electra",
    generator_kind: "masked",
    discriminator: transformer({
      hidden_size: 128,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      intermediate_size: 256,
    }),
    generator: transformer({
      hidden_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 1,
      intermediate_size: 128,
    }),
    mask_prob: 0.15,
    max_seq_length: length,
    max_predictions_per_seq: Math.floor(0.155 * length),
    cls_id: special.cls,
    sep_id: special.sep,
    mask_id: special.mask,
  };
}

/** ELECTRA-Small (or base, large) as `pretrain` builds it. */
async function publishedModel(size, length, rows) {
  const { resolvePretrainingHparams } = await load("hparams/pretraining-hparams.js");
  const { pretrainingModelConfig } = await load("pretraining/model-config.js");
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "agreement",
    hparams: {
      model_size: size,
      max_seq_length: length,
      train_batch_size: rows,
      ...(size === "base" ? { generator_hidden_size: 1 / 3 } : {}),
    },
  });
  return pretrainingModelConfig(hparams, special);
}

const shapes = {
  tiny: { rows: 4, length: 32 },
  small: { rows: 8, length: 128 },
  base: { rows: 4, length: 128 },
};
export const modelNames = Object.keys(shapes);

/**
 * @param {{ name: string, rows?: number, length?: number }} options by default what suits the model
 */
export async function agreementModel({ name, rows, length }) {
  const shape = { rows: rows ?? shapes[name].rows, length: length ?? shapes[name].length };
  const model =
    name === "tiny" ? tinyModel(shape.length) : await publishedModel(name, shape.length, shape.rows);
  return { model, ...shape };
}

/**
 * A batch with something to learn: few words are frequent, each word likes the one after it, rows differ in length (the
 * first is full, one is as short as a row can be). A function of the step alone.
 */
export async function agreementBatch({ model, rows, length, step }) {
  const { SeededRandom } = await load("metrics/seeded-random.js");
  const random = new SeededRandom(7919 * (step + 1));
  const words = model.discriminator.vocab_size - firstWord;
  const inputIds = new Int32Array(rows * length);
  const segmentIds = new Int32Array(rows * length);
  const lengths = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const count = row === 0 ? length : row === rows - 1 && rows > 2 ? 3 : 3 + random.below(length - 2);
    lengths[row] = count;
    let word = 0;
    for (let i = 0; i < count; i++) {
      const at = row * length + i;
      // A product of two uniform numbers is small more often than not.
      const next = Math.floor((random.below(words) * random.below(1000)) / 1000);
      word = random.below(3) === 0 ? next : (word + 1) % words;
      inputIds[at] = i === 0 ? special.cls : i === count - 1 ? special.sep : firstWord + word;
      segmentIds[at] = i > count / 2 ? 1 : 0;
    }
  }
  return { inputIds, segmentIds, lengths, rows, length };
}
