import { generatorKind, pretrainingObjective } from "./generator-kind.js";
import type { PretrainingHparams } from "./resolved-hparams.js";
import {
  discriminatorConfig,
  type GeneratorHparams,
  generatorConfig,
  type TransformerConfig,
} from "./transformer-config.js";

/** How a variable starts. */
export type VariableInitializer =
  /** Normal of this standard deviation and mean 0, redrawn outside two standard deviations. */
  | { readonly kind: "truncated_normal"; readonly stddev: number }
  /** Uniform in ±√(6 / (in + out)). */
  | { readonly kind: "glorot_uniform" }
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" };

/** A trainable variable, as TensorFlow names and shapes it (kernels are [in, out]). */
export interface VariableSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly initializer: VariableInitializer;
  /** Whether decoupled weight decay applies: to all but LayerNorm parameters and biases. */
  readonly weightDecay: boolean;
}

/** The settings that decide which variables there are. */
export type VariableHparams = GeneratorHparams &
  Pick<
    PretrainingHparams,
    | "electra_objective"
    | "electric_objective"
    | "uniform_generator"
    | "two_tower_generator"
    | "untied_generator"
  >;

const zeros: VariableInitializer = { kind: "zeros" };
const ones: VariableInitializer = { kind: "ones" };
const glorot: VariableInitializer = { kind: "glorot_uniform" };

/** Names that the reference's optimizer exempts from weight decay. */
const undecayed = /LayerNorm|layer_norm|bias/;

/** Whether the reference's optimizer decays the variable of this name. */
export function hasWeightDecay(variableName: string): boolean {
  return !undecayed.test(variableName);
}

/**
 * All trainable variables of a pre-training run in the order in which the reference creates them: the generator's side
 * first, then what the discriminator adds. Embeddings that both sides share are created with the first.
 */
export function pretrainingVariables(hparams: VariableHparams): readonly VariableSpec[] {
  const discriminator = discriminatorConfig(hparams);
  const generator = generatorConfig(hparams);
  const list = new VariableList();
  const tableWidth = hparams.untied_generator_embeddings
    ? generator.hidden_size
    : discriminator.embedding_size;
  const addGenerator = (scope: string) => {
    list.addTransformer(scope, generator, hparams.untied_generator_embeddings ? scope : "electra");
  };
  switch (generatorKind(hparams)) {
    case "uniform":
      break;
    case "two_towers":
      addGenerator("generator_ltr");
      addGenerator("generator_rtl");
      // The head reads both towers at once, but its table is as wide as that of a tower.
      list.addTokenHead("cloze_predictions", 2 * generator.hidden_size, tableWidth, generator);
      break;
    case "masked":
      addGenerator("generator");
      list.addTokenHead("generator_predictions", generator.hidden_size, tableWidth, generator);
      break;
    case "shared":
      list.addTransformer("electra", discriminator, "electra");
      list.addTokenHead(
        "generator_predictions",
        discriminator.hidden_size,
        discriminator.embedding_size,
        discriminator,
      );
      break;
  }
  if (pretrainingObjective(hparams) !== "mlm") {
    list.addTransformer("electra", discriminator, "electra");
    list.addDiscriminatorHead(discriminator);
  }
  return list.variables;
}

/** Number of values in a list of variables. */
export function countParameters(variables: readonly Pick<VariableSpec, "shape">[]): number {
  return variables.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

/** Collects variables in creation order; one that exists already is re-used, as in a TensorFlow variable scope. */
class VariableList {
  readonly #byName = new Map<string, VariableSpec>();

  get variables(): readonly VariableSpec[] {
    return [...this.#byName.values()];
  }

  addTransformer(scope: string, config: TransformerConfig, embeddingsScope: string): void {
    const { hidden_size: hidden, embedding_size: width, intermediate_size: inner } = config;
    const normal = truncatedNormal(config);
    const embeddings = `${embeddingsScope}/embeddings`;
    this.#add(`${embeddings}/word_embeddings`, [config.vocab_size, width], normal);
    this.#add(`${embeddings}/token_type_embeddings`, [config.type_vocab_size, width], normal);
    this.#add(`${embeddings}/position_embeddings`, [config.max_position_embeddings, width], normal);
    this.#addLayerNorm(embeddings, width);
    if (width !== hidden) this.#addDense(`${scope}/embeddings_project`, width, hidden, glorot);
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const prefix = `${scope}/encoder/layer_${layer}`;
      for (const part of ["query", "key", "value"]) {
        this.#addDense(`${prefix}/attention/self/${part}`, hidden, hidden, normal);
      }
      this.#addDense(`${prefix}/attention/output/dense`, hidden, hidden, normal);
      this.#addLayerNorm(`${prefix}/attention/output`, hidden);
      this.#addDense(`${prefix}/intermediate/dense`, hidden, inner, normal);
      this.#addDense(`${prefix}/output/dense`, inner, hidden, normal);
      this.#addLayerNorm(`${prefix}/output`, hidden);
    }
  }

  /** Predicts tokens; its output table is the word-embedding table, so only the bias is its own. */
  addTokenHead(scope: string, inputWidth: number, tableWidth: number, config: TransformerConfig): void {
    this.#addDense(`${scope}/dense`, inputWidth, tableWidth, truncatedNormal(config));
    this.#addLayerNorm(scope, tableWidth);
    this.#add(`${scope}/output_bias`, [config.vocab_size], zeros);
  }

  addDiscriminatorHead(config: TransformerConfig): void {
    const scope = "discriminator_predictions";
    this.#addDense(`${scope}/dense`, config.hidden_size, config.hidden_size, truncatedNormal(config));
    this.#addDense(`${scope}/dense_1`, config.hidden_size, 1, glorot);
  }

  #addDense(scope: string, inputs: number, outputs: number, kernel: VariableInitializer): void {
    this.#add(`${scope}/kernel`, [inputs, outputs], kernel);
    this.#add(`${scope}/bias`, [outputs], zeros);
  }

  #addLayerNorm(scope: string, width: number): void {
    this.#add(`${scope}/LayerNorm/beta`, [width], zeros);
    this.#add(`${scope}/LayerNorm/gamma`, [width], ones);
  }

  #add(name: string, shape: readonly number[], initializer: VariableInitializer): void {
    if (this.#byName.has(name)) return;
    this.#byName.set(name, { name, shape, initializer, weightDecay: hasWeightDecay(name) });
  }
}

function truncatedNormal(config: TransformerConfig): VariableInitializer {
  return { kind: "truncated_normal", stddev: config.initializer_range };
}
