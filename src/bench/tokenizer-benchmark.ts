import { Tokenizer } from "../tokenization/tokenizer.js";
import { type Spread, spreadOf } from "./spread.js";
import { readTextSource } from "./text-source.js";

export interface TokenizerBenchmarkOptions {
  readonly vocabFile: string;
  /** A text file, plain or compressed with gzip. */
  readonly input: string;
  /** New tokenizers that are timed, after the first one. Default 7. */
  readonly repeat?: number;
  readonly signal?: AbortSignal;
}

/** Speeds are in 10⁶ bytes of UTF-8 a second, on one thread. */
export interface TokenizerBenchmark {
  /** From bytes, new tokenizers with nothing in their caches: the median. */
  readonly mb_per_s: number;
  readonly tokens: number;
  readonly input_mb: number;
  readonly repeat: number;
  /** The very first pass over the bytes, while the engine still compiles. */
  readonly first_mb_per_s: number;
  /** The whole text as bytes, in one call: by new tokenizers (cold), and by each of them once more (warm). */
  readonly bytes_cold_mb_per_s: Spread;
  readonly bytes_warm_mb_per_s: Spread;
  /** The lines of the text as strings, a call for each. */
  readonly strings_cold_mb_per_s: Spread;
  readonly strings_warm_mb_per_s: Spread;
  /** Making a tokenizer of the vocabulary, milliseconds. */
  readonly set_up_ms: Spread;
}

/**
 * Times the tokenizer on a text, one thread, BERT's uncased settings.
 *
 * @throws ElectraError as {@link readTextSource}; the signal's reason when aborted
 */
export async function benchmarkTokenizer(options: TokenizerBenchmarkOptions): Promise<TokenizerBenchmark> {
  const { repeat = 7, signal } = options;
  const { vocabulary, text } = await readTextSource(options);
  const lines = text.toString("utf8").split("\n");
  const ids = new Int32Array(text.length);
  const passes = {
    bytes: (tokenizer: Tokenizer) => tokenizer.encodeInto(text, 0, text.length, ids, 0),
    strings: (tokenizer: Tokenizer) => {
      let tokens = 0;
      for (const line of lines) tokens += tokenizer.encode(line).length;
      return tokens;
    },
  };
  const rates = { bytes: { cold: [], warm: [] }, strings: { cold: [], warm: [] } } as Record<
    keyof typeof passes,
    Record<"cold" | "warm", number[]>
  >;
  const setUps: number[] = [];
  let tokens = 0;
  const rateOf = (pass: (tokenizer: Tokenizer) => number, tokenizer: Tokenizer): number => {
    const started = performance.now();
    tokens = pass(tokenizer);
    return text.length / (performance.now() - started) / 1e3;
  };
  let first = 0;
  for (let round = 0; round <= repeat; round++) {
    for (const kind of ["bytes", "strings"] as const) {
      signal?.throwIfAborted();
      const started = performance.now();
      const tokenizer = new Tokenizer({ vocabulary });
      const setUp = performance.now() - started;
      const cold = rateOf(passes[kind], tokenizer);
      const warm = rateOf(passes[kind], tokenizer);
      if (round === 0) {
        if (kind === "bytes") first = cold;
        continue; // the engine was still compiling
      }
      setUps.push(setUp);
      rates[kind].cold.push(cold);
      rates[kind].warm.push(warm);
    }
  }
  const bytesCold = spreadOf(rates.bytes.cold);
  return {
    mb_per_s: bytesCold.median,
    tokens,
    input_mb: text.length / 1e6,
    repeat,
    first_mb_per_s: first,
    bytes_cold_mb_per_s: bytesCold,
    bytes_warm_mb_per_s: spreadOf(rates.bytes.warm),
    strings_cold_mb_per_s: spreadOf(rates.strings.cold),
    strings_warm_mb_per_s: spreadOf(rates.strings.warm),
    set_up_ms: spreadOf(setUps),
  };
}
