import { isWhiteSpace, stripWhiteSpace } from "../tokenization/white-space.js";

/** Whether the line `text[start, end)`, UTF-8, is empty or white space alone (see {@link isWhiteSpace}; U+FEFF is none). */
export function isBlank(text: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const byte = text[index]!;
    if (byte > 127) {
      // Rare at the beginning of a line: decide by the characters.
      return stripWhiteSpace(text.toString("utf8", index, end)) === "";
    }
    if (!isWhiteSpace(byte)) {
      return false;
    }
  }
  return true;
}
