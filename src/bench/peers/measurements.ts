import { join } from "node:path";
import type { Comparison, Figures, Side } from "./alternation.js";
import { BusyNeighbour } from "./busy-neighbour.js";
import { numbersOf, runForJson, ServedPeer } from "./child-runs.js";

/** Where everything lies, and how long to measure. */
export interface PeerSettings {
  /** The package's folder. */
  readonly root: string;
  readonly threads: number;
  /** Timed steps of a run; undefined: each benchmark's own number. */
  readonly steps?: number;
  /** A Python with PyTorch, transformers and tokenizers. */
  readonly python?: string;
  /** A folder with node_modules/onnxruntime-node. */
  readonly onnxRuntime?: string;
  /** Holds vocab.txt and finetuning_data/cola/. */
  readonly dataDir?: string;
  /** A text file, plain. */
  readonly textFile?: string;
  readonly vocabFile?: string;
  /** For what is made once: models, records. */
  readonly workDir: string;
  readonly signal?: AbortSignal;
}

/** Two sides, ready to run. */
export interface OpenedMeasurement {
  readonly ours: Side;
  readonly peer?: Side;
  /** "PyTorch 2.13.0, compiled" */
  readonly peerName?: string;
  readonly close: () => Promise<void>;
}

export interface Measurement {
  readonly name: string;
  /** What is measured, for the report. */
  readonly title: string;
  /** What it needs beside the package; asked before anything runs. */
  readonly needs: readonly ("python" | "onnxRuntime" | "dataDir" | "textFile" | "vocabFile")[];
  readonly comparisons: readonly Comparison[];
  readonly open: (settings: PeerSettings) => Promise<OpenedMeasurement>;
}

const atMost = (part: number) => 1 / part;
const memory: Comparison = {
  name: "peak memory",
  key: "peak_mb",
  unit: "MiB",
  better: "lower",
  bar: atMost(0.6),
};
const latency = (bar: number): readonly Comparison[] => [
  { name: "median", key: "ms_median", unit: "ms", better: "lower", bar },
  { name: "99th percentile", key: "ms_p99", unit: "ms", better: "lower" },
];
const speed = (bar: number): Comparison => ({
  name: "speed",
  key: "tokens_per_s",
  unit: "tokens/s",
  better: "higher",
  bar,
});

