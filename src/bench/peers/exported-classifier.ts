import { access, mkdir, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { finetune } from "../../finetuning/training/finetune.js";
import { exportOnnx } from "../../interop/onnx/export-onnx.js";

export interface ExportedClassifierOptions {
  /** Holds vocab.txt and finetuning_data/cola/; nothing is written there. */
  readonly dataDir: string;
  /** The model stays here for the next time. */
  readonly workDir: string;
  readonly signal?: AbortSignal;
}

/**
 * An ONNX model of a small classifier, as a user would get it: fine-tuned on CoLA from random weights, for a step or two, because
 * speed does not depend on what it learned, and exported. Gives the path of the model.
 *
 * @throws what `finetune` and `exportOnnx` throw
 */
export async function makeClassifier({
  dataDir,
  workDir,
  signal,
}: ExportedClassifierOptions): Promise<string> {
  const folder = resolve(workDir, "classifier");
  const exported = join(folder, "exported");
  const model = join(exported, "onnx", "model.onnx");
  if (
    await access(model).then(
      () => true,
      () => false,
    )
  ) {
    return model;
  }
  await rm(folder, { recursive: true, force: true });
  const own = join(folder, "data");
  await mkdir(own, { recursive: true });
  for (const name of ["vocab.txt", "finetuning_data"]) {
    await symlink(resolve(dataDir, name), join(own, name));
  }
  await finetune({
    dataDir: own,
    modelName: "classifier",
    device: "cpu",
    hparams: {
      task_names: ["cola"],
      model_size: "small",
      init_checkpoint: null,
      num_trials: 1,
      num_train_epochs: 0.01,
      do_eval: false,
    },
    ...(signal === undefined ? {} : { signal }),
  });
  signal?.throwIfAborted();
  await exportOnnx({
    model: join(own, "models", "classifier", "finetuning_models", "cola_model_1"),
    outputDir: exported,
    runtime: null,
    ...(signal === undefined ? {} : { signal }),
  });
  return model;
}
