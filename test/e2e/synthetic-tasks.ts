import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SeededRandom } from "../../src/metrics/seeded-random.js";

const filler = "kalo mi nerusta vedor pel tinos arka lomi staru neve dorpel osti".split(" ");
const colours = ["red", "green", "blue"];
const animals = ["dog", "cat", "owl", "eel"];
const numbers = ["zero", "one", "two", "three", "four"];
const places = ["harbour", "mill", "tower", "garden"];
const others = ["where", "is", "the", "at", "?", "."];

/**
 * A data folder with a vocabulary and a task of every kind, each described in JSON and each of which a small model with
 * random weights learns in seconds: what is asked for is said by single words among others.
 */
export async function writeSyntheticTasks(dataDir: string, options: { rows?: number } = {}): Promise<void> {
  const { rows = 400 } = options;
  const vocabulary = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    ...filler,
    ...colours,
    ...animals,
    ...numbers,
    ...places,
    ...others,
  ];
  await write(dataDir, "vocab.txt", `${vocabulary.join("\n")}\n`);
  for (const [name, task] of Object.entries(tasks)) {
    const folder = join(dataDir, "finetuning_data", name);
    await write(folder, "task.json", JSON.stringify(task.description, null, 2));
    for (const [split, count, seed] of [
      ["train", rows, 1],
      ["dev", 80, 2],
      ["test", 20, 3],
    ] as const) {
      const file = (task.description.files as Readonly<Record<string, string>>)[split];
      if (file !== undefined) await write(folder, file, task.text(count, new SeededRandom(seed)));
    }
  }
}

const pick = (random: SeededRandom, words: readonly string[]): string => words[random.below(words.length)]!;

/** Some filler with the given words somewhere in it. */
function sentence(random: SeededRandom, ...words: readonly string[]): string {
  const all = Array.from({ length: 2 + random.below(6) }, () => pick(random, filler));
  for (const word of words) all.splice(random.below(all.length + 1), 0, word);
  return all.join(" ");
}

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => `${line(i)}\n`).join("");

const tasks = {
  colour: {
    description: {
      type: "class",
      format: "csv",
      files: { train: "train.csv", dev: "dev.csv", test: "test.csv" },
      columns: { text: "text", label: "colour" },
      metric: ["accuracy", "macro_f1"],
    },
    text: (count: number, random: SeededRandom) =>
      `text,colour\n${lines(count, () => {
        const colour = pick(random, colours);
        return `"${sentence(random, colour)}",${colour}`;
      })}`,
  },
  echo: {
    description: {
      type: "pair",
      format: "tsv",
      files: { train: "train.tsv", dev: "dev.tsv" },
      columns: { text: "a", text_b: "b", label: "label" },
    },
    text: (count: number, random: SeededRandom) =>
      `a\tb\tlabel\n${lines(count, () => {
        const yes = random.below(2) === 1;
        return `${sentence(random)}\t${sentence(random, yes ? "dog" : "cat")}\t${yes ? "yes" : "no"}`;
      })}`,
  },
  zoo: {
    description: {
      type: "multi-label",
      format: "jsonl",
      files: { train: "train.jsonl", dev: "dev.jsonl" },
      columns: { text: "text", label: "animals" },
      labels: animals,
    },
    text: (count: number, random: SeededRandom) =>
      lines(count, () => {
        const some = animals.filter(() => random.below(2) === 1);
        return JSON.stringify({ text: sentence(random, ...some), animals: some });
      }),
  },
  count: {
    description: {
      type: "regression",
      format: "tsv",
      files: { train: "train.tsv", dev: "dev.tsv" },
      columns: { text: "text", label: "value" },
      range: [0, 4],
    },
    text: (count: number, random: SeededRandom) =>
      `text\tvalue\n${lines(count, () => {
        const value = random.below(5);
        return `${sentence(random, numbers[value]!)}\t${value}`;
      })}`,
  },
  names: {
    description: {
      type: "tags",
      format: "conll",
      files: { train: "train.txt", dev: "dev.txt" },
      metric: "span_f1",
    },
    text: (count: number, random: SeededRandom) =>
      lines(count, () =>
        sentence(random, pick(random, animals), pick(random, places))
          .split(" ")
          .map(
            (word) =>
              `${word} ${animals.includes(word) ? "B-ANIMAL" : places.includes(word) ? "B-PLACE" : "O"}\n`,
          )
          .join(""),
      ),
  },
  where: {
    description: {
      type: "spans",
      format: "jsonl",
      files: { train: "train.jsonl", dev: "dev.jsonl" },
      columns: { id: "id", question: "question", context: "context", answer: "answer" },
      metric: "squad_v2",
    },
    text: (count: number, random: SeededRandom) =>
      lines(count, (i) => {
        const answer = random.below(4) === 0 ? "" : pick(random, places);
        const context = answer === "" ? sentence(random) : sentence(random, answer);
        return JSON.stringify({
          id: `q${i}`,
          question: "where is the dog ?",
          context: `${context} .`,
          answer,
        });
      }),
  },
};

async function write(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
