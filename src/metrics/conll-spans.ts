import { ElectraError } from "../errors.js";
import type { TagSpan } from "./tag-spans.js";

/**
 * The spans of a sequence of tags as the CoNLL shared tasks' `conlleval` script reads them (IOB1, BIO, BIOES): unlike
 * the reference's reading, a change of type always begins a new span, and so does whatever follows E or S.
 *
 * @throws ElectraError `ERR_ELECTRA_TAG` for a tag that is neither `O` nor a prefix, a hyphen and a type
 */
export function conllSpans(tags: readonly string[]): TagSpan[] {
  const spans: TagSpan[] = [];
  let start = -1;
  let previous: readonly [prefix: string, type: string] = ["O", ""];
  tags.forEach((tag, i) => {
    const [prefix, type] = partsOf(tag);
    const changes =
      prefix === "O" ||
      prefix === "B" ||
      prefix === "S" ||
      previous[0] === "E" ||
      previous[0] === "S" ||
      previous[1] !== type;
    if (start >= 0 && changes) {
      spans.push([start, i - 1, previous[1]]);
      start = -1;
    }
    if (start < 0 && prefix !== "O") start = i;
    previous = [prefix, type];
  });
  if (start >= 0) spans.push([start, tags.length - 1, previous[1]]);
  return spans;
}

function partsOf(tag: string): readonly [prefix: string, type: string] {
  if (tag === "O") return ["O", ""];
  const [, prefix, type] = /^([BIES])-(.+)$/.exec(tag) ?? [];
  if (prefix === undefined || type === undefined) {
    throw new ElectraError("ERR_ELECTRA_TAG", `"${tag}" is no tag of the CoNLL format.`, {
      hint: "Write O, or B-, I-, E- or S- and a type.",
      exitCode: 2,
    });
  }
  return [prefix, type];
}
