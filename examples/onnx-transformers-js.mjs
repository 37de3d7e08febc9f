// Asks a model that `electra-native export --to onnx` wrote, with transformers.js alone:
//
//   npm install @huggingface/transformers
//   node examples/onnx-transformers-js.mjs <export folder> <text> [<second text, or the context of a question>]
//
// The same works in a browser, with the folder served instead of lying on the disk.
import { readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

const [folder, text, second] = process.argv.slice(2);
if (folder === undefined || text === undefined) {
  console.error("usage: node examples/onnx-transformers-js.mjs <export folder> <text> [<second text>]");
  process.exit(2);
}
const transformers = await import("@huggingface/transformers").catch(() => {
  console.error("transformers.js is not installed: npm install @huggingface/transformers");
  process.exit(1);
});
const { AutoModel, AutoTokenizer, env, pipeline } = transformers;
env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(folder));
const name = basename(resolve(folder));
const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));

/** All outputs of the graph for a text or a pair, with the tokens that they belong to. */
async function run() {
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModel.from_pretrained(name);
  const inputs = tokenizer(text, second === undefined ? {} : { text_pair: second });
  const tokens = inputs.input_ids.tolist()[0].map((id) => tokenizer.decode([id]));
  return { tokens, outputs: await model(inputs) };
}

switch (config.architectures[0]) {
  case "ElectraForPreTraining": {
    // A sigmoid makes a logit the probability that the token was replaced.
    const { tokens, outputs } = await run();
    const probabilities = outputs.logits.tolist()[0].map((logit) => 1 / (1 + Math.exp(-logit)));
    console.log(tokens.map((token, i) => ({ token, replaced: probabilities[i] })));
    break;
  }
  case "ElectraForMaskedLM":
    console.log(await (await pipeline("fill-mask", name))(text));
    break;
  case "ElectraForSequenceClassification": {
    if (config.problem_type === "regression") {
      console.log((await run()).outputs.predictions.tolist());
    } else if (second !== undefined) {
      // The pipeline takes no pairs.
      const logits = (await run()).outputs.logits.tolist()[0];
      console.log(logits.map((logit, id) => ({ label: config.id2label[id], logit })));
    } else {
      console.log(await (await pipeline("text-classification", name))(text, { top_k: null }));
    }
    break;
  }
  case "ElectraForTokenClassification":
    console.log(await (await pipeline("token-classification", name))(text, { ignore_labels: [] }));
    break;
  case "ElectraForQuestionAnswering":
    console.log(await (await pipeline("question-answering", name))(text, second ?? text));
    break;
  default: {
    const features = await (await pipeline("feature-extraction", name))(text, { pooling: "mean" });
    console.log(features.dims, Array.from(features.data.slice(0, 4)));
  }
}
