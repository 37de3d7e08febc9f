import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SaveCheckpointOptions, saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { findLatestCheckpoint, listCheckpoints } from "../../../src/checkpoint/checkpoint-folders.js";
import { DurableFiles, type FileOperation } from "../../../src/checkpoint/durable-files.js";
import { loadCheckpoint, loadWeights } from "../../../src/checkpoint/load-checkpoint.js";
import { SafetensorsReader } from "../../../src/checkpoint/safetensors.js";
import { compareFingerprints } from "../../../src/checkpoint/training-state.js";
import type { VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { MemoryStore, toyHparams, toySave, toyVocabulary } from "./toy-model.js";

let runDir: string;
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), "checkpoint-"));
});
afterEach(() => rm(runDir, { recursive: true, force: true }));

const zeroStore = (like: MemoryStore): MemoryStore => new MemoryStore(like.names(), undefined);

/** Names of the tensors that are not bit-equal. */
function differences(a: MemoryStore, b: MemoryStore): string[] {
  const bytes = (values: Float32Array | undefined): Buffer =>
    values === undefined ? Buffer.of() : Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const names = new Set([...a.tensors.keys(), ...b.tensors.keys()]);
  return [...names].filter((name) => !bytes(a.tensors.get(name)).equals(bytes(b.tensors.get(name))));
}

/** Fewer tensors for the tests that save a hundred times. */
const oneLayer: Partial<VariableHparams> = {
  model_hparam_overrides: { ...toyHparams.model_hparam_overrides, num_hidden_layers: 1 },
};

/** A disk that works for the first `count` operations and then, as after a crash, never again. */
function diskThatDiesAfter(count: number): DurableFiles {
  let done = 0;
  return new DurableFiles({
    beforeOperation(operation, path) {
      if (done++ >= count) throw Object.assign(new Error(`EIO: ${operation}`), { code: "EIO", path });
    },
  });
}

/** The points of a save to stop it at: every operation, but of the many writes only each 20th. */
async function stoppingPoints(save: SaveCheckpointOptions): Promise<number[]> {
  const operations: FileOperation[] = [];
  await saveCheckpoint({
    ...save,
    files: new DurableFiles({ beforeOperation: (operation) => void operations.push(operation) }),
  });
  return operations.flatMap((operation, index) => (operation !== "write" || index % 20 === 0 ? [index] : []));
}

describe("a checkpoint", () => {
  it.each<[string, Partial<VariableHparams>]>([
    ["electra", {}],
    ["the BERT objective", { electra_objective: false }],
    ["a tied encoder", { untied_generator: false }],
    ["untied embeddings", { untied_generator_embeddings: true }],
    ["a uniform generator", { uniform_generator: true }],
    ["two towers", { two_tower_generator: true }],
    [
      "two towers with embeddings of their own",
      { two_tower_generator: true, untied_generator_embeddings: true },
    ],
  ])("of %s gives back every bit of weights, moments and state", async (_name, overrides) => {
    const save = toySave(runDir, 20, overrides);
    const { path, bytes } = await saveCheckpoint(save);
    const restored = zeroStore(save.parameters);
    const { files, ...state } = await loadCheckpoint({ path, parameters: restored, configs: save.configs });
    expect(differences(restored, save.parameters)).toEqual([]);
    expect(state).toEqual({
      step: 20,
      seed: 7,
      cursor: save.cursor,
      hparams: save.hparams,
      versions: save.versions,
      fingerprints: save.fingerprints,
    });
    const own = (await readFile(join(path, "training.json"))).length;
    expect(Object.values(files).reduce((sum, size) => sum + size, own)).toBe(bytes);
  });

  it("has Hugging Face's files in each half and nothing else", async () => {
    const { path } = await saveCheckpoint(toySave(runDir, 1));
    expect((await readdir(path, { recursive: true })).sort()).toEqual([
      "discriminator",
      "discriminator/config.json",
      "discriminator/model.safetensors",
      "discriminator/tokenizer_config.json",
      "discriminator/vocab.txt",
      "generator",
      "generator/config.json",
      "generator/model.safetensors",
      "generator/tokenizer_config.json",
      "generator/vocab.txt",
      "training.json",
      "training.safetensors",
    ]);
    expect(await readFile(join(path, "generator/vocab.txt"), "utf8")).toBe(toyVocabulary);
    expect(await readdir(runDir)).toEqual(["checkpoint-1"]);
  });

  it("holds kernels as [out, in]", async () => {
    const save = toySave(runDir, 1);
    const { path } = await saveCheckpoint(save);
    const kernel = await save.parameters.read("value", "electra/encoder/layer_0/intermediate/dense/kernel");
    const reader = await SafetensorsReader.open(join(path, "discriminator/model.safetensors"));
    const weight = await reader.readFloat32("electra.encoder.layer.0.intermediate.dense.weight");
    await reader.close();
    for (let input = 0; input < 16; input++) {
      for (let output = 0; output < 32; output++) {
        expect(weight[output * 16 + input]).toBe(kernel[input * 32 + output]);
      }
    }
  });

  it("keeps Adam's moments under the reference's slot names", async () => {
    const save = toySave(runDir, 1);
    const { path } = await saveCheckpoint(save);
    const reader = await SafetensorsReader.open(join(path, "training.safetensors"));
    const slots = save.parameters.names().flatMap(({ name }) => [`${name}/adam_m`, `${name}/adam_v`]);
    expect(new Set(reader.tensors.keys())).toEqual(new Set(slots));
    await reader.close();
  });

  it("of a step that is there already replaces it", async () => {
    await saveCheckpoint(toySave(runDir, 5));
    const second = { ...toySave(runDir, 5), cursor: "second" };
    await saveCheckpoint(second);
    expect(await readdir(runDir)).toEqual(["checkpoint-5"]);
    expect((await findLatestCheckpoint(runDir))?.training.cursor).toBe("second");
  });

  it("is refused when the engine hands out too few values", async () => {
    const save = toySave(runDir, 1);
    save.parameters.tensors.set("adam_v:generator_predictions/output_bias", new Float32Array(3));
    await expect(saveCheckpoint(save)).rejects.toMatchObject({
      code: "ERR_ELECTRA_TENSOR_SIZE",
      message: expect.stringContaining(
        '3 values of "generator_predictions/output_bias" (adam_v), expected 39',
      ),
    });
    expect(await readdir(runDir)).toEqual([]);
  });
});

