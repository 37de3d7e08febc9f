/** The tasks that the reference knows. */
export const referenceTaskNames = [
  ...["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst", "sts"],
  ...["squad", "squadv1", "newsqa", "naturalqs", "triviaqa", "searchqa"],
  "chunk",
] as const;
