// What leaving padding out changes for models with two towers: nothing but the two ends of a row, which read around the
// end of the padded row in the reference and around the end of the real one in row mode `drop`. The reference's own numbers
// are those of `keep`; how far `drop` is from them is what docs/electric.md quotes.
import assert from "node:assert/strict";
import { batchOf, largest, loadWeights, relative } from "./model-checks.mjs";
import { createEngine, openVariant, sampledDraws } from "./pretrain.mjs";

export const usesDevice = true;

export const checks = ["electric", "two_tower"].map((variant) => ({
  name: `pretrain/${variant}.drop`,
  run: (goldenDir, machine) => compareModes(goldenDir, variant, machine),
}));

async function compareModes(goldenDir, variant, machine) {
  const { json, tensors } = await openVariant(goldenDir, variant);
  const [keep, drop] = [
    await stepWith(json, tensors, variant, machine, "keep"),
    await stepWith(json, tensors, variant, machine, "drop"),
  ];
  const { rows, lengths } = keep.batch;
  const pitch = keep.logits.length / rows;
  const width = json.config.vocab_size ?? pitch / keep.batch.length;
  let inside = 0;
  let ends = 0;
  for (let b = 0; b < rows; b++) {
    for (let i = 0; i < lengths[b]; i++) {
      const at = b * pitch + i * width;
      for (let v = at; v < at + width; v++) {
        const difference = Math.abs(keep.logits[v] - drop.logits[v]);
        if (i > 0 && i < lengths[b] - 1) inside = Math.max(inside, difference);
        else if (lengths[b] < keep.batch.length) ends = Math.max(ends, difference);
      }
    }
  }
  // Where a query sees the left or the right side of a real token, padding has no part in it.
  assert.ok(
    inside <= keep.tolerance.output(largest(keep.logits)),
    `${variant}: logits between the ends differ by ${inside}`,
  );
  const loss = relative(drop.loss, keep.loss);
  let gradient = 0;
  for (const [name, expected] of keep.gradients) {
    const peak = expected.reduce((max, g) => Math.max(max, Math.abs(g)), 0);
    if (peak < keep.tolerance.gradientNormFloor * keep.norm) continue;
    const actual = drop.gradients.get(name);
    for (let k = 0; k < expected.length; k++)
      gradient = Math.max(gradient, Math.abs(actual[k] - expected[k]) / peak);
  }
  const padded = lengths.some((length) => length < keep.batch.length);
  if (padded) assert.ok(ends > 1e-4, `${variant}: the ends of padded rows read the same in both modes`);
  assert.ok(loss < 1e-2 + keep.tolerance.loss(0), `${variant}: the loss differs by ${loss}`);
  return `loss ${loss.toPrecision(2)} grad ${gradient.toPrecision(2)} logits ${ends.toPrecision(2)} at the ends, ${inside.toPrecision(2)} between`;
}

async function stepWith(json, tensors, variant, machine, rowMode) {
  const { engine, tolerance } = await createEngine(json, variant, machine, { row_mode: rowMode });
  try {
    await loadWeights(engine, tensors, "init/", variant);
    const batch = batchOf(tensors, "step0");
    const { loss, outputs } = await engine.forwardBackward(batch, {
      draws: sampledDraws(tensors, "step0"),
      outputs: ["cloze/logits"],
    });
    const gradients = new Map();
    let squares = 0;
    for (const { name } of engine.parameters()) {
      const gradient = await engine.readParameter(name, "gradient");
      gradients.set(name, gradient);
      squares += gradient.reduce((sum, g) => sum + g * g, 0);
    }
    const logits = outputs["cloze/logits"].data;
    return { batch, loss, logits, gradients, norm: Math.sqrt(squares), tolerance };
  } finally {
    await engine.dispose();
  }
}
