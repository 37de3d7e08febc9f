// The readers under test: good files to begin with, how they are damaged with their check sums left wrong or made right again,
// and what reading them through means.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { mutateBytes, mutateText, varintBytes } from "./mutations.mjs";

const fixture = (path) =>
  Uint8Array.from(readFileSync(fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url))));

/** Opens the given files by name. */
async function opener(load, files) {
  const { MemorySource } = await load("checkpoint/byte-source.js");
  const { ElectraError } = await load("errors.js");
  return async (path) => {
    if (files[path] === undefined)
      throw new ElectraError("ERR_ELECTRA_FILE_NOT_FOUND", `${path} does not exist`);
    return new MemorySource(path, files[path]);
  };
}

/** Opens a file of tensors, reads each as what it is, and goes on behind those that are refused. */
async function readTensors(open, done, ElectraError) {
  const file = await open();
  done();
  let refused;
  for (const [name, { dtype }] of file.tensors) {
    try {
      if (dtype === "STRING") await file.readStrings(name);
      else if (/^B?F\d/.test(dtype) && !dtype.startsWith("F8")) await file.readFloat32(name);
      else if (!dtype.startsWith("F8")) await file.readIntegers(name);
      else for await (const _ of file.chunks(name));
    } catch (error) {
      if (!(error instanceof ElectraError)) throw error;
      refused = error;
    }
    done();
  }
  await file.close();
  if (refused !== undefined) throw refused;
}

const tfrecord = {
  name: "tfrecord",
  async prepare(load) {
    const { maskedCrc32c } = await load("data/crc32c.js");
    const { readRecords } = await load("data/tfrecord-reader.js");
    const { decodeExample } = await load("data/example-proto.js");
    const { PretrainingExampleDecoder } = await load("data/pretraining-example-decoder.js");
    const good = fixture("golden/tfrecord/broken/good.tfrecord");
    const lengths = recordStarts(good);
    /** Both sums of every record, as far as the lengths make sense. */
    const repair = (bytes) => {
      const view = new DataView(bytes.buffer);
      for (const start of recordStarts(bytes)) {
        const length = Number(view.getBigUint64(start, true));
        view.setUint32(start + 8, maskedCrc32c(bytes, start, start + 8), true);
        if (length <= bytes.length - start - 16) {
          view.setUint32(start + 12 + length, maskedCrc32c(bytes, start + 12, start + 12 + length), true);
        }
      }
      return bytes;
    };
    return {
      originals: [{ "x.tfrecord": good }],
      mutate(random) {
        const places = lengths.flatMap((start) => [
          start,
          start + 4,
          start + 8,
          start + 12,
          start + 14,
          start + 20,
        ]);
        const bytes = mutateBytes(good, random, places);
        return { "x.tfrecord": random.chance(0.5) ? repair(bytes) : bytes };
      },
      async read({ "x.tfrecord": bytes }, done) {
        const decoder = new PretrainingExampleDecoder({ maxSeqLength: 64, vocabSize: 1000 });
        const [ids, segments] = [new Int32Array(64), new Int32Array(64)];
        for (const { payload, ...place } of readRecords(bytes, "x.tfrecord")) {
          decodeExample(payload, place);
          decoder.decode(payload, 0, payload.length, ids, segments, 0, place);
          done();
        }
      },
    };
  },
};

function recordStarts(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const starts = [];
  for (let at = 0; at + 16 <= bytes.length; ) {
    starts.push(at);
    const length = view.getBigUint64(at, true);
    if (length > BigInt(bytes.length - at - 16)) break;
    at += 16 + Number(length);
  }
  return starts;
}

