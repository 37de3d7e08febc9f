import { ElectraError } from "../errors.js";
import type { NBestList } from "./nbest-list.js";

/** What is right for a list: the true text, or the place of the right hypothesis in the file's order, from 0. */
export type Truth = { readonly reference: string } | { readonly chosen: number };

/**
 * Reads the truth for n-best lists, one a line: `{"id", "reference"}` or `{"id", "chosen"}` as JSONL,
 * `id ||| reference`, or the references alone in the order of the lists. The first line tells the form.
 *
 * @param source the file's name, for messages
 * @returns one truth for each list, in the order of the lists
 * @throws ElectraError `ERR_ELECTRA_NBEST` naming file, line and value, or the list that has no line
 */
export function parseTruth(text: string, source: string, lists: readonly NBestList[]): Truth[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  const first = lines.find((line) => line.trim() !== "");
  if (first === undefined) throw bad(source, "no references, all lines are empty");
  const json = first.trimStart().startsWith("{");
  if (!json && !first.includes("|||")) return inOrder(lines, source, lists);
  const found = new Map<string, Truth>();
  const sizes = new Map(lists.map(({ id, entries }) => [id, entries.length]));
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const place = `${source}:${index + 1}`;
    const { id, truth } = json ? parseObject(line, place) : parseBars(line, place);
    if (found.has(id)) throw bad(place, `a second line for the id ${JSON.stringify(id)}`);
    const size = sizes.get(id);
    if (size !== undefined && "chosen" in truth && truth.chosen >= size)
      throw bad(place, `"chosen" is ${truth.chosen}, but the list has ${size} hypotheses, counted from 0`);
    found.set(id, truth);
  }
  return lists.map(({ id }) => {
    const truth = found.get(id);
    if (truth === undefined) throw bad(source, `no line for the id ${JSON.stringify(id)}`);
    return truth;
  });
}

function inOrder(lines: readonly string[], source: string, lists: readonly NBestList[]): Truth[] {
  // The last line's end is no line; blank lines before it are empty references.
  const references = lines.at(-1) === "" ? lines.slice(0, -1) : lines;
  if (references.length !== lists.length)
    throw bad(source, `${references.length} references for ${lists.length} lists`);
  return references.map((reference) => ({ reference }));
}

function parseObject(line: string, place: string): { id: string; truth: Truth } {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch (error) {
    throw bad(place, `not valid JSON (${(error as Error).message})`, error);
  }
  if (typeof fields !== "object" || fields === null) throw bad(place, "not a JSON object");
  const { id, reference, chosen } = fields as Record<string, unknown>;
  if (typeof id !== "string" && typeof id !== "number")
    throw bad(place, `"id" is ${JSON.stringify(id)}, expected a string or a number`);
  if (typeof reference === "string") return { id: String(id), truth: { reference } };
  if (Number.isSafeInteger(chosen) && (chosen as number) >= 0)
    return { id: String(id), truth: { chosen: chosen as number } };
  throw bad(place, 'neither "reference", a string, nor "chosen", a whole number from 0 on');
}

function parseBars(line: string, place: string): { id: string; truth: Truth } {
  const [id = "", reference, ...more] = line.split("|||").map((part) => part.trim());
  if (reference === undefined || more.length > 0)
    throw bad(place, `${more.length + (reference === undefined ? 1 : 2)} fields between bars, 2 expected`);
  return { id, truth: { reference } };
}

function bad(place: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_NBEST", `${place}: ${message}`, {
    hint: 'A line is {"id": "utt1", "reference": "the cat sat"}, {"id": "utt1", "chosen": 0}, or: utt1 ||| the cat sat; or give the references alone, one a line, in the order of the lists.',
    cause,
    exitCode: 2,
  });
}
