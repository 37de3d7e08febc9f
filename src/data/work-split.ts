/** One job's share of the work. */
export interface JobShare<File> {
  readonly files: readonly File[];
  /** Numbers of the job's output shards, increasing. */
  readonly shards: readonly number[];
}

/**
 * Splits input files and output shards over jobs as the reference does: job `j` of `P` takes the files whose index in the
 * sorted list, and the shards whose number, leave remainder `j` when divided by `P`.
 */
export function splitWork<File>(
  files: readonly File[],
  numShards: number,
  numProcesses: number,
): readonly JobShare<File>[] {
  return Array.from({ length: numProcesses }, (_, job) => {
    const shards: number[] = [];
    for (let shard = job; shard < numShards; shard += numProcesses) {
      shards.push(shard);
    }
    return { files: files.filter((_file, index) => index % numProcesses === job), shards };
  });
}
