import type { HeadOutput, Task, TaskFeatures, TaskHead, TaskTarget } from "../finetuning/task.js";
import { evaluateSquadV1 } from "../metrics/answer-evaluation.js";
import { normalizeAnswer } from "../metrics/answer-text.js";

/** What a task scores without a model: see {@link constantBaseline}. */
export interface Baseline {
  readonly metrics: Readonly<Record<string, number | null>>;
  /** In words. */
  readonly what: string;
}

/**
 * The score of somebody who has seen the labels of the training data but never looks at the input: always the most frequent
 * class, or the mean value. For tags that would be nothing, so there it is the most frequent tag of each word's first
 * piece; for answers it is the most frequent answer of the training data. The task's own scorer judges.
 */
export async function constantBaseline(task: Task): Promise<Baseline> {
  const head = await task.head();
  const train = await featuresOf(task, "train", true);
  const [split] = task.devSplits;
  const dev = await featuresOf(task, split!, false);
  const { what, guess } = guesser(head, train);
  const scorer = await task.scorer(split!);
  for (const features of dev) scorer.add(features, { loss: 0, ...guess(features) });
  return { metrics: Object.fromEntries(scorer.results()), what };
}

/** A question with its gold answers. */
interface AnsweredQuestion {
  readonly id: string;
  readonly answers: readonly string[];
}

/** The most frequent answer of the training data, given to every question. */
export function answerBaseline(
  train: readonly AnsweredQuestion[],
  dev: readonly AnsweredQuestion[],
): Baseline {
  const usual = mostFrequent(train.flatMap(({ answers }) => answers.slice(0, 1).map(normalizeAnswer)));
  const predictions = Object.fromEntries(dev.map(({ id }) => [id, usual ?? ""]));
  const { exact_match, f1 } = evaluateSquadV1(dev, predictions);
  return { metrics: { exact_match, f1 }, what: `always "${usual}"` };
}

async function featuresOf(task: Task, split: string, training: boolean): Promise<TaskFeatures[]> {
  const { examples } = await task.examples(split);
  return examples.flatMap((example) => [...task.featurize(example, training)]);
}

interface Guesser {
  readonly what: string;
  readonly guess: (features: TaskFeatures) => HeadOutput;
}

function guesser(head: TaskHead, train: readonly TaskFeatures[]): Guesser {
  switch (head.kind) {
    case "classification": {
      const label = mostFrequent(targets(train, "classification").map((target) => target.label)) ?? 0;
      const logits = head.labels.map((_, i) => (i === label ? 1 : 0));
      return { what: `always "${head.labels[label]}"`, guess: () => ({ logits }) };
    }
    case "multi-label": {
      const all = targets(train, "multi-label");
      const logits = head.labels.map((_, i) => {
        const share = all.filter(({ labels }) => labels[i] === 1).length / Math.max(1, all.length);
        return share > 0.5 ? 1 : -1;
      });
      return { what: "the labels that more than half have", guess: () => ({ logits }) };
    }
    case "regression": {
      const values = targets(train, "regression").map(({ value }) => value);
      const prediction = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
      return { what: "always the mean", guess: () => ({ prediction }) };
    }
    case "tagging": {
      const overall: number[] = [];
      const byPiece = new Map<number, number[]>();
      for (const { inputIds, target } of train) {
        if (target.kind !== "tagging") continue;
        for (const [word, label] of target.labels.entries()) {
          const piece = inputIds[target.positions[word]!]!;
          const seen = byPiece.get(piece) ?? [];
          seen.push(label);
          byPiece.set(piece, seen);
          overall.push(label);
        }
      }
      const usual = mostFrequent(overall) ?? 0;
      const usualOf = new Map([...byPiece].map(([piece, labels]) => [piece, mostFrequent(labels)!]));
      return {
        what: "the usual tag of each word's first piece",
        guess: ({ inputIds, target }) => ({
          wordLabels:
            target.kind === "tagging"
              ? Array.from(target.positions, (position) => usualOf.get(inputIds[position]!) ?? usual)
              : [],
        }),
      };
    }
    case "span":
      throw new TypeError("answers have a baseline of their own: answerBaseline");
  }
}

function targets<Kind extends TaskTarget["kind"]>(
  rows: readonly TaskFeatures[],
  kind: Kind,
): Extract<TaskTarget, { kind: Kind }>[] {
  return rows.flatMap(({ target }) =>
    target.kind === kind ? [target as Extract<TaskTarget, { kind: Kind }>] : [],
  );
}

/** The first of equally frequent ones. */
function mostFrequent<T>(values: readonly T[]): T | undefined {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let best: T | undefined;
  for (const [value, count] of counts) {
    if (best === undefined || count > counts.get(best)!) best = value;
  }
  return best;
}