/** All of them, in the order of the report. */
export const measurements: readonly Measurement[] = [
  stepAgainst("step", "compiled", { size: "small", rows: 16, bar: 2 }),
  stepAgainst("step-eager", "eager", { size: "small", rows: 16, bar: 2.2 }),
  stepAgainst("step-base", "compiled", { size: "base", rows: 4, bar: 1.35 }),
  {
    name: "finetune",
    title: "fine-tuning ELECTRA-Small on CoLA, 32 rows, padded to the longest",
    needs: ["python", "dataDir"],
    comparisons: [
      { name: "training", key: "train_ex_per_s", unit: "examples/s", better: "higher", bar: 2.5 },
      { name: "evaluation", key: "eval_ex_per_s", unit: "examples/s", better: "higher", bar: 2 },
      { name: "peak memory", key: "peak_mb", unit: "MiB", better: "lower" },
    ],
    open: async (settings) => {
      const task = join(settings.dataDir!, "finetuning_data", "cola");
      const files = ["--vocab", join(settings.dataDir!, "vocab.txt"), "--train", join(task, "train.tsv")];
      return await withServed(
        settings,
        [
          ...python(settings, "torch_finetune.py"),
          ...files,
          ...["--dev", join(task, "dev.tsv"), "--batch", "32", "--threads", String(settings.threads)],
        ],
        ["bench", "finetune", "--task", "cola", "--data-dir", settings.dataDir!, "--batch-size", "32"],
        40,
      );
    },
  },
  ...([16, 128] as const).flatMap((tokens) => [
    {
      name: `predict-${tokens}`,
      title: `one answer of a small classifier, ${tokens} tokens, beside compiled PyTorch`,
      needs: ["python"],
      comparisons: latency(atMost(tokens === 16 ? 0.5 : 0.7)),
      open: (settings) =>
        withServed(
          settings,
          [
            ...python(settings, "torch_latency.py"),
            ...["--mode", "compiled", "--tokens", String(tokens), "--threads", String(settings.threads)],
          ],
          predict(tokens),
          100,
        ),
    } satisfies Measurement,
    {
      name: `predict-${tokens}-onnx`,
      title: `one answer of a small classifier, ${tokens} tokens, beside onnxruntime-node`,
      needs: ["onnxRuntime", "dataDir"],
      comparisons: latency(1),
      open: async (settings) =>
        withServed(
          settings,
          [
            ...[process.execPath, join(settings.root, "bench/peers/onnx_latency.mjs")],
            ...["--runtime", settings.onnxRuntime!, "--model", await exportedClassifier(settings)],
            ...["--tokens", String(tokens), "--threads", String(settings.threads)],
          ],
          predict(tokens),
          100,
        ),
    } satisfies Measurement,
  ]),
  {
    name: "tokenizer",
    title: "the tokenizer beside Hugging Face's Rust library, one thread",
    needs: ["python", "textFile", "vocabFile"],
    comparisons: [
      { name: "bytes, cold", key: "bytes_cold_mb_per_s", unit: "MB/s", better: "higher", bar: 25 },
      { name: "bytes, warm", key: "bytes_warm_mb_per_s", unit: "MB/s", better: "higher" },
      { name: "strings, cold", key: "strings_cold_mb_per_s", unit: "MB/s", better: "higher", bar: 10 },
      { name: "strings, warm", key: "strings_warm_mb_per_s", unit: "MB/s", better: "higher" },
      { name: "tokens", key: "tokens", unit: "", better: "higher" },
    ],
    open: async (settings) => {
      const files = ["--input", settings.textFile!];
      const served = await ServedPeer.start(
        [...python(settings, "hf_tokenizers.py"), "--vocab", settings.vocabFile!, ...files],
        child(settings),
      );
      return {
        ours: () => ours(settings, ["bench", "tokenizer", "--vocab-file", settings.vocabFile!, ...files]),
        // The library keeps no cache worth the name: one figure stands beside all of ours.
        peer: async () => {
          const { mb_per_s: rate, tokens } = numbersOf(await served.run(1)) as Record<string, number>;
          return {
            bytes_cold_mb_per_s: rate!,
            bytes_warm_mb_per_s: rate!,
            strings_cold_mb_per_s: rate!,
            strings_warm_mb_per_s: rate!,
            tokens: tokens!,
          };
        },
        peerName: String(served.ready["peer"]),
        close: () => served.close(),
      };
    },
  },
  {
    name: "dataset",
    title: "building records from text, on one thread and on all",
    needs: ["textFile", "vocabFile"],
    comparisons: [
      { name: "times tokenizing alone", key: "times_tokenizing", unit: "", better: "lower", limit: 1.5 },
      { name: "one thread", key: "mb_per_s", unit: "MB/s", better: "higher" },
      { name: "all threads", key: "threads_mb_per_s", unit: "MB/s", better: "higher" },
    ],
    open: async (settings) => {
      const build = (threads: number) =>
        ours(settings, [
          ...["bench", "dataset", "--vocab-file", settings.vocabFile!, "--input", settings.textFile!],
          ...["--threads", String(threads)],
        ]);
      return {
        ours: async () => ({
          ...(await build(1)),
          threads_mb_per_s: (await build(settings.threads))["mb_per_s"]!,
        }),
        close: async () => {},
      };
    },
  },
  {
    name: "loader",
    title: "shuffled batches from record files",
    needs: [],
    comparisons: [
      { name: "loader", key: "tokens_per_s", unit: "tokens/s", better: "higher", limit: 10e6 },
      { name: "event loop late, p99", key: "loop_delay_p99_ms", unit: "ms", better: "lower", limit: 5 },
    ],
    open: async (settings) => ({
      ours: async () =>
        numbersOf(
          await runForJson(
            [process.execPath, join(settings.root, "bench/loader.mjs"), "--json"],
            child(settings),
          ),
        ),
      close: async () => {},
    }),
  },
  {
    name: "startup",
    title: "start of the command and of the library",
    needs: [],
    comparisons: [
      { name: "--help", key: "help_ms", unit: "ms", better: "lower", limit: 120 },
      {
        name: "--help beyond bare Node.js",
        key: "help_over_node_ms",
        unit: "ms",
        better: "lower",
        limit: 60,
      },
      { name: "import", key: "import_ms", unit: "ms", better: "lower", limit: 80 },
    ],
    open: async (settings) => ({
      ours: () => ours(settings, ["bench", "startup"]),
      close: async () => {},
    }),
  },
  {
    name: "neighbour",
    title: "the step while another process keeps one of the cores busy, as a part of the quiet step",
    needs: ["python"],
    comparisons: [
      { name: "speed kept", key: "kept", unit: "", better: "higher", limit: 0.55 },
      { name: "quiet", key: "quiet", unit: "tokens/s", better: "higher" },
      { name: "disturbed", key: "disturbed", unit: "tokens/s", better: "higher" },
    ],
    open: async (settings) => {
      const opened = await openStep(settings, "compiled", "small", 16);
      const kept = async (side: Side): Promise<Figures> => {
        const quiet = (await side())["tokens_per_s"]!;
        await using _ = await BusyNeighbour.start();
        const disturbed = (await side())["tokens_per_s"]!;
        return { kept: disturbed / quiet, quiet, disturbed };
      };
      return { ...opened, ours: () => kept(opened.ours), peer: () => kept(opened.peer!) };
    },
  },
];

