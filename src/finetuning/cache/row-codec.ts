import type { MixedRow } from "../features/mixed-examples.js";
import type { ContextWindow, TaskFeatures, TaskTarget } from "../task.js";

/** Raised whenever the form of rows changes: part of every cache's key. */
export const ROW_FORMAT = 1;

const KINDS = ["classification", "multi-label", "regression", "tagging", "span"] as const;
const KIND_MASK = 0xff;
/** Segments that are not first all 0, then all 1. */
const LOOSE_SEGMENTS = 1 << 8;
const WINDOW = 1 << 9;
/** Ids above 65535. */
const WIDE_IDS = 1 << 10;
/** Task, kind and flags, tokens, first token of segment 1, `eid` as a double. */
const HEAD_WORDS = 6;

/**
 * Rows as bytes, one after the other, each a multiple of four bytes long: a head of 32-bit words, the target, the window,
 * then ids (16 bits where they fit) and, if they are unusual, segments. Little-endian, as all processors that we run on.
 */
export class RowEncoder {
  #buffer = new ArrayBuffer(1 << 16);
  #words = new Int32Array(this.#buffer);
  #bytes = new Uint8Array(this.#buffer);
  /** In words. */
  #at = 0;
  #starts: number[] = [];
  readonly #double = new Float64Array(1);
  readonly #doubleWords = new Int32Array(this.#double.buffer);

