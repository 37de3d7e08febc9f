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
 * does not hold up what it gave before, and where it fails, what it gave before is finished first.
 *
 * @param map gives a result for each element
 */
export async function* mapInBlocks<T, R>(
  source: Source<T>,
  map: (block: readonly T[]) => Promise<readonly R[]>,
  { size, signal }: MapInBlocksOptions,
): AsyncGenerator<R, void, undefined> {
  let current: Promise<readonly R[]> | undefined;
  const failure: { error?: unknown } = {};
  for await (const block of arrivingBlocks(source, size, failure)) {
    signal?.throwIfAborted();
    // An empty block: the source makes us wait.
    const next = block.length > 0 ? map(block) : undefined;
    // A failure shows when the block's turn comes; if an earlier one fails, nobody looks at it.
    next?.catch(() => {});
    if (current !== undefined) yield* await current;
    current = next;
  }
  signal?.throwIfAborted();
  if (current !== undefined) yield* await current;
  if ("error" in failure) throw failure.error;
}

/**
 * Blocks of up to `size` elements, and an empty one wherever the source makes its reader wait.
 *
 * @param failure gets the source's, which ends the blocks
 */
async function* arrivingBlocks<T>(
  source: Source<T>,
  size: number,
  failure: { error?: unknown },
): AsyncGenerator<T[], void, undefined> {
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : promised(source[Symbol.iterator]());
  let done = false;
  let block: T[] = [];
  try {
    while (!done) {
      const next = iterator.next();
      // It is looked at below, but perhaps only after a turn.
      next.catch(() => {});
      if ((await Promise.race([next.then(ready, ready), soon()])) === LATER) {
        if (block.length > 0) yield block;
        yield [];
        block = [];
      }
      try {
        const result = await next;
        if (result.done) done = true;
        else block.push(result.value);
      } catch (error) {
        failure.error = error;
        done = true;
      }
      if (block.length < size && !done) continue;
      if (block.length > 0) yield block;
      block = [];
    }
  } finally {
    // Left early: the source may hold a file open. It may also be waiting for somebody to type, so nobody waits for it.
    if (!done) iterator.return?.().catch(() => {});
  }
}

function promised<T>(iterator: Iterator<T>): AsyncIterator<T> {
  return {
    next: async () => iterator.next(),
    return: async () => iterator.return?.() ?? { done: true, value: undefined },
  };
}

const READY = Symbol("ready");

function ready(): typeof READY {
  return READY;
}

const LATER = Symbol("later");

/** After what is ready now. */
function soon(): Promise<typeof LATER> {
  return new Promise((resolve) => setImmediate(resolve, LATER));
}
