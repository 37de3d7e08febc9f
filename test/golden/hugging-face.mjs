// Models that Hugging Face saved, read as they lie there and run through our engine: logits, loss and states of the last layer
// are those that transformers computed.
//
// Heads of fine-tuned models that the reference does not have are computed by their formulas from the engine's states.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readFixture } from "./safetensors-fixture.mjs";
import { tolerancesFor } from "./tolerances.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

export const usesDevice = true;

export const checks = [
  { name: "hf/pretraining", run: (goldenDir, machine) => checkHalf(goldenDir, "pretraining", machine) },
  { name: "hf/masked_lm", run: (goldenDir, machine) => checkHalf(goldenDir, "masked_lm", machine) },
  ...["sequence_classification", "token_classification", "question_answering"].map((name) => ({
    name: `hf/${name}`,
    run: (goldenDir, machine) => checkTaskHead(goldenDir, name, machine),
  })),
];

async function checkHalf(goldenDir, name, machine) {
  const { io, config, engine, origins, tolerance, half } = await openModel(goldenDir, name, machine);
  try {
    const unused = origins.filter(({ origin }) => origin !== "loaded");
    assert.deepEqual(unused, [], "tensors that were not loaded, variables that were created");
    const worst = { state: 0, logits: 0, loss: 0 };
    for (const kind of ["plain", "masked"]) {
      const { batch, hidden } = batchOf(io, kind);
      const outputs = await run(engine, half, batch);
      const size = compareTokens(
        outputs.states,
        io.get(`${kind}/last_hidden_state`),
        hidden,
        `${kind} states`,
      );
      worst.state = Math.max(worst.state, below(size, tolerance));
      const logits = compareTokens(outputs.logits, io.get(`${kind}/logits`), hidden, `${kind} logits`);
      worst.logits = Math.max(worst.logits, below(logits, tolerance));
      const labels = io.get("labels").data;
      // ElectraForMaskedLM counts labels of padding too, for which this engine computes nothing.
      if (half === "generator" && labels.some((label, token) => label >= 0 && hidden(token))) continue;
      const loss =
        half === "generator"
          ? crossEntropy(outputs.logits, labels, config.vocab_size)
          : binaryLoss(outputs.logits, labels, hidden);
      const [expected] = io.get(`${kind}/loss`).data;
      const difference = Math.abs(loss - expected) / expected;
      assert.ok(difference <= tolerance.loss(0), `${kind}: loss ${loss}, expected ${expected}`);
      worst.loss = Math.max(worst.loss, difference);
    }
    return formatWorst(worst);
  } finally {
    await engine.dispose();
  }
}

/**
 * Heads that the engine does not have: the engine computes the encoder's states, and the formulas of the head, which exports
 * are compared with, the rest.
 */