const tensorflow = {
  name: "tensorflow",
  async prepare(load) {
    const { readSortedTable } = await load("checkpoint/tensorflow/sorted-table.js");
    const { formatSortedTable } = await load("checkpoint/tensorflow/sorted-table-writer.js");
    const { TensorBundleReader } = await load("checkpoint/tensorflow/tensor-bundle.js");
    const { formatBundleEntry, parseBundleEntry } = await load("checkpoint/tensorflow/bundle-entry.js");
    const { ElectraError } = await load("errors.js");
    const { maskedCrc32c } = await load("data/crc32c.js");
    const index = fixture("golden/checkpoint_micro/single.ckpt.index");
    const data = fixture("golden/checkpoint_micro/single.ckpt.data-00000-of-00001");
    const entries = [...readSortedTable(index)].map(({ key, value }) => ({
      key: key.slice(),
      value: value.slice(),
    }));
    const repairBlocks = (bytes) => {
      // The seed's own blocks, where they were: data, meta index, index.
      const view = new DataView(bytes.buffer);
      for (const [offset, size] of [
        [0, 523],
        [528, 8],
        [541, 15],
      ]) {
        if (offset + size + 5 > bytes.length) continue;
        view.setUint32(offset + size + 1, maskedCrc32c(bytes, offset, offset + size + 1), true);
      }
      return bytes;
    };
    /** A block as it is stored: contents, type of compression, sum. */
    const stored = (contents, type) => {
      const bytes = Uint8Array.from([...contents, type, 0, 0, 0, 0]);
      new DataView(bytes.buffer).setUint32(
        contents.length + 1,
        maskedCrc32c(bytes, 0, contents.length + 1),
        true,
      );
      return bytes;
    };
    /** A table whose data block is this Snappy stream. */
    const compressed = (stream) => {
      const block = stored(stream, 1);
      const meta = stored(index.subarray(528, 536), 0);
      const handle = [0, ...varintBytes(stream.length)];
      const indexContents = [0, 1, handle.length, 116, ...handle, 0, 0, 0, 0, 1, 0, 0, 0];
      const footer = new Uint8Array(48);
      footer.set(
        [block.length, block.length + meta.length].flatMap((at, part) => [
          ...varintBytes(at),
          part === 0 ? 8 : indexContents.length,
        ]),
      );
      footer.set(index.subarray(index.length - 8), 40);
      return Uint8Array.from(Buffer.concat([block, meta, stored(indexContents, 0), footer]));
    };
    const literal = (from, to) => [
      61 << 2,
      (to - from - 1) & 255,
      (to - from - 1) >> 8,
      ...index.subarray(from, to),
    ];
    // The block's 523 bytes, of which the last two are copied from the one before them.
    const stream = Uint8Array.from([
      ...varintBytes(523),
      ...literal(0, 300),
      ...literal(300, 519),
      1 << 2,
      2,
      0,
      (1 << 2) | 2,
      1,
      0,
    ]);
    /** The index with the check sums that the data have now. */
    const withSumsOf = (changed) =>
      formatSortedTable(
        entries.map(({ key, value }) => {
          if (key.length === 0) return { key, value };
          const entry = parseBundleEntry(value);
          const crc = maskedCrc32c(
            changed,
            entry.offset,
            Math.min(entry.offset + entry.size, changed.length),
          );
          return { key, value: entry.dtype === "STRING" ? value : formatBundleEntry({ ...entry, crc }) };
        }),
      );
    return {
      originals: [index, compressed(stream)].map((each) => ({
        "m.index": each,
        "m.data-00000-of-00001": data,
      })),
      mutate(random) {
        const files = { "m.index": index, "m.data-00000-of-00001": data };
        const kind = random.below(5);
        if (kind === 0)
          files["m.index"] = mutateBytes(index, random, [
            0,
            1,
            2,
            3,
            523,
            524,
            528,
            541,
            index.length - 48,
            index.length - 8,
          ]);
        else if (kind === 1) {
          files["m.index"] = repairBlocks(
            mutateBytes(index, random, [0, 1, 2, 3, 11, 12, 515, 519, 523, 541, 542, 543, 545]),
          );
        } else if (kind === 2) {
          // Entries changed, and a table with right sums built of them; keys may come out of order.
          const changed = entries.map(({ key, value }) => ({ key, value }));
          for (let times = 1 + random.below(3); times > 0; times--) {
            const at = random.below(changed.length);
            const part = random.chance(0.85) ? "value" : "key";
            changed[at] = {
              ...changed[at],
              [part]: mutateBytes(changed[at][part], random, [0, 1, 2, 3, 4, 5, 6, 8]),
            };
          }
          if (random.chance(0.1)) changed.splice(random.below(changed.length), 1);
          files["m.index"] = formatSortedTable(changed, random.pick([64, 262_144]));
        } else if (kind === 3) {
          files["m.index"] = compressed(
            mutateBytes(stream, random, [0, 1, 2, 3, 4, 305, 306, 307, 527, 530, 533]),
          );
        } else {
          const changed = mutateBytes(data, random);
          files["m.data-00000-of-00001"] = changed;
          if (random.chance(0.5)) files["m.index"] = withSumsOf(changed);
        }
        return files;
      },
      async read(files, done) {
        const open = await opener(load, files);
        await readTensors(() => TensorBundleReader.open("m", open), done, ElectraError);
      },
    };
  },
};