describe("the newest checkpoint", () => {
  it("is the one of the largest step, compared as numbers", async () => {
    for (const step of [9, 100, 20]) await saveCheckpoint(toySave(runDir, step));
    expect((await findLatestCheckpoint(runDir))?.step).toBe(100);
  });

  it("is none where there is no folder or no checkpoint", async () => {
    expect(await findLatestCheckpoint(join(runDir, "none"))).toBeUndefined();
    await mkdir(join(runDir, "checkpoint-best"));
    expect(await findLatestCheckpoint(runDir)).toBeUndefined();
  });

  it.each<[string, (path: string) => Promise<void>, RegExp]>([
    ["a file is missing", (path) => rm(join(path, "generator/vocab.txt")), /ENOENT.*vocab\.txt/],
    [
      "a file is short",
      (path) => truncate(join(path, "training.safetensors"), 100),
      /has 100 bytes instead of/,
    ],
    ["training.json is missing", (path) => rm(join(path, "training.json")), /ENOENT.*training\.json/],
    ["training.json is cut off", (path) => truncate(join(path, "training.json"), 100), /not valid JSON/],
    ["training.json is another's", (path) => writeFile(join(path, "training.json"), "{}"), /"format"/],
  ])("is an older one when %s", async (_name, damage, reason) => {
    await saveCheckpoint(toySave(runDir, 1));
    const { path } = await saveCheckpoint(toySave(runDir, 2));
    await damage(path);
    expect((await findLatestCheckpoint(runDir))?.step).toBe(1);
    const { broken } = await listCheckpoints(runDir);
    expect(broken).toEqual([{ path, reason: expect.stringMatching(reason) }]);
    const restored = zeroStore(toySave(runDir, 1).parameters);
    await expect(loadCheckpoint({ path, parameters: restored })).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_ELECTRA_(CHECKPOINT_INCOMPLETE|TRAINING_STATE)$/),
    });
  });

  it("is not a folder that was renamed to another step", async () => {
    const { path } = await saveCheckpoint(toySave(runDir, 3));
    await cp(path, join(runDir, "checkpoint-30"), { recursive: true });
    expect((await findLatestCheckpoint(runDir))?.step).toBe(3);
  });
});