  /** @param features as {@link decodeRow} gives them back, but for a window that training has no use for */
  add(taskId: number, features: TaskFeatures, keepWindow: boolean): void {
    this.#starts.push(this.#at);
    const { eid, inputIds, segmentIds, target } = features;
    const window = keepWindow ? features.window : undefined;
    const first = firstOfSegmentOne(segmentIds);
    const wide = inputIds.some((id) => id > 0xffff);
    this.#reserve(
      HEAD_WORDS + 16 + 2 * inputIds.length + targetWords(target) + 2 * (window?.wordOfPiece.length ?? 0),
    );
    this.#word(taskId);
    this.#word(
      KINDS.indexOf(target.kind) |
        (first === undefined ? LOOSE_SEGMENTS : 0) |
        (window === undefined ? 0 : WINDOW) |
        (wide ? WIDE_IDS : 0),
    );
    this.#word(inputIds.length);
    this.#word(first ?? 0);
    this.#number(eid);
    this.#target(target);
    if (window !== undefined) this.#window(window);
    if (wide) this.#wordArray(inputIds);
    else this.#byteArray(new Uint8Array(Uint16Array.from(inputIds).buffer));
    if (first === undefined) this.#byteArray(segmentIds);
  }

  /** What was added, and the bytes of each row; the encoder is then empty again. */
  take(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly rowBytes: Uint32Array<ArrayBuffer> } {
    const bytes = this.#bytes.slice(0, 4 * this.#at);
    const ends = [...this.#starts.slice(1), this.#at];
    const rowBytes = Uint32Array.from(this.#starts, (start, row) => 4 * (ends[row]! - start));
    this.#at = 0;
    this.#starts = [];
    return { bytes, rowBytes };
  }

  #target(target: TaskTarget): void {
    switch (target.kind) {
      case "classification":
        this.#word(target.label);
        return;
      case "multi-label":
        this.#word(target.labels.length);
        this.#byteArray(target.labels);
        return;
      case "regression":
        this.#number(target.value);
        return;
      case "tagging":
        this.#word(target.labels.length);
        this.#word(target.positions.length);
        this.#wordArray(target.labels);
        this.#wordArray(target.positions);
        return;
      case "span":
        this.#word(target.start);
        this.#word(target.end);
        this.#word(target.impossible ? 1 : 0);
    }
  }

  #window({ question, index, firstPosition, wordOfPiece, isMaxContext }: ContextWindow): void {
    this.#number(question);
    this.#word(index);
    this.#word(firstPosition);
    this.#word(wordOfPiece.length);
    this.#wordArray(wordOfPiece);
    this.#byteArray(isMaxContext);
  }

  #word(value: number): void {
    this.#words[this.#at++] = value;
  }

  #number(value: number): void {
    this.#double[0] = value;
    this.#word(this.#doubleWords[0]!);
    this.#word(this.#doubleWords[1]!);
  }

  #wordArray(values: Int32Array): void {
    this.#words.set(values, this.#at);
    this.#at += values.length;
  }

  #byteArray(values: Uint8Array): void {
    const words = Math.ceil(values.length / 4);
    // The buffer is used again and again: what fills up the last word must not depend on what was there.
    if (words > 0) this.#words[this.#at + words - 1] = 0;
    this.#bytes.set(values, 4 * this.#at);
    this.#at += words;
  }

  #reserve(words: number): void {
    if (this.#at + words <= this.#words.length) return;
    const buffer = new ArrayBuffer(Math.max(2 * this.#buffer.byteLength, 8 * (this.#at + words)));
    const grown = new Uint8Array(buffer);
    grown.set(this.#bytes);
    this.#buffer = buffer;
    this.#bytes = grown;
    this.#words = new Int32Array(buffer);
  }
}

/** A row from its bytes, which it keeps using: they must not be written to any more. */
export function decodeRow(bytes: Uint8Array<ArrayBuffer>): MixedRow & { readonly features: TaskFeatures } {
  const reader = new RowReader(bytes);
  const taskId = reader.word();
  const flags = reader.word();
  const tokens = reader.word();
  const firstOfOne = reader.word();
  const eid = reader.number();
  const target = decodeTarget(KINDS[flags & KIND_MASK], reader);
  const window = (flags & WINDOW) === 0 ? undefined : decodeWindow(reader);
  const inputIds =
    (flags & WIDE_IDS) === 0
      ? Int32Array.from(new Uint16Array(reader.bytes(2 * tokens).slice().buffer))
      : reader.words(tokens);
  const segmentIds =
    (flags & LOOSE_SEGMENTS) === 0 ? new Uint8Array(tokens).fill(1, firstOfOne) : reader.bytes(tokens);
  return {
    taskId,
    features: { eid, inputIds, segmentIds, target, ...(window === undefined ? {} : { window }) },
  };
}

function decodeTarget(kind: TaskTarget["kind"] | undefined, reader: RowReader): TaskTarget {
  switch (kind) {
    case "classification":
      return { kind, label: reader.word() };
    case "multi-label":
      return { kind, labels: reader.bytes(reader.word()) };
    case "regression":
      return { kind, value: reader.number() };
    case "tagging": {
      const [labels, positions] = [reader.word(), reader.word()];
      return { kind, labels: reader.words(labels), positions: reader.words(positions) };
    }
    case "span":
      return { kind, start: reader.word(), end: reader.word(), impossible: reader.word() === 1 };
    default:
      throw new RangeError("a row of no known kind");
  }
}

function decodeWindow(reader: RowReader): ContextWindow {
  const question = reader.number();
  const [index, firstPosition, pieces] = [reader.word(), reader.word(), reader.word()];
  return {
    question,
    index,
    firstPosition,
    wordOfPiece: reader.words(pieces),
    isMaxContext: reader.bytes(pieces),
  };
}

class RowReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  word(): number {
    const value = this.#view.getInt32(this.#at, true);
    this.#at += 4;
    return value;
  }

  number(): number {
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  words(count: number): Int32Array<ArrayBuffer> {
    const values = new Int32Array(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, count);
    this.#at += 4 * count;
    return values;
  }

  bytes(count: number): Uint8Array<ArrayBuffer> {
    const values = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += 4 * Math.ceil(count / 4);
    return values;
  }
}

/** Where segment 1 begins if the segments are first all 0, then all 1; else undefined. */
function firstOfSegmentOne(segmentIds: Uint8Array): number | undefined {
  const found = segmentIds.findIndex((segment) => segment !== 0);
  const first = found < 0 ? segmentIds.length : found;
  return segmentIds.subarray(first).every((segment) => segment === 1) ? first : undefined;
}

function targetWords(target: TaskTarget): number {
  if (target.kind === "tagging") return target.labels.length + target.positions.length;
  return target.kind === "multi-label" ? target.labels.length : 0;
}
