import type {
  FinetuningBatch,
  FinetuningModelConfig,
  PredictOptions,
} from "../../../src/engine/finetuning-types.js";
import type { OutputArray } from "../../../src/engine/types.js";
import type { PredictionEngine } from "../../../src/inference/finetuned-model.js";
import { SeededRandom } from "../../../src/metrics/seeded-random.js";

type Matrix = number[][];

/**
 * ELECTRA with fine-tuning heads, written down from the paper's and the reference's formulas one number at a time, in float64:
 * what the engine is compared with, and an engine for tests of what is built on one.
 */
export class NaiveEngine implements PredictionEngine {
  readonly info = {
    device: "naive",
    gemm: "none",
    isa: "none",
    threads: 1,
    precision: "float32",
    version: "0",
    warnings: [],
  } as const;
  readonly model: FinetuningModelConfig;
  readonly #values = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  /** Rows of every batch so far. */
  readonly batches: number[] = [];
  disposed = false;

  constructor(model: FinetuningModelConfig, seed: number) {
    this.model = model;
    const random = new SeededRandom(seed);
    const uniform = () => random.below(1 << 20) / (1 << 19) - 1;
    for (const [name, shape] of variablesOf(model)) {
      const length = shape.reduce((product, size) => product * size, 1);
      const data = Float32Array.from({ length }, () =>
        name.endsWith("/gamma") ? 1 + 0.3 * uniform() : 0.6 * uniform(),
      );
      this.#values.set(name, { shape, data });
    }
  }