describe("old checkpoints", () => {
  it.each([
    [2, ["checkpoint-3", "checkpoint-4"]],
    [1, ["checkpoint-4"]],
    [0, ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]],
    [null, ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]],
  ])("go when keep_checkpoint_max is %s", async (keepCheckpointMax, left) => {
    for (let step = 1; step <= 4; step++)
      await saveCheckpoint({ ...toySave(runDir, step), keepCheckpointMax });
    expect((await readdir(runDir)).sort()).toEqual(left);
  });

  it("stay when they cannot be removed, with a warning and not an error", async () => {
    await saveCheckpoint(toySave(runDir, 1));
    const files = new DurableFiles({
      beforeOperation(operation, path) {
        if (operation === "rename" && path.includes(".del-")) throw new Error("held by somebody");
      },
    });
    const saved = await saveCheckpoint({ ...toySave(runDir, 2), keepCheckpointMax: 1, files });
    expect(saved.warnings).toEqual([
      expect.stringMatching(/could not remove .*checkpoint-1: held by somebody/),
    ]);
    expect((await findLatestCheckpoint(runDir))?.step).toBe(2);
  });

  it("are not touched where another program made them", async () => {
    await mkdir(join(runDir, "checkpoint-0"));
    await writeFile(join(runDir, "checkpoint-0", "notes.txt"), "mine");
    await mkdir(join(runDir, "checkpoint-7.tmp-1234"));
    await writeFile(join(runDir, "checkpoint-7.tmp-1234", "notes.txt"), "mine");
    await saveCheckpoint({ ...toySave(runDir, 2), keepCheckpointMax: 1 });
    expect((await readdir(runDir)).sort()).toEqual(["checkpoint-0", "checkpoint-2", "checkpoint-7.tmp-1234"]);
  });
});

describe("a save that is stopped", () => {
  /** Pid 2^22 + 1 is above Linux's largest. */
  const deadPid = 4_194_305;

  it("at any operation leaves the checkpoint before or the new one, whole, and the next save tidies up", async () => {
    const save = (step: number) => ({ ...toySave(runDir, step, oneLayer), keepCheckpointMax: 1 });
    const points = await stoppingPoints(save(0));
    expect(points.length).toBeGreaterThan(30);
    let before = save(0);
    for (const point of points) {
      const stopped = save(before.step + 1);
      await saveCheckpoint({ ...stopped, files: diskThatDiesAfter(point) }).catch(() => {});
      const latest = await findLatestCheckpoint(runDir);
      expect([before.step, stopped.step]).toContain(latest?.step);
      const restored = zeroStore(before.parameters);
      await loadCheckpoint({ path: latest!.path, parameters: restored });
      const expected = latest?.step === stopped.step ? stopped.parameters : before.parameters;
      expect(differences(restored, expected)).toEqual([]);

      // Where even its mark was not written yet, only the age of what is left says that it is left.
      for (const name of await readdir(runDir)) await utimes(join(runDir, name), 0, 0);
      before = save(stopped.step + 1);
      await saveCheckpoint(before);
      expect(await readdir(runDir)).toEqual([`checkpoint-${before.step}`]);
    }
  });

  it("at any operation of replacing a checkpoint leaves one of the two, whole", async () => {
    await saveCheckpoint(toySave(runDir, 1, oneLayer));
    const points = await stoppingPoints(toySave(runDir, 1, oneLayer));
    for (const point of points.slice(-8)) {
      await rm(runDir, { recursive: true, force: true });
      await saveCheckpoint({ ...toySave(runDir, 1, oneLayer), cursor: "first" });
      const files = diskThatDiesAfter(point);
      await saveCheckpoint({ ...toySave(runDir, 1, oneLayer), cursor: "second", files }).catch(() => {});
      const latest = await findLatestCheckpoint(runDir);
      expect(["first", "second"]).toContain(latest?.training.cursor);
    }
  });

  it("by a full disk says so, names the last good checkpoint and removes what it wrote", async () => {
    await saveCheckpoint(toySave(runDir, 1));
    let writes = 0;
    const files = new DurableFiles({
      beforeOperation(operation, path) {
        if (operation === "write" && ++writes === 40) {
          throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC", path });
        }
      },
    });
    await expect(saveCheckpoint({ ...toySave(runDir, 2), files })).rejects.toMatchObject({
      code: "ERR_ELECTRA_DISK_FULL",
      message: expect.stringMatching(
        /no space left for the checkpoint of step 2 at .*model\.safetensors \(\d+ MB free\)/,
      ),
      hint: expect.stringMatching(/The last good one is .*checkpoint-1\.$/),
    });
    expect(await readdir(runDir)).toEqual(["checkpoint-1"]);
  });

  it("by missing permission says so", async () => {
    const files = new DurableFiles({
      beforeOperation(_operation, path) {
        throw Object.assign(new Error("EACCES"), { code: "EACCES", path });
      },
    });
    await expect(saveCheckpoint({ ...toySave(runDir, 2), files })).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_PERMISSION",
      message: expect.stringContaining("no permission to write the checkpoint of step 2"),
    });
  });

  it.each([
    ["of a dead process of this machine", { host: hostname(), pid: deadPid }, false],
    ["of this process, earlier", { host: hostname(), pid: process.pid }, false],
    ["of a living process", { host: hostname(), pid: process.ppid }, true],
    ["of another machine", { host: "elsewhere", pid: deadPid }, true],
  ])("leaves a folder %s, which the next save leaves alone or removes", async (_name, owner, stays) => {
    const folder = join(runDir, `checkpoint-4.tmp-${owner.pid}`);
    await mkdir(folder);
    await writeFile(join(folder, "owner.json"), JSON.stringify(owner));
    await saveCheckpoint(toySave(runDir, 5));
    expect((await readdir(runDir)).length).toBe(stays ? 2 : 1);
  });
});

