import { ElectraError } from "../errors.js";
import type { ParameterInfo } from "./parameter-store.js";

/** One tensor of a Hugging Face file and the variable of the reference that it holds. */
export interface LayoutEntry {
  /** Name in `model.safetensors`. */
  readonly hfName: string;
  /** Name in the reference's TensorFlow checkpoint and in our engine. */
  readonly variable: string;
  /** Shape in the file: PyTorch's linear weights are [out, in], the reference's kernels [in, out]. */
  readonly shape: readonly number[];
  readonly transposed: boolean;
}

/** The Hugging Face class that loads a half; two towers have none, of a fine-tuned model it loads the encoder. */
export type HfArchitecture = "ElectraForPreTraining" | "ElectraForMaskedLM" | "ElectraModel" | "two-tower";

export interface HalfLayout {
  readonly architecture: HfArchitecture;
  readonly entries: readonly LayoutEntry[];
}

/** The halves of a pre-trained model. */
export type PretrainingHalf = "generator" | "discriminator";

/** The parts that a model's folder can have. A fine-tuned model has one: an encoder with the heads of its tasks. */
export type HalfName = PretrainingHalf | "finetuned";

/** The parts of a model: the BERT objective has no discriminator, uniform corruption no generator. */
export type ModelLayout = Partial<Readonly<Record<HalfName, HalfLayout>>>;

/**
 * Decides from the names of a model's variables which tensors go where. Embeddings (and with a tied encoder
 * everything but the heads) belong to both halves and are listed in both.
 *
 * - `discriminator/`: `electra/…` and `discriminator_predictions/…`, as `ElectraForPreTraining`.
 * - `generator/`: the scope `generator`, or `electra` where there is none (tied encoder, BERT objective), with
 *   its own embeddings or else the shared ones, and `generator_predictions/…`, as `ElectraForMaskedLM`; its
 *   `generator_lm_head.weight` is the word table itself (tied) and, as Hugging Face does, not stored again.
 * - two towers: `generator_ltr`, `generator_rtl` and `cloze_predictions` have no Hugging Face class and keep
 *   their names, written in the same style.
 * - `finetuned/`: `electra/…` as `ElectraModel`, and `task_specific/<task>/…`, which that class leaves out, as
 *   `task_specific.<task>.…`.
 *
 * @throws ElectraError ERR_ELECTRA_LAYOUT when a variable belongs to no part
 */
export function hfLayout(variables: readonly ParameterInfo[]): ModelLayout {
  const within = (prefix: string): readonly ParameterInfo[] =>
    variables.filter(({ name }) => name.startsWith(`${prefix}/`));
  const has = (prefix: string): boolean => within(prefix).length > 0;
  const layout: { generator?: HalfLayout; discriminator?: HalfLayout; finetuned?: HalfLayout } = {};

  if (has("task_specific")) {
    layout.finetuned = {
      architecture: "ElectraModel",
      entries: [...within("electra"), ...within("task_specific")].map((variable) =>
        entry(variable, variable.name),
      ),
    };
  } else if (has("cloze_predictions")) {
    const towers = ["generator_ltr", "generator_rtl"];
    const ownEmbeddings = has("generator_ltr/embeddings");
    const owned = [...towers, "cloze_predictions", ...(ownEmbeddings ? [] : ["electra/embeddings"])];
    layout.generator = {
      architecture: "two-tower",
      entries: owned.flatMap((prefix) => within(prefix).map((variable) => entry(variable, variable.name))),
    };
  } else if (has("generator_predictions")) {
    const scope = has("generator/encoder") ? "generator" : "electra";
    const embeddings = has(`${scope}/embeddings`) ? `${scope}/embeddings` : "electra/embeddings";
    // Hugging Face calls the encoder `electra` in the generator too.
    const renamed = (prefix: string): LayoutEntry[] =>
      within(prefix).map((variable) =>
        entry(variable, `electra${variable.name.slice(variable.name.indexOf("/"))}`),
      );
    layout.generator = {
      architecture: "ElectraForMaskedLM",
      entries: [
        ...renamed(embeddings),
        ...renamed(`${scope}/embeddings_project`),
        ...renamed(`${scope}/encoder`),
        ...within("generator_predictions").map((variable) => entry(variable, variable.name)),
      ],
    };
  }
  if (has("discriminator_predictions")) {
    layout.discriminator = {
      architecture: "ElectraForPreTraining",
      entries: [...within("electra"), ...within("discriminator_predictions")].map((variable) =>
        entry(variable, variable.name),
      ),
    };
  }

  const placed = new Set(
    Object.values(layout).flatMap((half) => half.entries.map(({ variable }) => variable)),
  );
  const homeless = variables.filter(({ name }) => !placed.has(name));
  if (homeless.length > 0) {
    throw new ElectraError(
      "ERR_ELECTRA_LAYOUT",
      `no place in the Hugging Face layout for ${homeless.length} variable(s), the first is "${homeless[0]!.name}"`,
      { hint: "Only encoders, their pre-training heads and the heads of tasks have one." },
    );
  }
  return layout;
}

/** Variables that lie in both halves; their copies must be bit-equal. */
export function sharedVariables(layout: ModelLayout): ReadonlySet<string> {
  const generator = new Set(layout.generator?.entries.map(({ variable }) => variable));
  const shared = layout.discriminator?.entries.filter(({ variable }) => generator.has(variable)) ?? [];
  return new Set(shared.map(({ variable }) => variable));
}

/** Name of a tensor of the tied output matrix, which a foreign file may hold beside the word table. */
export const TIED_OUTPUT_WEIGHT = "generator_lm_head.weight";

function entry({ name, shape }: ParameterInfo, path: string): LayoutEntry {
  const transposed = name.endsWith("/kernel");
  if (transposed && shape.length !== 2) {
    throw new ElectraError(
      "ERR_ELECTRA_LAYOUT",
      `kernel "${name}" has shape [${shape.join(", ")}], expected two sizes`,
    );
  }
  return {
    hfName: hfName(path),
    variable: name,
    shape: transposed ? [shape[1]!, shape[0]!] : [...shape],
    transposed,
  };
}

/** `electra/encoder/layer_0/output/LayerNorm/gamma` -> `electra.encoder.layer.0.output.LayerNorm.weight` */
function hfName(path: string): string {
  if (path === "generator_predictions/output_bias") return "generator_lm_head.bias";
  // A task may be called anything, "layer_1" too: only the last part is renamed.
  if (path.startsWith("task_specific/")) return path.replace(/\/kernel$/, "/weight").replaceAll("/", ".");
  return path
    .replace(/^discriminator_predictions\/dense_1\//, "discriminator_predictions/dense_prediction/")
    .replace(/\/layer_(\d+)\//, "/layer/$1/")
    .replace(/\/(kernel|gamma)$/, "/weight")
    .replace(/\/beta$/, "/bias")
    .replace(/_embeddings$/, "_embeddings/weight")
    .replaceAll("/", ".");
}
