import { describeBackend, openBackend } from "./backend.js";
import { loadBinding } from "./binding.js";
import type * as Kernel from "./kernel-types.js";
import { toElectraError } from "./native-failure.js";
import type { NativeKernelSession } from "./native-types.js";
import { SessionJobs } from "./session-jobs.js";
import type { BackendSettings, EngineInfo, JobOptions } from "./types.js";

export interface KernelsCreateOptions extends BackendSettings, JobOptions {}

/**
 * The engine's operators, one by one, on typed arrays: for microbenchmarks, tests, and to see what they do. They run on a
 * thread of their own, one after the other. On a GPU the arrays are copied to and fro, rounded to bf16 where it computes in
 * that; the times are the operators' own.
 *
 * All reject with ElectraError `ERR_ELECTRA_SHAPE` for arrays that do not fit the shapes given, `ERR_ELECTRA_ARGUMENT` for
 * missing or wrong arguments, `ERR_ELECTRA_DISPOSED` after `dispose()`.
 *
 * @example
 * ```ts
 * const kernels = await Kernels.create({ threads: 2 });
 * const { y, seconds } = await kernels.linear({ tokens: 2048, in: 256, out: 1024, x, weight, bias, activation: "gelu" });
 * ```
 */
export class Kernels {
  readonly info: EngineInfo;
  readonly #jobs: SessionJobs<NativeKernelSession>;

  private constructor(info: EngineInfo, jobs: SessionJobs<NativeKernelSession>) {
    this.info = info;
    this.#jobs = jobs;
  }

  /**
   * @throws ElectraError `ERR_ELECTRA_ADDON_LOAD`, `ERR_ELECTRA_NO_CUDA`, `ERR_ELECTRA_PRECISION`, `ERR_ELECTRA_GEMM`,
   * `ERR_ELECTRA_ISA`
   */
  static async create(options: KernelsCreateOptions = {}): Promise<Kernels> {
    const binding = loadBinding();
    const { opened, warnings } = await openBackend(options, async (backend) => {
      let session: NativeKernelSession;
      try {
        session = new binding.KernelSession(backend);
      } catch (error) {
        throw toElectraError(error);
      }
      const jobs = new SessionJobs(session, "kernels");
      try {
        return { jobs, info: await jobs.run((native, id) => native.open(id), options.signal) };
      } catch (error) {
        void jobs.dispose();
        throw error;
      }
    });
    return new Kernels(describeBackend(opened.info, binding.version, warnings), opened.jobs);
  }

  /** A product on one thread of the CPU; `ERR_ELECTRA_ARGUMENT` on other devices. */
  gemm(values: Kernel.GemmArguments): Promise<Kernel.GemmResult> {
    return this.#run("gemm", values);
  }

  linear(values: Kernel.LinearArguments): Promise<Kernel.LinearResult> {
    return this.#run("linear", values);
  }
  linearBackwardData(values: Kernel.LinearBackwardDataArguments): Promise<Kernel.LinearBackwardDataResult> {
    return this.#run("linearBackwardData", values);
  }
  linearBackwardWeight(
    values: Kernel.LinearBackwardWeightArguments,
  ): Promise<Kernel.LinearBackwardWeightResult> {
    return this.#run("linearBackwardWeight", values);
  }

  activation(values: Kernel.ActivationArguments): Promise<Kernel.ActivationResult> {
    return this.#run("activation", values);
  }
  activationBackward(values: Kernel.ActivationBackwardArguments): Promise<Kernel.ActivationBackwardResult> {
    return this.#run("activationBackward", values);
  }
  /** GELU of an array of any length. */
  gelu(values: Kernel.GeluArguments): Promise<Kernel.ActivationResult> {
    const { approximate, ...rest } = values;
    return this.activation({ ...rest, ...rowsOf(values.x), activation: geluName(approximate) });
  }
  /** `aux` comes from `gelu` of the same formula. */
  geluBackward(values: Kernel.GeluBackwardArguments): Promise<Kernel.ActivationBackwardResult> {
    const { approximate, ...rest } = values;
    return this.activationBackward({ ...rest, ...rowsOf(values.dy), activation: geluName(approximate) });
  }

