// TensorFlow checkpoints that TensorFlow wrote: every value read equals what is recorded, damaged copies are refused where and
// as TensorFlow refuses them, and what we write from the values is byte for byte the same files.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { readFixture } from "./safetensors-fixture.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

export const checks = [
  { name: "checkpoint", run: checkCheckpoint },
  { name: "checkpoint_micro", run: checkMicro },
];

async function checkCheckpoint(goldenDir) {
  const { findTensorBundle } = await load("checkpoint/tensorflow/find-bundle.js");
  const { TensorBundleReader } = await load("checkpoint/tensorflow/tensor-bundle.js");
  const prefix = await findTensorBundle(join(goldenDir, "checkpoint"));
  const bundle = await TensorBundleReader.open(prefix);
  const expected = await readFixture(join(goldenDir, "pretrain", "electra.after.safetensors"));
  try {
    let values = 0;
    for (const [key, { shape, data }] of expected) {
      if (!key.startsWith("after5/")) continue;
      const name = key.slice("after5/".length);
      assert.deepEqual(bundle.tensors.get(name)?.shape, shape, name);
      const bytes = await bundle.readBytes(name);
      assert.ok(Buffer.from(data.buffer).equals(bytes), `${name}: its bytes differ`);
      values += data.length;
    }
    const names = [...expected.keys()].filter((key) => key.startsWith("after5/"));
    assert.equal(bundle.tensors.size, names.length, "number of variables");
    await checkRewritten(bundle, prefix);
    return `${names.length} tensors (${values} values) equal bit for bit, written again byte for byte`;
  } finally {
    await bundle.close();
  }
}

async function checkMicro(goldenDir) {
  const { TensorBundleReader } = await load("checkpoint/tensorflow/tensor-bundle.js");
  const folder = join(goldenDir, "checkpoint_micro");
  const micro = JSON.parse(await readFile(join(folder, "micro.json"), "utf8"));
  let tensors = 0;
  for (const name of ["single", "sharded"]) {
    const bundle = await TensorBundleReader.open(join(folder, `${name}.ckpt`));
    for (const [variable, { dtype, shape, values }] of Object.entries(micro.tensors)) {
      const found = bundle.tensors.get(variable);
      assert.deepEqual(found?.shape, shape, `${name}: shape of ${variable}`);
      assert.equal(found.dtype, dtypes[dtype], `${name}: type of ${variable}`);
      const floats = found.dtype.startsWith("F");
      const read = floats ? await bundle.readFloat32(variable) : await bundle.readIntegers(variable);
      assert.equal(
        read.length,
        shape.reduce((product, size) => product * size, 1),
        `${name}: length of ${variable}`,
      );
      values.forEach((value, index) => {
        const wanted = Math.fround(Number(value === "inf" ? Infinity : value === "-inf" ? -Infinity : value));
        const given = floats ? read[index] : Number(read[index]);
        assert.ok(
          Object.is(given, floats ? wanted : Number(value)),
          `${name}: ${variable}[${index}] is ${given}, not ${value}`,
        );
      });
      tensors++;
    }
    const strings = (await bundle.readStrings("strings")).map((bytes) => Buffer.from(bytes).toString("utf8"));
    assert.deepEqual(strings, ["abc", "", "é", "x".repeat(300)]);
    assert.deepEqual([...(await bundle.readFloat32("bfloat16"))], [1.5, -2.25, 3.00405527047391e38]);
    await bundle.close();
  }
  let refused = 0;
  for (const [file, { open_error: openError, tensors: outcomes }] of Object.entries(micro.broken)) {
    const refuses = (error) =>
      error.code === "ERR_ELECTRA_TF_CHECKPOINT" && error.message.includes(file) && error.hint.length > 0;
    if (openError !== null) {
      await assert.rejects(TensorBundleReader.open(join(folder, file)), refuses, `${file} must not open`);
      refused++;
      continue;
    }
    const bundle = await TensorBundleReader.open(join(folder, file));
    for (const [variable, outcome] of Object.entries(outcomes)) {
      if (outcome === "ok")
        await bundle.verify(variable).catch((error) => {
          // TensorFlow reads a tensor without values of a file that is not there; so do we, but not of one that it refuses.
          assert.fail(`${file}: ${variable} is readable for TensorFlow: ${error.message}`);
        });
      else {
        await assert.rejects(bundle.readBytes(variable), refuses, `${file}: ${variable} must be refused`);
        refused++;
      }
    }
    await bundle.close();
  }
  return `${tensors} tensors in one and two data files, ${refused} damaged things refused`;
}

const dtypes = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  int32: "I32",
  int64: "I64",
  bool: "BOOL",
};

/** Writes the same tensors again and compares the files. */
async function checkRewritten(bundle, prefix) {
  const { writeTensorBundle, formatCheckpointState } = await load(
    "checkpoint/tensorflow/write-tensor-bundle.js",
  );
  const { DurableFiles } = await load("checkpoint/durable-files.js");
  const folder = await mkdtemp(join(tmpdir(), "electra-bundle-"));
  try {
    // Backwards: the order in which tensors are given must not matter.
    const tensors = [...bundle.tensors]
      .reverse()
      .map(([name, { dtype, shape }]) => ({ name, dtype, shape, data: () => bundle.chunks(name) }));
    const written = join(folder, basename(prefix));
    await writeTensorBundle(written, tensors, new DurableFiles());
    for (const ending of [".index", ".data-00000-of-00001"]) {
      const [ours, theirs] = [await readFile(written + ending), await readFile(prefix + ending)];
      assert.ok(ours.equals(theirs), `${basename(prefix)}${ending} differs from TensorFlow's`);
    }
    const state = await readFile(join(prefix, "..", "checkpoint"), "utf8");
    assert.equal(formatCheckpointState(prefix), state, "the file checkpoint");
  } finally {
    await rm(folder, { recursive: true });
  }
}
