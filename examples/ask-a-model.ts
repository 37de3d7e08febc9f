// Asks a fine-tuned model about lines of text as they come, whatever its task is.
//
//   echo "A great film." | node examples/ask-a-model.ts data/models/electra_small/finetuning_models/sst_model_1 [task]
//
// For a model that answers questions a line holds the question, a tab, and the text to look in; for tasks on two texts both
// with a tab between them. Needs the compiled package, and Node.js 22.18 or newer to run TypeScript as it is
// (docs/library.md has the two lines for older versions).
import { createInterface } from "node:readline";
import { Classifier, FinetunedModel, QuestionAnswerer, Tagger } from "electra-native";

const [, , path, wanted] = process.argv;
if (path === undefined) throw new Error("usage: node examples/ask-a-model.ts <model> [task]");

const model = await FinetunedModel.open(path);
const task = model.tasks.find(({ name }) => wanted === undefined || name === wanted);
if (task === undefined) throw new Error(`${path} knows ${model.tasks.map(({ name }) => name).join(", ")}`);
console.error(`${task.name}: ${task.head.kind}, on ${model.engine.info.device}`);

const lines = createInterface({ input: process.stdin });
// The streams read ahead by a block or two and no further, so memory does not grow with the input.
switch (task.head.kind) {
  case "tagging":
    for await (const { words, spans } of new Tagger(model, task.name).tagStream(lines)) {
      console.log(words.map(({ word, tag }) => `${word}/${tag}`).join(" "));
      for (const { type, text, start, end } of spans) console.log(`  ${type}: ${text} (${start} to ${end})`);
    }
    break;
  case "span":
    for await (const answer of new QuestionAnswerer(model, task.name).answerStream(questions(lines))) {
      const { text, start, probability, noAnswerOdds } = answer;
      // The evaluation's rule; for SQuAD 2.0 the threshold is picked on the dev set.
      const unanswered = noAnswerOdds > model.hparams.qa_na_threshold;
      console.log(`${text} (at ${start}, ${percent(probability)})${unanswered ? "; rather no answer" : ""}`);
    }
    break;
  default:
    for await (const result of new Classifier(model, task.name).classifyStream(pairs(lines))) {
      if (result.kind === "classification") console.log(`${result.label} ${percent(result.probability)}`);
      else if (result.kind === "multi-label") console.log(result.labels.join(", ") || "none");
      else console.log(result.value.toFixed(3));
    }
}

await model.dispose();

async function* pairs(source: AsyncIterable<string>) {
  for await (const line of source) {
    const [text = "", textPair] = line.split("\t");
    yield { text, textPair };
  }
}

async function* questions(source: AsyncIterable<string>) {
  for await (const { text, textPair = "" } of pairs(source)) yield { question: text, context: textPair };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
