import { cpus } from "node:os";
import { packageVersion } from "../../package-root.js";
import { measureGemmCeiling } from "../gemm-ceiling.js";
import { alternate, compare, type Pair } from "./alternation.js";
import { type Measurement, measurements, type PeerSettings } from "./measurements.js";
import { countOutcomes, type MeasuredPeer, type PeerReport } from "./peer-report.js";

export interface PeerBenchmarkOptions extends PeerSettings {
  /** Names of measurements; default: all. */
  readonly only?: readonly string[];
  /** Pairs of each. Default 7. */
  readonly pairs?: number;
  /** Told before each measurement, in a line. */
  readonly onLine?: (line: string) => void;
  /** Told after each. */
  readonly onMeasured?: (measured: MeasuredPeer) => void;
}

/** How to get what a measurement needs. */
const remedies = {
  python:
    "no Python with PyTorch: python3 -m venv peers && peers/bin/pip install torch==2.13.0 transformers tokenizers numpy, then --python peers/bin/python",
  onnxRuntime: "no onnxruntime-node: npm install --prefix peers onnxruntime-node, then --onnx-runtime peers",
  dataDir: "no data: --data-dir names a folder with vocab.txt and finetuning_data/cola/",
  textFile: "no text: --input names a text file, a few megabytes of English",
  vocabFile: "no vocabulary: --vocab-file names BERT's, or --data-dir a folder that holds it",
} as const;

/**
 * Measures ours and the peers, one measurement after the other, in alternating pairs. What is not there is skipped, with the way to
 * get it; a measurement that fails does not end the others.
 *
 * @throws the signal's reason after an abort
 */
export async function benchmarkPeers(options: PeerBenchmarkOptions): Promise<PeerReport> {
  const { only, onLine, onMeasured, signal } = options;
  const measured: MeasuredPeer[] = [];
  for (const each of measurements) {
    if (only !== undefined && !only.includes(each.name)) continue;
    onLine?.(`${each.name}: ${each.title}`);
    let result: MeasuredPeer;
    try {
      result = await measure(each, options);
    } catch (error) {
      signal?.throwIfAborted();
      const { message, hint } = error as Error & { hint?: string };
      result = empty(each, { failed: hint === undefined ? message : `${message}\n${hint}` });
    }
    measured.push(result);
    onMeasured?.(result);
  }
  return {
    time: new Date().toISOString(),
    machine: `${cpus().length} x ${cpus()[0]?.model ?? process.arch}`,
    threads: options.threads,
    versions: { "electra-native": packageVersion(), node: process.versions.node },
    measurements: measured,
    ...countOutcomes(measured),
  };
}

function empty(each: Measurement, why: Pick<MeasuredPeer, "skipped" | "failed">): MeasuredPeer {
  return { name: each.name, title: each.title, rows: [], pairs: 0, repeated: 0, disturbed: 0, ...why };
}

async function measure(each: Measurement, options: PeerBenchmarkOptions): Promise<MeasuredPeer> {
  const lacking = each.needs.filter((need) => options[need] === undefined);
  if (lacking.length > 0) {
    return empty(each, { skipped: lacking.map((need) => remedies[need]).join("; ") });
  }
  const opened = await each.open(options);
  try {
    const { threads, signal } = options;
    const { pairs, repeated, calibration } = await alternate({
      ours: opened.ours,
      ...(opened.peer === undefined ? {} : { peer: opened.peer }),
      pairs: options.pairs ?? 7,
      calibrate: () => measureGemmCeiling({ threads }),
      onPair: (pair) => options.onLine?.(linesOf(each, pair)),
      ...(signal === undefined ? {} : { signal }),
    });
    return {
      name: each.name,
      title: each.title,
      ...(opened.peerName === undefined ? {} : { peer: opened.peerName }),
      rows: each.comparisons.map((comparison) => compare(comparison, pairs)),
      pairs: pairs.length,
      repeated,
      disturbed: pairs.filter(({ disturbed }) => disturbed).length,
      calibration_gflop_per_s: calibration,
    };
  } finally {
    await opened.close();
  }
}

/** `  ours 3420.1 peer 1702.9 tokens/s (machine at 98 %)` */
function linesOf({ comparisons }: Measurement, pair: Pair): string {
  const { key, unit } = comparisons[0]!;
  const peer = pair.peer?.[key];
  const speed = `machine at ${(100 * pair.speed).toFixed(0)} %${pair.repeated ? ", once more" : ""}`;
  return `  ours ${pair.ours[key]?.toPrecision(4)}${peer === undefined ? "" : ` peer ${peer.toPrecision(4)}`} ${unit} (${speed})`;
}
