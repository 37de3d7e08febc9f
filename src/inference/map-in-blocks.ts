/** What can be read one after the other, whether it is there already or still comes. */
export type Source<T> = Iterable<T> | AsyncIterable<T>;

export interface MapInBlocksOptions {
  /** Elements of a block at most. */
  readonly size: number;
  readonly signal?: AbortSignal;
}

/**
 * Results of elements that are worked on in blocks, in the elements' order. Two blocks are under way at most: the next one is
 * read and begun while one is being worked on, so memory does not grow with the source. A source that has nothing ready
 * does not hold up what it gave before.
 *
 * @param map gives a result for each element
 */
export async function* mapInBlocks<T, R>(
  source: Source<T>,
  map: (block: readonly T[]) => Promise<readonly R[]>,
  { size, signal }: MapInBlocksOptions,
): AsyncGenerator<R, void, undefined> {
  let current: Promise<readonly R[]> | undefined;
  for await (const block of arrivingBlocks(source, size)) {
    signal?.throwIfAborted();
    // An empty block: the source makes us wait.
    const next = block.length > 0 ? map(block) : undefined;
    // A failure shows when the block's turn comes; if an earlier one fails, nobody looks at it.
    next?.catch(() => {});
    if (current !== undefined) yield* await current;
    current = next;
  }
  if (current !== undefined) yield* await current;
}

/** Blocks of up to `size` elements, and an empty one wherever the source makes its reader wait. */
async function* arrivingBlocks<T>(source: Source<T>, size: number): AsyncGenerator<T[], void, undefined> {
  if (!(Symbol.asyncIterator in source)) {
    let block: T[] = [];
    for (const element of source) {
      block.push(element);
      if (block.length < size) continue;
      yield block;
      block = [];
    }
    if (block.length > 0) yield block;
    return;
  }
  const iterator = source[Symbol.asyncIterator]();
  let done = false;
  try {
    let block: T[] = [];
    for (;;) {
      const next = iterator.next();
      const ready = await Promise.race([next, soon()]);
      if (ready === LATER) {
        if (block.length > 0) yield block;
        yield [];
        block = [];
      }
      const result = await next.catch((error: unknown) => {
        done = true;
        throw error;
      });
      if (result.done) {
        done = true;
        if (block.length > 0) yield block;
        return;
      }
      block.push(result.value);
      if (block.length < size) continue;
      yield block;
      block = [];
    }
  } finally {
    // Left early: the source may hold a file open. It may also be waiting for somebody to type, so nobody waits for it.
    if (!done) iterator.return?.().catch(() => {});
  }
}

const LATER = Symbol("later");

/** After what is ready now. */
function soon(): Promise<typeof LATER> {
  return new Promise((resolve) => setImmediate(resolve, LATER));
}
