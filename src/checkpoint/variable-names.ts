/** A tensor of a Hugging Face file under the reference's name. */
export interface VariableOfTensor {
  readonly variable: string;
  /** PyTorch keeps linear weights as [out, in], the reference kernels as [in, out]. */
  readonly transposed: boolean;
}

/** Scopes under which a half's `electra.` stands in the reference. */
export interface EncoderScopes {
  readonly encoder: string;
  readonly embeddings: string;
}

/**
 * The inverse of `hfLayout`: the reference's variable that a tensor of a Hugging Face file holds. Heads that the reference
 * does not know (`classifier.dense.weight`) get a name in its style.
 *
 * @param name with today's names (see `FolderTensors`)
 * @param scopes what `electra.` stands for in this file
 */
export function variableOfTensor(name: string, rank: number, scopes: EncoderScopes): VariableOfTensor {
  if (name === "generator_lm_head.bias")
    return { variable: "generator_predictions/output_bias", transposed: false };
  const transposed = rank === 2 && name.endsWith(".weight") && !name.endsWith("_embeddings.weight");
  // A task may be called anything, "v1.1" too; its variables are a layer's kernel and bias.
  const head = /^task_specific\.(.+)\.([^.]+)\.([^.]+)$/.exec(name);
  if (head !== null) {
    const [, task, layer, kind] = head;
    return { variable: `task_specific/${task}/${layer}/${kind === "weight" ? "kernel" : kind}`, transposed };
  }
  const path = name
    .replace(/\.layer\.(\d+)\./, ".layer_$1.")
    .replace(/^discriminator_predictions\.dense_prediction\./, "discriminator_predictions.dense_1.")
    .replace(/LayerNorm\.weight$/, "LayerNorm.gamma")
    .replace(/LayerNorm\.bias$/, "LayerNorm.beta")
    .replace(/_embeddings\.weight$/, "_embeddings")
    .replace(/\.weight$/, ".kernel")
    .replaceAll(".", "/");
  const variable = path
    .replace(/^electra\/embeddings\//, `${scopes.embeddings}/embeddings/`)
    .replace(/^electra\/(encoder|embeddings_project)\//, `${scopes.encoder}/$1/`);
  return { variable, transposed };
}

/** Whether a variable of a TensorFlow checkpoint is a weight of an ELECTRA model, not a slot, counter or something else. */
export function isModelVariable(name: string): boolean {
  return (
    !/\/adam_[mv]$/.test(name) &&
    /^(?:(?:electra|generator|generator_ltr|generator_rtl)\/(?:embeddings|embeddings_project|encoder)|(?:generator|cloze|discriminator)_predictions|task_specific)\//.test(
      name,
    ) &&
    // Released checkpoints may carry a scalar of this name, which no graph reads.
    !/(?:^|\/)(?:temperature|global_step)$/.test(name)
  );
}