async function checkTaskHead(goldenDir, name, machine) {
  const { io, config, engine, origins, tolerance, folder } = await openModel(goldenDir, name, machine);
  const { readModelWeights } = await load("checkpoint/model-weights.js");
  const { weightsOfPart } = await load("interop/export-weights.js");
  const { referenceHead } = await load("interop/onnx/reference-heads.js");
  const weights = await readModelWeights(folder);
  try {
    const names = (origin) => origins.filter((each) => each.origin === origin).map((each) => each.name);
    assert.ok(names("loaded").every((variable) => variable.startsWith("electra/")));
    assert.ok(names("created").every((variable) => variable.startsWith("discriminator_predictions/")));
    assert.ok(
      names("ignored").every((variable) => /^(classifier|qa_outputs)\//.test(variable)),
      "ignored tensors",
    );
    const { kind: head, outputs, loss } = taskHeads[name];
    const part = weightsOfPart(weights, "discriminator");
    const say = await referenceHead({ kind: head, labels: [] }, weights.configs.discriminator, part);
    const worst = { state: 0, logits: 0, loss: 0 };
    for (const kind of ["plain", "masked"]) {
      const { batch, hidden } = batchOf(io, kind);
      const { states } = await run(engine, "discriminator", batch);
      const found = compareTokens(states, io.get(`${kind}/last_hidden_state`), hidden, `${kind} states`);
      worst.state = Math.max(worst.state, below(found, tolerance));
      const said = rowsOf(states, batch, config.hidden_size).map((row) => say(row));
      for (const output of outputs) {
        const expected = io.get(`${kind}/${output}`);
        const size = expected.data.length / batch.rows;
        const whole = { difference: 0, largest: 0, what: `${kind} ${output}` };
        said.forEach((row, at) => {
          // Outputs of tokens that the mask hides mean nothing.
          const count = expected.shape[1] === batch.length ? (size / batch.length) * batch.lengths[at] : size;
          assert.equal(row[output].length, count, `${kind} ${output}: size of row ${at}`);
          row[output].forEach((value, i) => {
            const wanted = expected.data[at * size + i];
            whole.difference = Math.max(whole.difference, Math.abs(value - wanted));
            whole.largest = Math.max(whole.largest, Math.abs(wanted));
          });
        });
        worst.logits = Math.max(worst.logits, below(whole, tolerance));
      }
      // transformers counts what is said of padding too, for which nothing is computed here.
      if (kind === "masked" && name !== "sequence_classification") continue;
      const value = loss(said, io, kind);
      const [expected] = io.get(`${kind}/loss`).data;
      const difference = Math.abs(value - expected) / expected;
      assert.ok(difference <= tolerance.loss(0), `${kind}: loss ${value}, expected ${expected}`);
      worst.loss = Math.max(worst.loss, difference);
    }
    return formatWorst(worst);
  } finally {
    await weights.close();
    await engine.dispose();
  }
}

/** What each class says, and the loss that it is trained with. */
const taskHeads = {
  sequence_classification: {
    kind: "hf-sequence",
    outputs: ["logits"],
    loss: (said, io) =>
      crossEntropy(
        said.flatMap(({ logits }) => logits),
        io.get("labels").data,
        said[0].logits.length,
      ),
  },
  token_classification: {
    kind: "hf-token",
    outputs: ["logits"],
    loss: (said, io, kind) =>
      crossEntropy(
        said.flatMap(({ logits }) => logits),
        io.get("labels").data,
        io.get(`${kind}/logits`).shape[2],
      ),
  },
  question_answering: {
    kind: "hf-span",
    outputs: ["start_logits", "end_logits"],
    loss: (said, io, kind) => {
      const of = (which) =>
        crossEntropy(
          said.flatMap((row) => row[`${which}_logits`]),
          io.get(`${kind}/${which}_positions`).data,
          said[0].start_logits.length,
        );
      return (of("start") + of("end")) / 2;
    },
  },
};

/** Each row's states, a vector for each token that the mask shows. */
function rowsOf(states, { rows, length, lengths }, width) {
  return Array.from({ length: rows }, (_, row) => ({
    hidden: Array.from({ length: lengths[row] }, (_, position) => {
      const at = (row * length + position) * width;
      return states.subarray(at, at + width);
    }),
  }));
}

function formatWorst(worst) {
  return Object.entries(worst)
    .map(([key, value]) => `${key} ${value.toPrecision(2)}`)
    .join(" ");
}

/** An engine with the weights of a folder. The fixtures have no vocabulary: any ids are special ones. */
async function openModel(goldenDir, name, machine) {
  const { Engine } = await load("engine/engine.js");
  const { engineParameterStore } = await load("checkpoint/engine-parameter-store.js");
  const { loadVariables } = await load("checkpoint/load-variables.js");
  const { readModelWeights } = await load("checkpoint/model-weights.js");
  const folder = join(goldenDir, "hf", name);
  const io = await readFixture(join(folder, "io.safetensors"));
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  const half = name === "masked_lm" ? "generator" : "discriminator";
  const [, length] = io.get("input_ids").shape;
  const weights = await readModelWeights(folder);
  try {
    const { model_type, architectures, layer_norm_eps, pad_token_id, ...shape } = weights.configs[half];
    const model = {
      ...(half === "generator"
        ? { objective: "mlm", generator_kind: "shared" }
        : { objective: "electra", generator_kind: "uniform" }),
      discriminator: shape,
      mask_prob: 0.15,
      max_seq_length: length,
      max_predictions_per_seq: length,
      cls_id: 1,
      sep_id: 2,
      mask_id: 3,
    };
    const engine = await Engine.create({ model, device: "cpu", threads: 2, seed: 1, ...machine });
    const origins = await loadVariables({
      weights,
      parameters: engineParameterStore(engine),
      part: half,
      mayCreate: (variable) => name !== "pretraining" && variable.startsWith("discriminator_predictions/"),
    });
    return {
      io,
      config,
      engine,
      origins,
      half,
      folder,
      tolerance: tolerancesFor(engine.info.precision, model, name),
    };
  } finally {
    await weights.close();
  }
}

/** `plain` was given the ids alone, `masked` an attention mask and token types too. */
function batchOf(io, kind) {
  const ids = io.get("input_ids");
  const [rows, length] = ids.shape;
  const mask = io.get("attention_mask").data;
  const lengths = new Int32Array(rows).fill(length);
  if (kind === "masked") {
    for (let row = 0; row < rows; row++) {
      lengths[row] = mask.subarray(row * length, (row + 1) * length).reduce((sum, bit) => sum + bit, 0);
      const prefix = mask.subarray(row * length, row * length + lengths[row]);
      assert.ok(
        prefix.every((bit) => bit === 1),
        "attention_mask must be a prefix of ones",
      );
    }
    assert.ok(
      lengths.some((count) => count < length),
      "the mask hides nothing",
    );
  }
  // Without token types transformers takes 0.
  const segments = kind === "masked" ? { segmentIds: io.get("token_type_ids").data } : {};
  const hidden = (token) => token % length >= lengths[Math.floor(token / length)];
  return { batch: { inputIds: ids.data, ...segments, lengths, rows, length }, hidden };
}

async function run(engine, half, batch) {
  const states = "hidden/electra/sequence_output";
  const logits = half === "generator" ? "mlm/logits" : "disc/logits";
  // Every token that is there is asked for; slots of padding stay empty.
  const positions = Int32Array.from({ length: batch.rows * batch.length }, (_, at) => {
    const position = at % batch.length;
    return position < batch.lengths[Math.floor(at / batch.length)] ? position : -1;
  });
  const outputs = await engine.forward(batch, {
    network: half,
    ...(half === "generator" ? { positions } : {}),
    outputs: [states, logits],
  });
  return { states: outputs[states].data, logits: outputs[logits].data };
}

/** Largest difference over real tokens, and the largest value. */
function compareTokens(actual, { shape, data: expected }, hidden, what) {
  assert.equal(actual.length, expected.length, `${what}: size`);
  const width = expected.length / (shape[0] * shape[1]);
  const found = { difference: 0, largest: 0, what };
  for (let i = 0; i < expected.length; i++) {
    if (hidden(Math.floor(i / width))) continue;
    const difference = Math.abs(actual[i] - expected[i]);
    assert.ok(!Number.isNaN(difference), `${what}: NaN`);
    found.difference = Math.max(found.difference, difference);
    found.largest = Math.max(found.largest, Math.abs(expected[i]));
  }
  return found;
}

function below({ difference, largest, what }, tolerance) {
  const allowed = tolerance.output(largest);
  assert.ok(
    difference <= allowed,
    `${what}: difference ${difference.toPrecision(3)}, allowed ${allowed.toPrecision(3)}`,
  );
  return difference;
}

/** Mean over the rows of logits whose label is not -100. */
function crossEntropy(logits, labels, width) {
  let [sum, count] = [0, 0];
  labels.forEach((label, token) => {
    if (label < 0) return;
    const row = logits.slice(token * width, (token + 1) * width);
    const most = row.reduce((a, b) => Math.max(a, b));
    sum += most + Math.log(row.reduce((total, value) => total + Math.exp(value - most), 0)) - row[label];
    count++;
  });
  return sum / count;
}

/** `ElectraForPreTraining`: mean over the tokens that the mask shows. */
function binaryLoss(logits, labels, hidden) {
  let [sum, count] = [0, 0];
  labels.forEach((label, token) => {
    if (hidden(token)) return;
    const x = logits[token];
    sum += Math.max(x, 0) - x * label + Math.log1p(Math.exp(-Math.abs(x)));
    count++;
  });
  return sum / count;
}