function stepAgainst(
  name: string,
  mode: "eager" | "compiled",
  { size, rows, bar }: { size: "small" | "base"; rows: number; bar: number },
): Measurement {
  return {
    name,
    title: `a pre-training step of ELECTRA-${size === "small" ? "Small" : "Base"}, ${rows} x 128 tokens, beside ${mode} PyTorch`,
    needs: ["python"],
    comparisons: [
      speed(bar),
      size === "small" ? memory : { name: "peak memory", key: "peak_mb", unit: "MiB", better: "lower" },
      ...(name === "step"
        ? ([
            { name: "share of the GEMM ceiling", key: "gemm_ceiling_share", unit: "", better: "higher" },
            { name: "event loop late, p99", key: "loop_delay_p99_ms", unit: "ms", better: "lower", limit: 5 },
            {
              name: "engine call, share of a step",
              key: "call_share",
              unit: "",
              better: "lower",
              limit: 0.01,
            },
          ] as const)
        : []),
    ],
    open: (settings) => openStep(settings, mode, size, rows),
  };
}

function openStep(
  settings: PeerSettings,
  mode: "eager" | "compiled",
  size: "small" | "base",
  rows: number,
): Promise<OpenedMeasurement & { readonly peer: Side }> {
  return withServed(
    settings,
    [
      ...python(settings, "torch_pretrain.py"),
      ...["--device", "cpu", "--weights", "f32", "--mode", mode, "--size", size, "--rows", String(rows)],
      ...["--length", "128", "--threads", String(settings.threads)],
    ],
    ["bench", "step", "--model-size", size, "--batch-size", String(rows), "--max-seq-length", "128"],
    10,
  );
}

function predict(tokens: number): readonly string[] {
  return ["bench", "predict", "--batch-size", "1", "--max-seq-length", String(tokens)];
}

/** Ours as a command of its own each time, as a user runs it; the peer prepared once, because compiling takes longer than measuring. */
async function withServed(
  settings: PeerSettings,
  peer: readonly string[],
  command: readonly string[],
  usualSteps: number,
): Promise<OpenedMeasurement & { readonly peer: Side }> {
  const served = await ServedPeer.start(peer, child(settings));
  const steps = settings.steps ?? usualSteps;
  const more = ["--steps", String(steps), "--device", "cpu", "--threads", String(settings.threads)];
  return {
    ours: () => ours(settings, [...command, ...more]),
    peer: async () => numbersOf(await served.run(steps)),
    peerName: String(served.ready["peer"] ?? `PyTorch ${served.ready["torch"]}`),
    close: () => served.close(),
  };
}

function child({ root, signal }: PeerSettings) {
  return { cwd: root, ...(signal === undefined ? {} : { signal }) };
}

/** The command itself, without npx. */
async function ours(settings: PeerSettings, command: readonly string[]): Promise<Figures> {
  const script = join(settings.root, "scripts/electra-native.mjs");
  return numbersOf(await runForJson([process.execPath, script, ...command, "--json"], child(settings)));
}

function python(settings: PeerSettings, script: string): readonly string[] {
  return [settings.python!, "-B", join(settings.root, "bench/peers", script), "--serve"];
}

/** An ONNX model of a small classifier, made once: a few steps of fine-tuning from random weights, then an export. */
async function exportedClassifier(settings: PeerSettings): Promise<string> {
  const { makeClassifier } = await import("./exported-classifier.js");
  return await makeClassifier({
    dataDir: settings.dataDir!,
    workDir: settings.workDir,
    ...(settings.signal === undefined ? {} : { signal: settings.signal }),
  });
}
