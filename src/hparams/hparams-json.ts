import { ElectraError } from "../errors.js";

/**
 * Parses the JSON object of hparams. Unlike `JSON.parse` it says line and column of every mistake on every Node
 * version, explains the usual ones (quotes, trailing commas, Python's `True`/`None`), and refuses a name given twice,
 * of which `JSON.parse` would silently keep the last.
 *
 * @param place what the text is, for messages: `--hparams` or a path
 * @throws ElectraError `ERR_ELECTRA_HPARAMS_JSON`, exit code 2
 */
export function parseHparamsJson(text: string, place: string): Readonly<Record<string, unknown>> {
  const value = new Scanner(text.replace(/^\uFEFF/, ""), place).parse();
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const kind = Array.isArray(value) ? "a list" : JSON.stringify(value);
    throw new ElectraError("ERR_ELECTRA_HPARAMS_JSON", `${place} must be a JSON object, not ${kind}.`, {
      hint: `Write {"name": value, …}, for example '{"model_size": "small", "num_train_steps": 1000}'.`,
      exitCode: 2,
    });
  }
  const { $schema: _editorsOnly, ...hparams } = value as Record<string, unknown>;
  return hparams;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const WORD = /[A-Za-z_$][\w$]*/y;
const CONSTANTS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
const WORD_HINTS: Readonly<Record<string, string>> = {
  True: "JSON writes true in lower case.",
  False: "JSON writes false in lower case.",
  None: "JSON writes null for None.",
  NaN: "JSON has no NaN.",
  Infinity: "JSON has no Infinity.",
  undefined: "JSON has no undefined; leave the name out or write null.",
};

class Scanner {
  readonly #text: string;
  readonly #place: string;
  #at = 0;

  constructor(text: string, place: string) {
    this.#text = text;
    this.#place = place;
  }

  parse(): unknown {
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) {
      this.#fail("unexpected text after the end of the object", "Give one JSON object only.");
    }
    return value;
  }

  #value(): unknown {
    this.#space();
    const next = this.#text[this.#at];
    if (next === "{") return this.#object();
    if (next === "[") return this.#list();
    if (next === '"') return this.#string();
    const number = this.#match(NUMBER);
    if (number !== undefined) return Number(number);
    const start = this.#at;
    const word = this.#match(WORD);
    if (word !== undefined && Object.hasOwn(CONSTANTS, word)) return CONSTANTS[word];
    this.#at = start;
    if (word !== undefined) {
      this.#fail(`unexpected ${word}`, WORD_HINTS[word] ?? "Put text in double quotes.");
    }
    return this.#fail("expected a value", quoteHint(next));
  }

  #object(): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    this.#at++;
    this.#space();
    if (this.#take("}")) return {};
    for (;;) {
      this.#space();
      const start = this.#at;
      if (this.#text[start] !== '"') {
        const next = this.#text[start];
        this.#fail(
          "expected a name in double quotes",
          next === "}" && entries.size > 0 ? "Remove the comma before the closing brace." : quoteHint(next),
        );
      }
      const name = this.#string();
      if (entries.has(name)) {
        this.#at = start;
        this.#fail(`"${name}" is given twice`, "Keep one of the two.");
      }
      this.#space();
      if (!this.#take(":")) this.#fail(`expected ":" after "${name}"`, `Write "${name}": value.`);
      entries.set(name, this.#value());
      this.#space();
      if (this.#take("}")) return Object.fromEntries(entries);
      if (!this.#take(","))
        this.#fail(`expected "," or "}" after the value of "${name}"`, this.#unclosed("}"));
    }
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    this.#at++;
    this.#space();
    if (this.#take("]")) return items;
    for (;;) {
      items.push(this.#value());
      this.#space();
      if (this.#take("]")) return items;
      if (!this.#take(",")) this.#fail('expected "," or "]"', this.#unclosed("]"));
    }
  }

  #string(): string {
    const literal = this.#match(STRING);
    if (literal === undefined) {
      return this.#fail(
        "this text is not closed, or holds a line break or a wrong escape",
        'Close it with ", and write \\\\ for a backslash.',
      );
    }
    return JSON.parse(literal) as string;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    this.#match(/[ \t\r\n]*/y);
  }

  #unclosed(bracket: string): string {
    return this.#at >= this.#text.length
      ? `Add the closing ${bracket}.`
      : "Separate the entries with commas.";
  }

  #fail(reason: string, hint: string): never {
    const before = this.#text.slice(0, this.#at).split("\n");
    const where = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    const rest = this.#text.slice(this.#at, this.#at + 20).split("\n")[0];
    const seen = this.#at >= this.#text.length ? "the end of the text" : `"${rest}"`;
    throw new ElectraError(
      "ERR_ELECTRA_HPARAMS_JSON",
      `${this.#place} is not valid JSON at ${where}: ${reason}, at ${seen}.`,
      { hint, exitCode: 2 },
    );
  }
}

function quoteHint(next: string | undefined): string {
  return next === "'" || next === "‘" || next === "“" || next === "”"
    ? `JSON takes straight double quotes only; in a shell: --hparams '{"name": value}'.`
    : 'Write {"name": value, …} with names in double quotes.';
}
