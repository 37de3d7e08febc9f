// What a byte is to the scanner: a letter or digit of ASCII is the number of 1 to 62 that `ShortWordCache` packs, capitals
// being the small ones when case is lowered.
export const SPACE = 64;
export const PUNCTUATION = 65;
export const NON_ASCII = 66;
export const CONTROL = 67;

// UTF-8 forms that the scanner knows by itself. U+2010–2027 (dashes, quotes, bullets, ellipsis) are E2 80 90 to
// E2 80 A7, all punctuation; the ideographs U+3400–4DBF and U+4E00–9FFF have three bytes and do not decompose.
export const FIRST_GENERAL_PUNCTUATION = 0x2010;
export const GENERAL_PUNCTUATION_COUNT = 24;
export const FIRST_IDEOGRAPH = 0x3400;
export const LAST_IDEOGRAPH = 0x9fff;

/** What each of the 256 bytes is to the scanner. */
export function byteKinds(lowerCase: boolean): Uint8Array {
  const kinds = new Uint8Array(256).fill(NON_ASCII, 128).fill(PUNCTUATION, 33, 127).fill(CONTROL, 0, 32);
  for (const c of [0x09, 0x0a, 0x0d, 0x20]) kinds[c] = SPACE;
  kinds[0x7f] = CONTROL;
  for (let i = 0; i < 10; i++) kinds[0x30 + i] = 1 + i;
  for (let i = 0; i < 26; i++) {
    kinds[0x61 + i] = 11 + i;
    kinds[0x41 + i] = lowerCase ? 11 + i : 37 + i;
  }
  return kinds;
}

/** The byte that a byte counts as: itself, or the small letter. */
export function letterBytes(lowerCase: boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) =>
    lowerCase && byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte,
  );
}

/** Index from U+3400 on of the ideograph of U+3400–4DBF or U+4E00–9FFF with these three bytes, or −1. */
export function ideographAt(first: number, second: number, third: number): number {
  if (first < 0xe3 || first > 0xe9 || (second & 0xc0) !== 0x80 || (third & 0xc0) !== 0x80) return -1;
  const codePoint = ((first & 15) << 12) | ((second & 63) << 6) | (third & 63);
  if (codePoint < FIRST_IDEOGRAPH || (codePoint > 0x4dbf && codePoint < 0x4e00)) return -1;
  return codePoint - FIRST_IDEOGRAPH;
}
