import type { QuestionTaskDescription } from "./question-task.js";

/** A set of MRQA 2019 with the name of its files in the distribution. */
function mrqa(name: string, distributed: string): QuestionTaskDescription {
  const places = (split: string) => [
    `${split}.jsonl`,
    `${split}.jsonl.gz`,
    `${split}/${distributed}.jsonl.gz`,
    `../mrqa/${split}/${distributed}.jsonl.gz`,
  ];
  return {
    name,
    metric: "mrqa",
    format: { kind: "mrqa" },
    files: { train: places("train"), dev: places("dev") },
    devSplits: ["dev"],
    testSplits: [],
    strict: false,
  };
}

function squad(name: string, version: "1.1" | "2.0"): QuestionTaskDescription {
  const places = (split: string) => [
    `${split}.json`,
    `${split}-v${version}.json`,
    `../SQuAD/${split}-v${version}.json`,
  ];
  return {
    name,
    metric: version === "2.0" ? "squad_v2" : "squad_v1",
    format: { kind: "squad" },
    files: { train: places("train"), dev: places("dev"), test: places("test") },
    devSplits: ["dev"],
    testSplits: version === "2.0" ? ["test"] : [],
    strict: false,
  };
}

/** The question-answering tasks of the reference. */
export const questionTasks: readonly QuestionTaskDescription[] = [
  squad("squad", "2.0"),
  squad("squadv1", "1.1"),
  mrqa("newsqa", "NewsQA"),
  mrqa("naturalqs", "NaturalQuestionsShort"),
  mrqa("triviaqa", "TriviaQA-web"),
  mrqa("searchqa", "SearchQA"),
];
