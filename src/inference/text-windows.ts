/** A stretch of words that goes through the model together. */
export interface TextWindow {
  /** First word of the stretch, and the one after its last. */
  readonly start: number;
  readonly end: number;
  /** The words whose results are taken from this window; over all windows each word exactly once. */
  readonly keepStart: number;
  readonly keepEnd: number;
}

/**
 * Cuts a text that is longer than the model reads into windows that overlap by about half, and takes every word from
 * the window in which it stands farther from the edge.
 *
 * @param sizes tokens of every word; one of more than `capacity` gets a window of its own
 * @param capacity tokens a window may hold, at least 1
 */
export function planTextWindows(sizes: readonly number[], capacity: number): TextWindow[] {
  const spans: { start: number; end: number }[] = [];
  let start = 0;
  while (start < sizes.length) {
    let end = start + 1;
    let used = sizes[start]!;
    while (end < sizes.length && used + sizes[end]! <= capacity) used += sizes[end++]!;
    spans.push({ start, end });
    if (end === sizes.length) break;
    let next = start + 1;
    for (let shared = used - sizes[start]!; next < end && shared > capacity / 2; next++)
      shared -= sizes[next]!;
    start = next;
  }
  const windows: TextWindow[] = [];
  let keepStart = 0;
  for (const [index, span] of spans.entries()) {
    const following = spans[index + 1];
    const keepEnd = following === undefined ? span.end : Math.ceil((following.start + span.end) / 2);
    windows.push({ ...span, keepStart, keepEnd });
    keepStart = keepEnd;
  }
  return windows;
}
