/**
 * White space as the reference sees it: the separators of Python's `str.split()` and `str.strip()`. JavaScript's
 * `\s` and `trim()` differ (they include U+FEFF and leave out U+001C–1F and U+0085), so neither is used anywhere.
 *
 * @param code a code point or a UTF-16 unit: all these characters are in the basic plane.
 */
export function isWhiteSpace(code: number): boolean {
  if (code <= 0x20) return code === 0x20 || (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f);
  if (code < 0x1680) return code === 0x85 || code === 0xa0;
  if (code === 0x1680 || code === 0x3000) return true;
  if (code < 0x2000 || code > 0x205f) return false;
  return code <= 0x200a || code === 0x2028 || code === 0x2029 || code === 0x202f || code === 0x205f;
}

/** `text` without white space (see {@link isWhiteSpace}) at both ends: Python's `str.strip()`. */
export function stripWhiteSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start++;
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}
