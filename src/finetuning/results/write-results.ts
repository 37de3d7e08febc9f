import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileFailure } from "../../data/file-failure.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import type { TaskHead, TaskScorer } from "../task.js";
import { glueSubmission, type TestOutputs, testPredictionsJson } from "./glue-submission.js";
import { resultsJson, resultsText, type TrialResults } from "./trial-results.js";

/** Writes the results of all trials so far, as text and as JSON. @returns the paths */
export async function writeResults(
  hparams: Pick<FinetuningHparams, "results_txt" | "results_json">,
  trials: readonly TrialResults[],
): Promise<readonly string[]> {
  return [
    await replaceFile(hparams.results_txt, resultsText(trials)),
    await replaceFile(hparams.results_json, resultsJson(trials)),
  ];
}

/** Writes what a scorer has beside its results, such as the answers to questions. @returns the paths */
export async function writeScorerFiles(
  hparams: Pick<FinetuningHparams, "qa_eval_file" | "qa_preds_file" | "qa_na_file">,
  task: string,
  scorer: TaskScorer,
): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const [place, value] of Object.entries(scorer.files?.() ?? {})) {
    const path = fillPlace(hparams[place as keyof typeof hparams], { task });
    paths.push(await replaceFile(path, `${JSON.stringify(value, null, 1)}\n`));
  }
  return paths;
}

/** Outputs for a test split of a task. */
export interface TestSplitOutputs {
  readonly task: string;
  readonly split: string;
  readonly trial: number;
  readonly head: TaskHead;
  readonly outputs: TestOutputs;
}

/** Writes predictions of a test split: the reference's, and where GLUE has the task, the submission. @returns the paths */
export async function writeTestPredictions(
  hparams: Pick<FinetuningHparams, "test_predictions" | "submission_dir">,
  { task, split, trial, head, outputs }: TestSplitOutputs,
): Promise<readonly string[]> {
  const path = fillPlace(hparams.test_predictions, { task, split, trial });
  const paths = [await replaceFile(path, testPredictionsJson(outputs))];
  const submission = glueSubmission(task, split, head, outputs);
  if (submission !== undefined) {
    paths.push(
      await replaceFile(join(hparams.submission_dir, String(trial), submission.name), submission.text),
    );
  }
  return paths;
}

/** A file is old or new, never half of either. */
export async function replaceFile(path: string, text: string): Promise<string> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fileFailure(error, "cannot write", path);
  }
  return path;
}
