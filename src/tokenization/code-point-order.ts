/**
 * Compares two strings by code points (JavaScript's own order, by UTF-16 units, puts U+10000 and above before
 * U+E000). Negative, zero or positive, for `Array.prototype.sort`.
 */
export function compareByCodePoints(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const highX = x >= 0xd800 && x <= 0xdfff;
    const highY = y >= 0xd800 && y <= 0xdfff;
    return highX === highY ? x - y : highX ? 1 : -1;
  }
  return a.length - b.length;
}
