import { ElectraError } from "../errors.js";
import { stripWhiteSpace } from "./white-space.js";

/** A vocabulary line that takes its token away from an earlier line. Lines are counted from 1. */
export interface DuplicateToken {
  readonly token: string;
  readonly line: number;
  /** The line whose id is no longer reached. */
  readonly earlierLine: number;
}

export interface VocabularyOptions {
  /** What the text is, usually the file's path; named in errors. */
  readonly source?: string;
}

/**
 * A WordPiece vocabulary: tokens and their ids. A token's id is its 0-based line number; if a token stands on several
 * lines the last one counts, as in the reference. Padding is the literal id 0, whatever token has it.
 *
 * @example
 * const vocabulary = Vocabulary.parse(await readFile("vocab.txt", "utf8"), { source: "vocab.txt" });
 * const [clsId, sepId] = vocabulary.require(["[CLS]", "[SEP]"]);
 */
export class Vocabulary {
  /** The token of every id, that is, every line without the white space around it. */
  readonly tokens: readonly string[];
  /** Lines whose token stands again further down: worth a warning, their ids are never produced. */
  readonly duplicates: readonly DuplicateToken[];
  readonly source: string;
  readonly #ids: ReadonlyMap<string, number>;

  private constructor(tokens: readonly string[], source: string) {
    const ids = new Map<string, number>();
    const duplicates: DuplicateToken[] = [];
    tokens.forEach((token, id) => {
      const earlier = ids.get(token);
      if (earlier !== undefined) duplicates.push({ token, line: id + 1, earlierLine: earlier + 1 });
      ids.set(token, id);
    });
    this.tokens = tokens;
    this.duplicates = duplicates;
    this.source = source;
    this.#ids = ids;
  }

  /**
   * Reads the text of a vocabulary file: one token a line, lines end at LF only, white space around a token is
   * removed (so CR LF is fine), a blank line is the token "" and takes an id.
   *
   * @throws ElectraError `ERR_ELECTRA_VOCABULARY_EMPTY` if there is no token at all.
   */
  static parse(text: string, options: VocabularyOptions = {}): Vocabulary {
    const lines = text.split("\n");
    if (lines.at(-1) === "") lines.pop();
    return Vocabulary.fromTokens(lines.map(stripWhiteSpace), options);
  }

  /** A vocabulary of these tokens in this order. @throws ElectraError `ERR_ELECTRA_VOCABULARY_EMPTY`. */
  static fromTokens(tokens: Iterable<string>, options: VocabularyOptions = {}): Vocabulary {
    const source = options.source ?? "the vocabulary";
    const list = [...tokens];
    if (list.every((token) => token === "")) {
      throw new ElectraError("ERR_ELECTRA_VOCABULARY_EMPTY", `${source} holds no token.`, {
        hint: "Give a vocabulary with one token a line, or make one with `electra-native build-vocab`.",
      });
    }
    return new Vocabulary(list, source);
  }

  /** Number of ids, 0 to size − 1: the number of lines, duplicates and blank ones included. */
  get size(): number {
    return this.tokens.length;
  }

  has(token: string): boolean {
    return this.#ids.has(token);
  }

  /** The token's id, or undefined. */
  get(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** The token's id. @throws ElectraError `ERR_ELECTRA_UNKNOWN_TOKEN`. */
  idOf(token: string): number {
    const id = this.#ids.get(token);
    if (id === undefined) {
      throw new ElectraError(
        "ERR_ELECTRA_UNKNOWN_TOKEN",
        `${this.source} has no token ${JSON.stringify(token)}.`,
      );
    }
    return id;
  }

  /**
   * The token on line id + 1. Ids shadowed by a later duplicate still have their token, so that any id a model of this
   * vocabulary can predict is printable.
   *
   * @throws ElectraError `ERR_ELECTRA_TOKEN_ID` for anything but an integer of 0 to size − 1.
   */
  tokenOf(id: number): string {
    const token = this.tokens[id];
    if (token === undefined) {
      throw new ElectraError(
        "ERR_ELECTRA_TOKEN_ID",
        `Id ${id} is not in ${this.source} (0 to ${this.size - 1}).`,
        {
          hint: "Is this the vocabulary that the ids were made with?",
        },
      );
    }
    return token;
  }

  /**
   * Ids of tokens that have to be there, in the order asked for.
   *
   * @throws ElectraError `ERR_ELECTRA_VOCABULARY_TOKENS` that names all missing ones.
   */
  require<const T extends readonly string[]>(tokens: T): { readonly [K in keyof T]: number } {
    const missing = tokens.filter((token) => !this.#ids.has(token));
    if (missing.length > 0) {
      throw new ElectraError(
        "ERR_ELECTRA_VOCABULARY_TOKENS",
        `${this.source} (${this.size} lines) lacks ${missing.join(", ")}.`,
        { hint: this.#missingHint(), exitCode: 2 },
      );
    }
    return tokens.map((token) => this.#ids.get(token)!) as unknown as { readonly [K in keyof T]: number };
  }

  /** Text of a vocabulary file that reads back to this vocabulary: a token a line, ended by LF. */
  toText(): string {
    return `${this.tokens.join("\n")}\n`;
  }

  #missingHint(): string {
    const first = this.tokens[0]!;
    if (first.startsWith("\ufeff")) {
      return "The file begins with a byte order mark (U+FEFF), which belongs to its first token: save it without one.";
    }
    if (first.startsWith("{") || first.startsWith("[{")) {
      return "This looks like JSON. A vocabulary is plain text, one token a line.";
    }
    return "ELECTRA needs a WordPiece vocabulary with [UNK], [CLS], [SEP] and [MASK], each on a line of its own; `electra-native build-vocab` makes one.";
  }
}
