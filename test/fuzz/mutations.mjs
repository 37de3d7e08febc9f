// Changes to bytes that parsers trip over: cut, doubled, swapped, and above all numbers at the edges of what they may be.

const largest = 20_000;

/** Numbers that lie at an edge: of integers, of floats that count, of the file itself. */
function edge(random, size) {
  const sizes = [size, size - 1, size + 1, Math.floor(size / 2), size * 2, size * 16, size - 48, size - 8];
  const edges = [
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
  ];
  const wide = [2 ** 53 - 1, 2 ** 53, 2 ** 56, 2 ** 63, 2 ** 64 - 2 ** 11];
  return Math.max(0, random.pick([...sizes, ...edges, ...(random.chance(0.5) ? wide : [])]));
}

export function varintBytes(value) {
  const bytes = [];
  let rest = BigInt(Math.min(value, 2 ** 64 - 2 ** 11));
  while (rest >= 128n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return [...bytes, Number(rest)];
}

function splice(bytes, at, removed, inserted) {
  const result = new Uint8Array(bytes.length - removed + inserted.length);
  result.set(bytes.subarray(0, at));
  result.set(inserted, at);
  result.set(bytes.subarray(at + removed), at + inserted.length);
  return result;
}

function littleEndian(value, width) {
  const number = BigInt(Math.min(value, 2 ** 64 - 2 ** 11));
  return Array.from({ length: width }, (_, index) => Number((number >> BigInt(8 * index)) & 255n));
}

const changes = [
  (bytes, random, at) => {
    bytes[at] ^= 1 << random.below(8);
    return bytes;
  },
  (bytes, random, at) => {
    bytes[at] = random.pick([0, 1, 127, 128, 255, random.below(256)]);
    return bytes;
  },
  // A fixed-size number in place.
  (bytes, random, at) => {
    const width = random.pick([1, 2, 4, 8]);
    if (at + width <= bytes.length) bytes.set(littleEndian(edge(random, bytes.length), width), at);
    return bytes;
  },
  // A varint in place of the byte or bytes of one.
  (bytes, random, at) => {
    let old = 1;
    while (bytes[at + old - 1] >= 128 && old < 10 && at + old < bytes.length) old++;
    return splice(bytes, at, old, varintBytes(edge(random, bytes.length)));
  },
  (bytes, random, at) =>
    bytes.slice(0, random.chance(0.5) ? at : bytes.length - 1 - random.below(Math.min(64, bytes.length))),
  (bytes, random, at) => splice(bytes, at, Math.min(1 + random.below(16), bytes.length - at), []),
  (bytes, random, at) =>
    splice(
      bytes,
      at,
      0,
      Array.from({ length: 1 + random.below(16) }, () => random.below(256)),
    ),
  // A piece doubled, or put where another was.
  (bytes, random, at) => {
    const from = random.below(bytes.length);
    const piece = bytes.slice(from, from + 1 + random.below(64));
    return splice(bytes, at, random.chance(0.5) ? Math.min(piece.length, bytes.length - at) : 0, piece);
  },
];

/**
 * One to four changes, half of them at a place that means something.
 *
 * @param {Uint8Array} original
 * @param {readonly number[]} places offsets of lengths, counts, types, check sums
 */
export function mutateBytes(original, random, places = []) {
  let bytes = Uint8Array.from(original);
  for (let count = 1 + random.below(4); count > 0 && bytes.length > 0; count--) {
    const known = places.filter((place) => place < bytes.length);
    const at = known.length > 0 && random.chance(0.5) ? random.pick(known) : random.below(bytes.length);
    bytes = random.pick(changes)(bytes, random, at);
  }
  return bytes.slice(0, largest);
}

/** Changes to text: those to bytes, and numbers, names and brackets replaced by others. */
export function mutateText(original, random) {
  if (random.chance(0.3)) return mutateBytes(original, random);
  let text = Buffer.from(original).toString("latin1");
  for (let count = 1 + random.below(3); count > 0; count--) {
    const tokens = [...text.matchAll(/-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|[[\]{}:,]|true|false|null/g)];
    if (tokens.length === 0) break;
    const token = random.pick(tokens);
    const other = random.pick(tokens)[0];
    const replacement = random.pick([
      String(edge(random, original.length)),
      `-${edge(random, original.length)}`,
      "1e308",
      "-0",
      "0.5",
      "null",
      "true",
      '""',
      '"__proto__"',
      `"${"x".repeat(random.below(300))}"`,
      '"\\u0000"',
      "[]",
      "{}",
      "",
      "[".repeat(random.below(2000)),
      other,
    ]);
    text = text.slice(0, token.index) + replacement + text.slice(token.index + token[0].length);
  }
  return Uint8Array.from(Buffer.from(text, "latin1")).slice(0, largest);
}
