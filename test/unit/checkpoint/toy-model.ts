import type { SaveCheckpointOptions } from "../../../src/checkpoint/checkpoint.js";
import type {
  ParameterInfo,
  ParameterKind,
  ParameterStore,
} from "../../../src/checkpoint/parameter-store.js";
import { pretrainingVariables, type VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { discriminatorConfig, generatorConfig } from "../../../src/hparams/transformer-config.js";

/** A model small enough to be saved hundreds of times: 2 layers of width 16, 39 words. */
export const toyHparams: VariableHparams = {
  model_size: "small",
  model_hparam_overrides: {
    hidden_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 32,
    max_position_embeddings: 16,
  },
  vocab_size: 39,
  embedding_size: 8,
  debug: false,
  generator_hidden_size: 0.75,
  generator_layers: 1,
  untied_generator_embeddings: false,
  electra_objective: true,
  electric_objective: false,
  uniform_generator: false,
  two_tower_generator: false,
  untied_generator: true,
};

/** Parameters in memory, every value different, so that a mix-up of tensors or an axis shows. */
export class MemoryStore implements ParameterStore {
  readonly tensors = new Map<string, Float32Array>();
  readonly #variables: readonly ParameterInfo[];

  constructor(variables: readonly ParameterInfo[], seed: number | undefined = 1) {
    this.#variables = variables;
    let state = seed ?? 0;
    for (const kind of ["value", "adam_m", "adam_v"] as const) {
      for (const { name, shape } of variables) {
        const length = shape.reduce((product, size) => product * size, 1);
        const values = new Float32Array(length);
        if (seed !== undefined) {
          for (let i = 0; i < length; i++) {
            state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
            values[i] = state / 2 ** 32 - 0.5;
          }
        }
        this.tensors.set(`${kind}:${name}`, values);
      }
    }
  }

  names(): readonly ParameterInfo[] {
    return this.#variables;
  }

  async read(kind: ParameterKind, name: string): Promise<Float32Array> {
    return this.tensors.get(`${kind}:${name}`)!.slice();
  }

  async write(kind: ParameterKind, name: string, data: Float32Array): Promise<void> {
    this.tensors.set(`${kind}:${name}`, data.slice());
  }
}

export const toyVocabulary = `${Array.from({ length: 39 }, (_, id) => ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"][id] ?? `w${id}`).join("\n")}\n`;

export function toySave(
  runDir: string,
  step: number,
  overrides: Partial<VariableHparams> = {},
): SaveCheckpointOptions & { parameters: MemoryStore } {
  const hparams = { ...toyHparams, ...overrides };
  const variables = pretrainingVariables(hparams);
  const shared = !hparams.untied_generator || !hparams.electra_objective;
  const discriminator = discriminatorConfig(hparams);
  return {
    runDir,
    step,
    seed: 7,
    cursor: { epoch: 1, consumed: step * 8 },
    hparams: { learning_rate: 5e-4 },
    versions: { "electra-native": "0.1.0" },
    fingerprints: {
      data: { files: 2, bytes: 1234 },
      package: "0.1.0",
      isa: "avx2",
      gemm: "builtin",
      precision: "f32",
      device: "cpu",
      threads: 2,
    },
    parameters: new MemoryStore(variables, step + 1),
    configs: { generator: shared ? discriminator : generatorConfig(hparams), discriminator },
    tokenizer: { vocabText: toyVocabulary, doLowerCase: true, stripAccents: true },
  };
}
