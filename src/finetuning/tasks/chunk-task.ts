import type { TaggingTaskDescription } from "./tagging-task.js";

/** CoNLL-2000 chunking. The reference evaluates on what the distribution calls test. */
export const chunkTask: TaggingTaskDescription = {
  name: "chunk",
  level: "span",
  format: { kind: "conll" },
  files: {
    train: ["train.txt", "../conll2000/train.txt"],
    dev: ["dev.txt", "../conll2000/test.txt"],
    test: ["test.txt"],
  },
  devSplits: ["dev"],
  testSplits: [],
};