  parameters() {
    return [...this.#values].map(([name, { shape }]) => ({ name, shape }));
  }

  async readParameter(name: string) {
    return this.#values.get(name)!.data.slice();
  }

  async writeParameter(name: string, data: Float32Array) {
    this.#values.get(name)!.data.set(data);
  }

  async dispose() {
    this.disposed = true;
  }

  async predict(batch: FinetuningBatch, { outputs: wanted, signal }: PredictOptions) {
    signal?.throwIfAborted();
    this.batches.push(batch.rows);
    const outputs: Record<string, OutputArray> = {};
    for (const [taskId, { name, head }] of this.model.tasks.entries()) {
      const rows = Array.from({ length: batch.rows }, (_, row) => {
        if ((batch.taskIds?.[row] ?? 0) !== taskId) return undefined;
        const length = batch.lengths[row]!;
        const at = row * batch.length;
        const ids = [...batch.inputIds.subarray(at, at + length)];
        const segments = [...batch.segmentIds!.subarray(at, at + length)];
        return { ids, segments, hidden: this.encode(ids, segments) };
      });
      const floats = (output: string, width: number, values: readonly (readonly number[] | undefined)[]) => {
        const data = Float32Array.from(
          values.flatMap((row) => [...(row ?? []), ...zeros(width - (row?.length ?? 0))]),
        );
        outputs[`${name}/${output}`] = { shape: [values.length, width], data };
      };
      const dense = (input: readonly number[], layer: string) =>
        this.#dense(input, `task_specific/${name}/${layer}`);
      if (head.kind === "classification" || head.kind === "multi-label") {
        floats(
          "logits",
          head.classes,
          rows.map((row) => row && dense(row.hidden[0]!, "dense")),
        );
      } else if (head.kind === "regression") {
        floats(
          "predictions",
          1,
          rows.map((row) => row && dense(row.hidden[0]!, "dense")),
        );
      } else if (head.kind === "tagging") {
        const { offsets, positions } = batch.words!;
        const logits = rows.flatMap((row, b) =>
          [...positions.subarray(offsets[b]!, offsets[b + 1]!)].map((position) =>
            dense(row!.hidden[position]!, "dense"),
          ),
        );
        floats("logits", head.classes, logits);
        const data = Int32Array.from(logits, (row) => row.indexOf(Math.max(...row)));
        outputs[`${name}/predictions`] = { shape: [data.length], data };
      } else {
        const spans = rows.map((row) => row && this.span(name, head, row));
        floats(
          "start_logits",
          batch.length,
          spans.map((span) => span?.starts),
        );
        floats(
          "end_logits",
          batch.length,
          spans.map((span) => span?.ends ?? []),
        );
        floats(
          "answerable_logit",
          1,
          spans.map((span) => span && [span.answerable]),
        );
        const k = head.beamSize;
        floats(
          "start_top_log_probs",
          k,
          spans.map((span) => span?.beams?.map(({ score }) => score)),
        );
        floats(
          "end_top_log_probs",
          k * k,
          spans.map((span) => span?.beams?.flatMap(({ ends }) => ends.map(({ score }) => score))),
        );
        const ints = (output: string, values: readonly (readonly number[] | undefined)[], width: number) => {
          const data = Int32Array.from(values.flatMap((row) => row ?? zeros(width)));
          outputs[`${name}/${output}`] = { shape: [values.length, width], data };
        };
        ints(
          "start_top_index",
          spans.map((span) => span?.beams?.map(({ index }) => index)),
          k,
        );
        ints(
          "end_top_index",
          spans.map((span) => span?.beams?.flatMap(({ ends }) => ends.map(({ index }) => index))),
          k * k,
        );
      }
    }
    const missing = wanted.filter((name) => outputs[name] === undefined);
    if (missing.length > 0) throw new Error(`unknown outputs ${missing.join(", ")}`);
    return {
      loss: 0,
      taskLosses: [],
      taskRows: [],
      tokens: batch.lengths.reduce((sum, length) => sum + length, 0),
      seconds: 0,
      outputs: Object.fromEntries(wanted.map((name) => [name, outputs[name]!])),
    };
  }

  /** Sequence output [n, h] of a row of n tokens without padding. */
  encode(ids: readonly number[], segments: readonly number[]): Matrix {
    const { encoder } = this.model;
    const table = (name: string, row: number) => this.#row(`electra/embeddings/${name}_embeddings`, row);
    let x = ids.map((id, t) =>
      this.#norm(
        table("word", id).map(
          (value, e) => value + table("token_type", segments[t]!)[e]! + table("position", t)[e]!,
        ),
        "electra/embeddings/LayerNorm",
      ),
    );
    if (encoder.embedding_size !== encoder.hidden_size) {
      x = x.map((row) => this.#dense(row, "electra/embeddings_project"));
    }
    const heads = encoder.num_attention_heads;
    const width = encoder.hidden_size / heads;
    for (let layer = 0; layer < encoder.num_hidden_layers; layer++) {
      const scope = `electra/encoder/layer_${layer}`;
      const [q, k, v] = ["query", "key", "value"].map((name) =>
        x.map((row) => this.#dense(row, `${scope}/attention/self/${name}`)),
      ) as [Matrix, Matrix, Matrix];
      const context = x.map((_, i) =>
        Array.from({ length: heads }, (_unused, head) => {
          const part = (row: readonly number[]) => row.slice(head * width, (head + 1) * width);
          const weights = softmax(k.map((key) => dot(part(q[i]!), part(key)) / Math.sqrt(width)));
          return zeros(width).map((_zero, d) =>
            dot(
              weights,
              v.map((value) => part(value)[d]!),
            ),
          );
        }).flat(),
      );
      x = x.map((row, i) => {
        const attended = this.#dense(context[i]!, `${scope}/attention/output/dense`);
        const a = this.#norm(add(attended, row), `${scope}/attention/output/LayerNorm`);
        const f = this.#dense(a, `${scope}/intermediate/dense`).map(gelu);
        return this.#norm(add(this.#dense(f, `${scope}/output/dense`), a), `${scope}/output/LayerNorm`);
      });
    }
    return x;
  }

  /** The span head on a row. */
  span(
    task: string,
    head: Extract<FinetuningModelConfig["tasks"][number]["head"], { kind: "span" }>,
    { segments, hidden }: { readonly segments: readonly number[]; readonly hidden: Matrix },
  ) {
    const dense = (input: readonly number[], layer: string) =>
      this.#dense(input, `task_specific/${task}/${layer}`);
    const mask = (logits: readonly number[]) =>
      logits.map((logit, i) => (i === 0 || segments[i] === 1 ? logit : logit - 1000));
    const starts = mask(hidden.map((h) => dense(h, "dense")[0]!));
    const k = head.beamSize;
    const top = (logits: readonly number[]) => {
      const scores = softmax(logits).map(Math.log);
      // exp(-1000) is 0 in float64 too; the order of such scores is that of their logits.
      const order = logits.map((_, i) => i).sort((a, b) => logits[b]! - logits[a]! || a - b);
      return Array.from({ length: k }, (_, i) => {
        const index = order[i] ?? -1;
        return { index, score: index < 0 ? -Infinity : Math.max(scores[index]!, -2000) };
      });
    };
    const endsAfter = (start: number) =>
      mask(hidden.map((h) => dense(dense([...hidden[start]!, ...h], "qa_hidden").map(gelu), "dense_1")[0]!));
    const none = Array.from({ length: k }, () => ({ index: -1, score: -Infinity }));
    const beams = head.jointPrediction
      ? top(starts).map(({ index, score }) => ({
          index,
          score,
          ends: index < 0 ? none : top(endsAfter(index)),
        }))
      : undefined;
    const ends = head.jointPrediction ? undefined : mask(hidden.map((h) => dense(h, "dense_1")[0]!));
    let answerable = 0;
    if (head.answerableClassifier) {
      const weights = softmax(starts);
      const pooled = hidden[0]!.map((_, d) =>
        dot(
          weights,
          hidden.map((h) => h[d]!),
        ),
      );
      answerable = head.answerableUsesStartLogits
        ? dense(dense([...hidden[0]!, ...pooled], "dense_2").map(gelu), "dense_3")[0]!
        : dense(hidden[0]!, "dense_2")[0]!;
    }
    return { starts, ends, beams, answerable };
  }

  #row(name: string, row: number): number[] {
    const { shape, data } = this.#values.get(name)!;
    const width = shape[1]!;
    return [...data.subarray(row * width, (row + 1) * width)];
  }

  #dense(input: readonly number[], layer: string): number[] {
    const { shape, data } = this.#values.get(`${layer}/kernel`)!;
    const [rows = 0, columns = 0] = shape;
    if (rows !== input.length) throw new Error(`${layer} takes ${rows} numbers, not ${input.length}`);
    const bias = this.#values.get(`${layer}/bias`)!.data;
    return Array.from({ length: columns }, (_, j) =>
      input.reduce((sum, value, i) => sum + value * data[i * columns + j]!, bias[j]!),
    );
  }

