import type { ArchiveJob, ArchiveJobResult } from "./archive-job.js";
import { type DatasetJob, type DatasetJobResult, type RunJobOptions, runDatasetJob } from "./dataset-job.js";

/** A job of either kind. */
export type AnyJob = DatasetJob | ArchiveJob;
export type AnyJobResult = DatasetJobResult | ArchiveJobResult;

/** Runs a job by its kind. Decoders are loaded for archives only. @throws as the job does */
export async function runJob(job: AnyJob, options: RunJobOptions = {}): Promise<AnyJobResult> {
  if ("stateFile" in job) {
    const { runArchiveJob } = await import("./archive-job.js");
    return runArchiveJob(job, options);
  }
  return runDatasetJob(job, options);
}