  layerNorm(values: Kernel.LayerNormArguments): Promise<Kernel.LayerNormResult> {
    return this.#run("layerNorm", values);
  }
  layerNormBackward(values: Kernel.LayerNormBackwardArguments): Promise<Kernel.LayerNormBackwardResult> {
    return this.#run("layerNormBackward", values);
  }
  dropoutResidualLayerNorm(
    values: Kernel.DropoutResidualLayerNormArguments,
  ): Promise<Kernel.LayerNormResult> {
    return this.#run("dropoutResidualLayerNorm", values);
  }
  dropoutResidualLayerNormBackward(
    values: Kernel.DropoutResidualLayerNormBackwardArguments,
  ): Promise<Kernel.DropoutResidualLayerNormBackwardResult> {
    return this.#run("dropoutResidualLayerNormBackward", values);
  }

  attention(values: Kernel.AttentionArguments): Promise<Kernel.AttentionResult> {
    return this.#run("attention", values);
  }
  attentionBackward(values: Kernel.AttentionBackwardArguments): Promise<Kernel.AttentionBackwardResult> {
    return this.#run("attentionBackward", values);
  }
  attentionProbabilities(
    values: Kernel.AttentionProbabilitiesArguments,
  ): Promise<Kernel.AttentionProbabilitiesResult> {
    return this.#run("attentionProbabilities", values);
  }

  embedding(values: Kernel.EmbeddingArguments): Promise<Kernel.LayerNormResult> {
    return this.#run("embedding", values);
  }
  embeddingBackward(values: Kernel.EmbeddingBackwardArguments): Promise<Kernel.EmbeddingBackwardResult> {
    return this.#run("embeddingBackward", values);
  }

  /** Logits, loss, gradients and samples over the vocabulary, in one pass. */
  languageModelHead(values: Kernel.LanguageModelHeadArguments): Promise<Kernel.LanguageModelHeadResult> {
    return this.#run("languageModelHead", values);
  }
  /** The language-model head as a loss alone. */
  softmaxCrossEntropy(values: Kernel.SoftmaxCrossEntropyArguments): Promise<Kernel.LanguageModelHeadResult> {
    return this.languageModelHead(values);
  }

  maskTokens(values: Kernel.MaskTokensArguments): Promise<Kernel.MaskTokensResult> {
    return this.#run("maskTokens", values);
  }
  replaceTokens(values: Kernel.ReplaceTokensArguments): Promise<Kernel.ReplaceTokensResult> {
    return this.#run("replaceTokens", values);
  }
  sampleUniform(values: Kernel.SampleUniformArguments): Promise<Kernel.SampleUniformResult> {
    return this.#run("sampleUniform", values);
  }

  binaryCrossEntropy(values: Kernel.BinaryCrossEntropyArguments): Promise<Kernel.BinaryCrossEntropyResult> {
    return this.#run("binaryCrossEntropy", values);
  }

  async adam(values: Kernel.AdamArguments): Promise<Kernel.AdamResult> {
    const result = await this.#run<Omit<Kernel.AdamResult, "finite"> & { finite: number }>("adam", values);
    return { ...result, finite: result.finite !== 0 };
  }

  /** Drops what is queued and frees the memory. May be called again. */
  dispose(): Promise<void> {
    return this.#jobs.dispose();
  }
  [Symbol.dispose](): void {
    void this.dispose();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The result's type follows from the operator's name; native code defines what is in it. */
  async #run<Result>(operator: string, values: JobOptions): Promise<Result> {
    const { signal, ...native } = values;
    const result = await this.#jobs.run((session, id) => session.run(id, operator, native), signal);
    return result as Result;
  }
}

/** An array as a matrix, so that there are rows to share among threads. */
function rowsOf(array: Float32Array): { tokens: number; width: number } {
  const width =
    [1024, 256, 64].find((size) => array.length >= size && array.length % size === 0) ?? array.length;
  return { tokens: width === 0 ? 0 : array.length / width, width };
}

function geluName(approximate: boolean | undefined): "gelu" | "gelu_new" {
  return approximate ? "gelu_new" : "gelu";
}