const safetensors = {
  name: "safetensors",
  async prepare(load) {
    const { SafetensorsReader } = await load("checkpoint/safetensors.js");
    const { DTYPE_BYTES, formatHeader } = await load("checkpoint/safetensors-header.js");
    const { MemorySource } = await load("checkpoint/byte-source.js");
    const { ElectraError } = await load("errors.js");
    const dtypes = Object.keys(DTYPE_BYTES).sort((a, b) => DTYPE_BYTES[b] - DTYPE_BYTES[a]);
    const tensors = dtypes.map((dtype, index) => ({
      name: `layer.${index}.weight`,
      dtype,
      shape: [2, index % 4, 16],
    }));
    const header = formatHeader(tensors, { format: "pt" });
    const dataBytes = tensors.reduce((sum, { dtype, shape }) => sum + 32 * shape[1] * DTYPE_BYTES[dtype], 0);
    const data = Uint8Array.from({ length: dataBytes }, (_, index) => (index * 37) & 255);
    const join = (head, rest) => Uint8Array.from(Buffer.concat([head, rest]));
    return {
      originals: [{ x: join(header, data) }],
      mutate(random) {
        if (random.chance(0.3)) return { x: mutateBytes(join(header, data), random, [0, 1, 2, 4, 7, 8]) };
        const text = mutateText(header.subarray(8), random);
        const length = Buffer.alloc(8);
        // Half with the length that the header has now.
        length.writeBigUInt64LE(BigInt(random.chance(0.7) ? text.length : header.length - 8));
        return { x: join(join(length, text), random.chance(0.8) ? data : mutateBytes(data, random)) };
      },
      async read({ x }, done) {
        await readTensors(() => SafetensorsReader.read(new MemorySource("x", x)), done, ElectraError);
      },
    };
  },
};

const pytorch = {
  name: "pytorch",
  async prepare(load) {
    const { PytorchReader } = await load("checkpoint/pytorch/pytorch-reader.js");
    const { ZipArchive } = await load("checkpoint/pytorch/zip-archive.js");
    const { MemorySource } = await load("checkpoint/byte-source.js");
    const { ElectraError } = await load("errors.js");
    const archive = fixture("pytorch/tensors.bin");
    const legacy = fixture("pytorch/tensors_legacy.bin");
    const opened = await ZipArchive.open(new MemorySource("seed", archive));
    const files = [];
    for (const name of opened.entries.keys()) files.push({ name, bytes: await opened.read(name) });
    const directory = archive.length - 22 - 20 - 56;
    const directoryStart = Buffer.from(archive).indexOf("PK\x01\x02", "latin1");
    const places = [
      directory,
      directory + 24,
      directory + 32,
      directory + 40,
      directory + 48,
      archive.length - 12,
      archive.length - 6,
    ].concat(
      Array.from(
        { length: 12 },
        (_, index) => directoryStart + [10, 16, 20, 24, 28, 30, 42][index % 7] + 46 * Math.floor(index / 7),
      ),
    );
    // Opcodes and their arguments stand close together: any byte of a pickle means something.
    const pickle = (bytes, random) => mutateBytes(bytes, random);
    return {
      originals: [{ x: archive }, { x: storedZip(files) }, { x: legacy }],
      mutate(random) {
        switch (random.below(4)) {
          case 0:
            return { x: mutateBytes(archive, random, places) };
          case 1: {
            const at = random.chance(0.7)
              ? files.findIndex(({ name }) => name.endsWith("data.pkl"))
              : random.below(files.length);
            const changed = files.map((file, index) =>
              index === at ? { ...file, bytes: pickle(file.bytes, random) } : file,
            );
            return { x: storedZip(changed) };
          }
          case 2:
            return { x: pickle(legacy, random) };
          default:
            return {
              x: pickle(legacy.subarray(0, 1000), random).length > 0 ? spliceHead(legacy, random) : legacy,
            };
        }
      },
      async read({ x }, done) {
        await readTensors(() => PytorchReader.read(new MemorySource("x.bin", x)), done, ElectraError);
      },
    };
  },
};

/** Only the pickles in front are damaged, the storages behind stay as they are. */
function spliceHead(legacy, random) {
  const head = 150 + random.below(1000);
  return Uint8Array.from(
    Buffer.concat([mutateBytes(legacy.subarray(0, head), random), legacy.subarray(head)]),
  );
}

