import { ElectraError } from "../errors.js";

/** First word, last word (both included), type. */
export type TagSpan = readonly [first: number, last: number, type: string];

/** Prefix and type of a tag; the prefix of `O` is undefined. */
function partsOf(tag: string): readonly [prefix: string | undefined, type: string] {
  if (tag === "O") return [undefined, ""];
  const parts = tag.split("-");
  if (parts.length !== 2) {
    throw new ElectraError(
      "ERR_ELECTRA_TAG",
      `"${tag}" is no tag: a tag is O, or a prefix and a type with one hyphen between them.`,
      { hint: "Write tags such as B-NP, I-NP, O; a type must not contain a hyphen.", exitCode: 2 },
    );
  }
  return [parts[0]!, parts[1]!];
}

/**
 * The spans of a sequence of tags (BIO or BIOES, also inconsistent ones) as the reference reads it: after `O` any tag
 * begins a span, within one only B and S do; a span has the type of its last tag.
 *
 * @throws ElectraError `ERR_ELECTRA_TAG` for a malformed tag and for no tags at all
 */
export function spansOfTags(tags: readonly string[]): TagSpan[] {
  if (tags.length === 0) {
    throw new ElectraError("ERR_ELECTRA_TAG", "A sentence without words has no tags to read.", {
      hint: "Remove the empty sentence.",
      exitCode: 2,
    });
  }
  const spans: TagSpan[] = [];
  let start = -1; // first word of the open span
  let lastType = "";
  tags.forEach((tag, i) => {
    const [prefix, type] = partsOf(tag);
    const begins = prefix === "B" || prefix === "S";
    if (start >= 0 && (begins || prefix === undefined)) {
      spans.push([start, i - 1, lastType]);
      start = -1;
    }
    if (start < 0 && prefix !== undefined) start = i;
    lastType = type;
  });
  if (start >= 0) spans.push([start, tags.length - 1, lastType]);
  return spans;
}

/** How the words of a span are marked: `bio` (B, I) or `bioes` (B, I, E, and S for a single word). */
export type TagScheme = "bio" | "bioes";

/** Tags of `length` words with these spans. */
export function tagsOfSpans(length: number, spans: readonly TagSpan[], scheme: TagScheme): string[] {
  const tags = new Array<string>(length).fill("O");
  for (const [first, last, type] of spans) {
    for (let i = first; i <= last; i++) tags[i] = `I-${type}`;
    if (scheme === "bioes") tags[last] = `E-${type}`;
    tags[first] = scheme === "bioes" && first === last ? `S-${type}` : `B-${type}`;
  }
  return tags;
}
