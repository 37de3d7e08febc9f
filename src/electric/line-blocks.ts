import { rawLineBlocks } from "../inference/input/raw-lines.js";
import type { TextLine } from "../inference/text-lines.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";

export interface LineBlocksOptions {
  readonly signal?: AbortSignal;
  /** What `-` stands for. Default: standard input. */
  readonly input?: AsyncIterable<Uint8Array | string>;
  /** Lines of a block at most. Default 512. */
  readonly maxLines?: number;
}

/**
 * The lines of text files, stripped, in blocks as they arrive: whoever writes a line and waits gets his answer at once.
 * Blank lines are there too, so that the n-th answer belongs to the n-th line. `-`, or no file at all, is standard input.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE`, `ERR_ELECTRA_TEXT` (not UTF-8)
 */
export async function* lineBlocks(
  files: readonly string[],
  options: LineBlocksOptions = {},
): AsyncGenerator<TextLine[]> {
  for (const source of files.length === 0 ? ["-"] : files) {
    for await (const lines of rawLineBlocks(source, { maxLines: 512, ...options })) {
      yield lines.map(({ text, line }) => ({ text: stripWhiteSpace(text), source, line }));
    }
  }
}