/** A ZIP archive of stored files with right check sums. */
function storedZip(files) {
  const [local, central] = [[], []];
  let offset = 0;
  for (const { name, bytes } of files) {
    const common = Buffer.alloc(26);
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(bytes.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    local.push(Buffer.from("PK\x03\x04", "latin1"), common, Buffer.from(name), bytes);
    const entry = Buffer.alloc(42);
    common.copy(entry, 2);
    entry.writeUInt32LE(offset, 38);
    central.push(Buffer.from("PK\x01\x02", "latin1"), entry, Buffer.from(name));
    offset += 30 + Buffer.byteLength(name) + bytes.length;
  }
  const size = central.reduce((sum, piece) => sum + piece.length, 0);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Uint8Array.from(Buffer.concat([...local, ...central, end]));
}

const vocabulary = {
  name: "vocab",
  async prepare(load) {
    const { Vocabulary } = await load("tokenization/vocabulary.js");
    const { Tokenizer } = await load("tokenization/tokenizer.js");
    const good = fixture("golden/data/vocab.txt");
    return {
      originals: [{ "vocab.txt": good }],
      mutate: (random) => ({
        "vocab.txt": random.chance(0.5) ? mutateBytes(good, random) : mutateText(good, random),
      }),
      async read({ "vocab.txt": bytes }, done, forget) {
        const words = Vocabulary.parse(Buffer.from(bytes).toString("utf8"), { source: "vocab.txt" });
        words.require(["[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
        done();
        // Some of them only: a large vocabulary's tree takes milliseconds.
        if (words.size % 8 !== 0) return;
        const tokenizer = new Tokenizer({ vocabulary: words, lowerCase: true, stripAccents: true });
        tokenizer.encode("Some words, and ünusual ones: 北京 xyzzy");
        // A tokenizer has tables and a cache whose size does not depend on the file.
        forget();
      },
    };
  },
};

/** A reader of one JSON text: a pure function. */
function json(name, module, functionName, text, parse = (read, string) => read(string, name)) {
  return {
    name,
    async prepare(load) {
      const { [functionName]: read } = await load(module);
      const good = Uint8Array.from(Buffer.from(typeof text === "function" ? await text(load) : text));
      return {
        originals: [{ [name]: good }],
        mutate: (random) => ({ [name]: mutateText(good, random) }),
        read: async (files) => void parse(read, Buffer.from(files[name]).toString("utf8")),
      };
    },
  };
}

const training = JSON.stringify({
  format: "electra-native-training",
  format_version: 1,
  step: 20,
  seed: 1,
  cursor: 160,
  versions: { "electra-native": "0.1.0" },
  fingerprints: {
    data: { files: 1 },
    package: "0.1.0",
    isa: "avx2",
    gemm: "x",
    precision: "f32",
    device: "cpu",
    threads: 2,
  },
  hparams: { learning_rate: 5e-4, model_size: "small" },
  files: { "generator/config.json": 700 },
});

const onnx = {
  name: "onnx",
  async prepare(load) {
    const { readOnnxFrom } = await load("interop/onnx/read-onnx.js");
    const { attribute, GraphBuilder } = await load("interop/onnx/graph-builder.js");
    const { writeOnnx } = await load("interop/onnx/write-onnx.js");
    const graph = new GraphBuilder("fuzz");
    const x = graph.input("x", "float", ["rows", 3]);
    const product = graph.node("MatMul", [x, graph.kernel("dense.weight", 3, 2)]);
    const sum = graph.node("Add", [product, graph.weight("dense.bias", [2])]);
    const turned = graph.node("Transpose", [sum], { perm: attribute.ints([1, 0]) });
    graph.output("y", graph.node("Mul", [turned, graph.floats(0.1)]), "float", [2, "rows"]);
    const built = graph.build();
    /** The model and, where they are apart, its weights, in memory. */
    const written = async (embeddedBytes) => {
      const files = {};
      const createFile = async (path, contents) => {
        const pieces = [];
        for await (const piece of contents) pieces.push(piece);
        files[path] = Uint8Array.from(Buffer.concat(pieces));
        return files[path].length;
      };
      const weightData = ({ shape }) => [new Uint8Array(4 * shape.reduce((a, b) => a * b, 1))];
      const options = {
        graph: built,
        weightData,
        producerVersion: "0",
        files: { createFile },
        embeddedBytes,
      };
      await writeOnnx("x.onnx", options);
      return { "x.onnx": files["x.onnx"] };
    };
    const originals = [await written(2 ** 20), await written(0)];
    return {
      originals,
      mutate(random) {
        const good = random.pick(originals)["x.onnx"];
        // Most lengths of blocks stand where a tag does not; any place is good.
        return { "x.onnx": mutateBytes(good, random, Array.from(good.keys())) };
      },
      async read(files, done) {
        const open = await opener(load, files);
        await readOnnxFrom(await open("x.onnx"));
        done();
      },
    };
  },
};

export const readers = [
  tfrecord,
  tensorflow,
  safetensors,
  pytorch,
  vocabulary,
  json("config.json", "checkpoint/hf-config.js", "parseHfConfig", () =>
    Buffer.from(fixture("golden/hf/pretraining/config.json")),
  ),
  json("training.json", "checkpoint/training-state.js", "parseTrainingFile", training),
  json(
    "weights-index.json",
    "checkpoint/folder-tensors.js",
    "parseWeightsIndex",
    JSON.stringify({
      metadata: { total_size: 9 },
      weight_map: { "a.weight": "model-1.safetensors", "a.bias": "model-2.safetensors" },
    }),
  ),
  json(
    "checkpoint",
    "checkpoint/tensorflow/find-bundle.js",
    "parseCheckpointState",
    'model_checkpoint_path: "model.ckpt-5"\nall_model_checkpoint_paths: "model.ckpt-5"\n',
  ),
  onnx,
];
