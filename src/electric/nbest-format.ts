import { ElectraError } from "../errors.js";
import type { NBestEntry, NBestList } from "./nbest-list.js";
import type { RankedEntry, RankedList } from "./rerank.js";

/** `jsonl`: an object `{"id", "hypothesis", "score"}` a line. `bars`: `id ||| hypothesis ||| features ||| score`. */
export type NBestFormat = "jsonl" | "bars";

export interface ParsedNBest {
  readonly format: NBestFormat;
  /** In the order in which their ids turn up. */
  readonly lists: readonly NBestList[];
}

/** Name of the score among the features of the form with bars. */
const FEATURE = "PseudoLogLikelihood=";

/**
 * Reads n-best lists; the first line tells the form. With bars, features may be left out (`id ||| hypothesis ||| score`),
 * and fields behind the score are kept.
 *
 * @param source the file's name, for messages
 * @throws ElectraError `ERR_ELECTRA_NBEST` naming file, line and value
 */
export function parseNBest(text: string, source: string): ParsedNBest {
  const lists = new Map<string, NBestEntry[]>();
  let format: NBestFormat | undefined;
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/\r$/, "");
    if (line.trim() === "") continue;
    format ??= line.trimStart().startsWith("{") ? "jsonl" : "bars";
    const place = `${source}:${index + 1}`;
    const { id, entry } = format === "jsonl" ? parseObject(line, place) : parseBars(line, place);
    const entries = lists.get(id);
    if (entries === undefined) lists.set(id, [entry]);
    else entries.push(entry);
  }
  if (format === undefined) throw bad(source, "no hypotheses, all lines are empty");
  return { format, lists: Array.from(lists, ([id, entries]) => ({ id, entries })) };
}

/**
 * Writes re-ranked lists, the best hypothesis first. JSONL keeps all fields and adds `pseudo_log_likelihood`, `total` and
 * `rank`; with bars, `PseudoLogLikelihood= …` joins the features and the score is the total.
 */
export function formatNBest(lists: readonly RankedList[], format: NBestFormat): string {
  const line = format === "jsonl" ? formatObject : formatBars;
  return lists
    .flatMap(({ id, entries }) => entries.map((entry, rank) => `${line(id, entry, rank)}\n`))
    .join("");
}

function parseObject(line: string, place: string): { id: string; entry: NBestEntry } {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch (error) {
    throw bad(place, `not valid JSON (${(error as Error).message})`, error);
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    throw bad(place, "not a JSON object");
  const { id, hypothesis, score } = fields as Record<string, unknown>;
  if (typeof id !== "string" && typeof id !== "number")
    throw bad(place, `"id" is ${JSON.stringify(id)}, expected a string or a number`);
  if (typeof hypothesis !== "string")
    throw bad(place, `"hypothesis" is ${JSON.stringify(hypothesis)}, expected a string`);
  if (typeof score !== "number" || !Number.isFinite(score))
    throw bad(place, `"score" is ${JSON.stringify(score)}, expected a number`);
  return { id: String(id), entry: { hypothesis, score, fields: fields as Record<string, unknown> } };
}

function parseBars(line: string, place: string): { id: string; entry: NBestEntry } {
  const parts = line.split("|||").map((part) => part.trim());
  if (parts.length < 3)
    throw bad(
      place,
      `${parts.length} field${parts.length === 1 ? "" : "s"} between bars, at least 3 expected`,
    );
  const [id, hypothesis, ...others] = parts as [string, string, ...string[]];
  if (id === "") throw bad(place, "the id is empty");
  const features = others.length === 1 ? undefined : others[0];
  const number = others[others.length === 1 ? 0 : 1];
  const rest = others.slice(2);
  const score = number === undefined || number === "" ? Number.NaN : Number(number);
  if (!Number.isFinite(score)) throw bad(place, `the score is ${JSON.stringify(number)}, expected a number`);
  return {
    id,
    entry: { hypothesis, score, ...(features === undefined ? {} : { features }), rest },
  };
}

function formatObject(id: string, entry: RankedEntry, rank: number): string {
  const { hypothesis, score, fields, likelihood, total } = entry;
  return JSON.stringify({
    ...(fields ?? { id, hypothesis, score }),
    pseudo_log_likelihood: likelihood.score,
    total,
    rank,
  });
}

function formatBars(id: string, entry: RankedEntry): string {
  const features = [entry.features ?? "", FEATURE, String(entry.likelihood.score)].join(" ").trim();
  return [id, entry.hypothesis, features, String(entry.total), ...(entry.rest ?? [])].join(" ||| ");
}

function bad(place: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_NBEST", `${place}: ${message}`, {
    hint: 'A line is {"id": "utt1", "hypothesis": "the cat sat", "score": -12.3}, or: utt1 ||| the cat sat ||| features ||| -12.3. Higher scores are better.',
    cause,
    exitCode: 2,
  });
}
