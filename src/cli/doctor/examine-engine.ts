import type { PretrainingModelConfig, TransformerShape } from "../../engine/types.js";
import { ElectraError } from "../../errors.js";
import type { Finding } from "./finding.js";

const REBUILD = "npx electra-native build";

/** Loads the engine and trains a thumbnail model for one step: whatever is wrong shows here. */
export async function examineEngine(): Promise<Finding[]> {
  const name = "engine";
  try {
    const { Engine } = await import("../../engine/engine.js");
    const began = performance.now();
    const engine = await Engine.create({ model: thumbnail, device: "cpu", threads: 1, seed: 1 });
    try {
      const { loss } = await engine.trainStep(thumbnailBatch(), { step: 0, learningRate: 1e-3 });
      const milliseconds = (performance.now() - began).toFixed(0);
      const { device, gemm, isa, threads, precision, version } = engine.info;
      if (!Number.isFinite(loss)) {
        const detail = `one step of a tiny model gave the loss ${loss}`;
        return [
          { name, status: "fail", detail, remedy: `build it again: ${REBUILD} --force`, command: REBUILD },
        ];
      }
      const detail = `${version} on ${device}, ${isa}, ${precision}; a tiny model took its first step in ${milliseconds} ms`;
      return [
        { name, status: "ok", detail },
        { name: "addon", status: "ok", detail: loadedAddon() ?? "loaded" },
        gemmFinding(gemm, threads),
      ];
    } finally {
      await engine.dispose();
    }
  } catch (error) {
    const hint = error instanceof ElectraError ? error.hint : undefined;
    const remedy = hint ?? `build it: ${REBUILD}`;
    return [{ name, status: "fail", detail: (error as Error).message, remedy, command: REBUILD }];
  }
}

/** The file that the process has really mapped, rather than the one that it should have. */
function loadedAddon(): string | undefined {
  const { sharedObjects = [] } = process.report.getReport() as { sharedObjects?: readonly string[] };
  return sharedObjects.find((path) => path.endsWith(".node") && path.includes("electra"));
}

/** Only without vector instructions beyond the baseline are the built-in products the slower ones. */
function gemmFinding(gemm: string, threads: number): Finding {
  const detail = `${gemm}, tried with ${threads} thread`;
  return /built-in baseline/i.test(gemm)
    ? {
        name: "matrix products",
        status: "warn",
        detail,
        remedy: "oneDNN is faster here; on Debian and Ubuntu: apt-get install libdnnl2 (or libdnnl3)",
      }
    : { name: "matrix products", status: "ok", detail };
}

const shape: TransformerShape = {
  vocab_size: 32,
  embedding_size: 64,
  hidden_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  intermediate_size: 256,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 16,
  type_vocab_size: 2,
  initializer_range: 0.02,
};

const thumbnail: PretrainingModelConfig = {
  objective: "electra",
  generator_kind: "masked",
  discriminator: shape,
  generator: shape,
  mask_prob: 0.15,
  max_seq_length: 16,
  max_predictions_per_seq: 2,
  cls_id: 2,
  sep_id: 3,
  mask_id: 4,
};

function thumbnailBatch() {
  const rows = 2;
  const length = 16;
  // [CLS] words [SEP], full rows.
  const inputIds = Int32Array.from({ length: rows * length }, (_, i) => {
    const position = i % length;
    return position === 0 ? 2 : position === length - 1 ? 3 : 5 + (i % 27);
  });
  return { inputIds, lengths: Int32Array.of(length, length), rows, length };
}