describe("loading", () => {
  it("another model's checkpoint is refused with a table, and the engine stays as it was", async () => {
    const { path } = await saveCheckpoint(toySave(runDir, 1));
    const other = toySave(runDir, 1, {
      vocab_size: 50,
      model_hparam_overrides: {
        hidden_size: 16,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 16,
      },
    }).parameters;
    const before = new Map(other.tensors);
    const failure = await loadCheckpoint({ path, parameters: other }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_ELECTRA_CHECKPOINT_MISMATCH" });
    const { message } = failure as Error;
    expect(message).toContain(`${path} holds another model`);
    expect(message).toMatch(/electra\/embeddings\/word_embeddings\/adam_m +\[39, 8\] +\[50, 8\]/);
    expect(message).toMatch(/generator\/encoder\/layer_2\/\S+ +missing +\[\d+/);
    expect(message).toMatch(/… and \d+ more$/);
    expect([...other.tensors].filter(([name, values]) => before.get(name) !== values)).toEqual([]);
  });

  it("weights of a larger model names the tensors that this one does not know", async () => {
    const { path } = await saveCheckpoint(toySave(runDir, 1));
    const small = toySave(runDir, 1, { electra_objective: false }).parameters;
    await expect(
      loadWeights({ folders: { generator: join(path, "discriminator") }, parameters: small }),
    ).rejects.toThrow(/generator: discriminator_predictions\.dense\.bias +\[16\] +unknown/);
  });

  it("halves whose shared tensors differ is refused with the tensor's name", async () => {
    const save = toySave(runDir, 1);
    const { path } = await saveCheckpoint(save);
    const file = join(path, "generator/model.safetensors");
    const reader = await SafetensorsReader.open(file);
    const { begin } = reader.tensors.get("electra.embeddings.position_embeddings.weight")!;
    await reader.close();
    const bytes = await readFile(file);
    const at = 8 + Number(bytes.readBigUint64LE(0)) + begin;
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(file, bytes);
    const restored = zeroStore(save.parameters);
    await expect(loadCheckpoint({ path, parameters: restored })).rejects.toMatchObject({
      code: "ERR_ELECTRA_SHARED_TENSOR",
      message: expect.stringContaining("electra/embeddings/position_embeddings is shared by both halves"),
    });
    expect(differences(restored, zeroStore(save.parameters))).toEqual([]);
  });

  it.each([
    ["num_attention_heads", 4],
    ["hidden_act", "gelu_new"],
  ] as const)("with another %s is refused although every tensor fits", async (field, value) => {
    const save = toySave(runDir, 1);
    const { path } = await saveCheckpoint(save);
    const configs = { ...save.configs, discriminator: { ...save.configs.discriminator!, [field]: value } };
    await expect(
      loadCheckpoint({ path, parameters: zeroStore(save.parameters), configs }),
    ).rejects.toMatchObject({ code: "ERR_ELECTRA_CONFIG_MISMATCH", message: expect.stringContaining(field) });
  });

  it("the discriminator alone needs no generator", async () => {
    const save = toySave(runDir, 1);
    const { path } = await saveCheckpoint(save);
    const alone = zeroStore(toySave(runDir, 1, { uniform_generator: true }).parameters);
    await loadWeights({ folders: { discriminator: join(path, "discriminator") }, parameters: alone });
    for (const { name } of alone.names()) {
      expect(await alone.read("value", name)).toEqual(await save.parameters.read("value", name));
    }
  });
});

describe("fingerprints", () => {
  const { fingerprints } = toySave("", 1);

  it("that are equal do not differ, whatever the order of their keys", () => {
    expect(compareFingerprints(fingerprints, { ...fingerprints, data: { bytes: 1234, files: 2 } })).toEqual(
      [],
    );
  });

  it("that differ are listed with both values", () => {
    expect(
      compareFingerprints(fingerprints, { ...fingerprints, threads: 4, data: { files: 3, bytes: 1234 } }),
    ).toEqual([
      { name: "data", saved: { files: 2, bytes: 1234 }, current: { files: 3, bytes: 1234 } },
      { name: "threads", saved: 2, current: 4 },
    ]);
  });
});