  #norm(x: readonly number[], name: string): number[] {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const gamma = this.#values.get(`${name}/gamma`)!.data;
    const beta = this.#values.get(`${name}/beta`)!.data;
    return x.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-12)) * gamma[i]! + beta[i]!);
  }
}

function variablesOf({ encoder, tasks }: FinetuningModelConfig): [name: string, shape: number[]][] {
  const { embedding_size: e, hidden_size: h, intermediate_size: i } = encoder;
  const dense = (name: string, rows: number, columns: number): [string, number[]][] => [
    [`${name}/kernel`, [rows, columns]],
    [`${name}/bias`, [columns]],
  ];
  const norm = (name: string, width: number): [string, number[]][] => [
    [`${name}/LayerNorm/beta`, [width]],
    [`${name}/LayerNorm/gamma`, [width]],
  ];
  return [
    ["electra/embeddings/word_embeddings", [encoder.vocab_size, e]],
    ["electra/embeddings/token_type_embeddings", [encoder.type_vocab_size, e]],
    ["electra/embeddings/position_embeddings", [encoder.max_position_embeddings, e]],
    ...norm("electra/embeddings", e),
    ...(e === h ? [] : dense("electra/embeddings_project", e, h)),
    ...Array.from({ length: encoder.num_hidden_layers }, (_, layer) => {
      const scope = `electra/encoder/layer_${layer}`;
      return [
        ...["query", "key", "value"].flatMap((name) => dense(`${scope}/attention/self/${name}`, h, h)),
        ...dense(`${scope}/attention/output/dense`, h, h),
        ...norm(`${scope}/attention/output`, h),
        ...dense(`${scope}/intermediate/dense`, h, i),
        ...dense(`${scope}/output/dense`, i, h),
        ...norm(`${scope}/output`, h),
      ];
    }).flat(),
    ...tasks.flatMap(({ name, head }) => {
      const scope = `task_specific/${name}`;
      if (head.kind !== "span") return dense(`${scope}/dense`, h, "classes" in head ? head.classes : 1);
      return [
        ...dense(`${scope}/dense`, h, 1),
        ...(head.jointPrediction
          ? [...dense(`${scope}/qa_hidden`, 2 * h, 512), ...dense(`${scope}/dense_1`, 512, 1)]
          : dense(`${scope}/dense_1`, h, 1)),
        ...(!head.answerableClassifier
          ? []
          : head.answerableUsesStartLogits
            ? [...dense(`${scope}/dense_2`, 2 * h, 512), ...dense(`${scope}/dense_3`, 512, 1)]
            : dense(`${scope}/dense_2`, h, 1)),
      ];
    }),
  ];
}

function zeros(length: number): number[] {
  return new Array<number>(length).fill(0);
}

function add(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + b[i]!);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

export function softmax(scores: readonly number[]): number[] {
  const highest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - highest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** x Φ(x); the error function by its series, which converges everywhere. */
function gelu(x: number): number {
  const z = x / Math.SQRT2;
  if (Math.abs(z) > 6) return x > 0 ? x : 0;
  let term = z;
  let sum = z;
  for (let n = 1; n < 200; n++) {
    term *= (-z * z) / n;
    const part = term / (2 * n + 1);
    sum += part;
    if (Math.abs(part) < 1e-17) break;
  }
  return x * 0.5 * (1 + (2 / Math.sqrt(Math.PI)) * sum);
}
