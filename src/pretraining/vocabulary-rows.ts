import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";

/** What a row begins with. */
export interface RowSource {
  /** Whether it is a row of the model; otherwise it is new. */
  readonly kept: boolean;
  /** Rows of the model whose mean it is; none where the initial values stay. */
  readonly rows: readonly number[];
}

/** Rows of a model's tables that each row of another vocabulary's tables begins with. */
export interface VocabularyRows {
  readonly sources: readonly RowSource[];
  /** Tokens that both vocabularies have. */
  readonly kept: number;
  /** New tokens that begin as the mean of their pieces. */
  readonly fromPieces: number;
  /** Rows that begin at random: tokens that the model cannot spell, special ones, and rows without a token. */
  readonly random: number;
  /** Rows of the model that are not used. */
  readonly dropped: number;
  /** Whether tokens were matched by id, because the model has no vocabulary to compare with. */
  readonly byId: boolean;
}

export interface VocabularyRowsOptions {
  /** The run's vocabulary, and rows of its tables: as many at least. */
  readonly target: Vocabulary;
  readonly targetRows: number;
  /** The model's vocabulary; undefined: its rows are the first of the target's. */
  readonly source: Vocabulary | undefined;
  readonly sourceRows: number;
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
}

const SPECIAL = /^\[.+\]$/;
const NONE: RowSource = { kept: false, rows: [] };

/**
 * Matches the rows of two vocabularies by token.
 *
 * @returns undefined where every row is where it was
 */
export function vocabularyRows(options: VocabularyRowsOptions): VocabularyRows | undefined {
  const { target, targetRows, sourceRows } = options;
  const byId = options.source === undefined;
  const known = (options.source?.tokens ?? target.tokens).slice(0, sourceRows);
  if (targetRows === sourceRows && (byId || sameTokens(known, target.tokens))) return undefined;
  const ids = new Map(known.map((token, id) => [token, id]));
  const pieces = new Pieces(known, options);
  let kept = 0;
  const used = new Set<number>();
  const sources = Array.from({ length: targetRows }, (_, row): RowSource => {
    const token = target.tokens[row];
    // Rows without a token lie behind all tokens, in both.
    if (token === undefined)
      return row >= known.length && row < sourceRows ? { kept: true, rows: [row] } : NONE;
    const id = known[row] === token ? row : ids.get(token);
    if (id === undefined) return { kept: false, rows: pieces.of(token) };
    kept++;
    used.add(id);
    return { kept: true, rows: [id] };
  });
  const fromPieces = sources.filter((source) => !source.kept && source.rows.length > 0).length;
  const random = sources.filter(({ rows }) => rows.length === 0).length;
  return { sources, kept, fromPieces, random, dropped: known.length - used.size, byId };
}

/**
 * A table of `sources.length` rows of `width` values. `initial` gives the rows that begin with nothing of the model.
 *
 * @param averaging whether new tokens take the mean of their pieces (weights); otherwise they keep `initial` (moments)
 */
export function gatherRows(
  { sources }: Pick<VocabularyRows, "sources">,
  values: Float32Array,
  initial: Float32Array,
  width: number,
  averaging: boolean,
): Float32Array {
  const table = initial.slice();
  sources.forEach(({ kept, rows }, row) => {
    if (rows.length === 0 || (!kept && !averaging)) return;
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (const from of rows) sum += values[from * width + column]!;
      table[row * width + column] = sum / rows.length;
    }
  });
  return table;
}

/** Spells new tokens with the model's. */
class Pieces {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknown: number | undefined;
  readonly #tokenizer: Tokenizer | undefined;

  constructor(
    tokens: readonly string[],
    options: { readonly lowerCase: boolean; readonly stripAccents: boolean },
  ) {
    const { lowerCase, stripAccents } = options;
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    this.#unknown = this.#ids.get("[UNK]");
    this.#tokenizer =
      this.#unknown === undefined
        ? undefined
        : new Tokenizer({
            vocabulary: Vocabulary.fromTokens(tokens),
            lowerCase,
            stripAccents,
            cacheCapacity: 1,
          });
  }

  /** Ids of a token's pieces; none for a special token, and where a part of it cannot be spelled. */
  of(token: string): readonly number[] {
    if (SPECIAL.test(token)) return [];
    if (token.startsWith("##") && token.length > 2) return this.#continuation(token.slice(2));
    const ids = [...(this.#tokenizer?.encode(token) ?? [])];
    return ids.includes(this.#unknown ?? -1) ? [] : ids;
  }

  /** The longest match from the left, as WordPiece does within a word. */
  #continuation(rest: string): readonly number[] {
    const characters = [...rest];
    const ids: number[] = [];
    for (let start = 0; start < characters.length; ) {
      let end = characters.length;
      let id: number | undefined;
      while (end > start) {
        id = this.#ids.get(`##${characters.slice(start, end).join("")}`);
        if (id !== undefined) break;
        end--;
      }
      if (id === undefined) return [];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

function sameTokens(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((token, id) => token === right[id]);
}
