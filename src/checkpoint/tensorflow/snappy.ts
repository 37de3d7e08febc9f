/**
 * Decompresses a block of Snappy (github.com/google/snappy, format_description.txt). TensorFlow writes its index files
 * without compression; LevelDB's format allows it.
 *
 * Everything is checked before the result is allocated, so the size that the block claims is believed only when its
 * contents add up to it.
 *
 * @param maximum largest result, in bytes
 * @throws RangeError saying what is wrong
 */
export function decompressSnappy(bytes: Uint8Array, maximum: number): Uint8Array {
  const { value: size, next: start } = length(bytes);
  if (size > maximum) throw new RangeError(`it would have ${size} bytes, more than ${maximum}`);
  let total = 0;
  for (const element of elements(bytes, start)) {
    if (element.copy !== undefined && (element.copy === 0 || element.copy > total)) {
      throw new RangeError(`a copy from ${element.copy} bytes back, ${total} are there`);
    }
    total += element.length;
    if (total > size) break;
  }
  if (total !== size)
    throw new RangeError(`it says ${size} bytes and holds ${total > size ? "more" : total}`);

  const result = new Uint8Array(size);
  let at = 0;
  for (const { length: count, copy, literal } of elements(bytes, start)) {
    if (copy === undefined) result.set(bytes.subarray(literal, literal + count), at);
    // Byte by byte: source and target may overlap, which is how runs are written.
    else for (let i = at; i < at + count; i++) result[i] = result[i - copy]!;
    at += count;
  }
  return result;
}

interface Element {
  readonly length: number;
  /** How far back a copy begins; undefined for a literal. */
  readonly copy: number | undefined;
  /** Where a literal's bytes begin. */
  readonly literal: number;
}

function* elements(bytes: Uint8Array, start: number): Generator<Element, void, undefined> {
  let at = start;
  const number = (count: number): number => {
    if (count > bytes.length - at) throw new RangeError("it is cut off");
    let value = 0;
    for (let i = 0; i < count; i++) value += bytes[at + i]! * 2 ** (8 * i);
    at += count;
    return value;
  };
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    const high = tag >>> 2;
    switch (tag & 3) {
      case 0: {
        const count = (high < 60 ? high : number(high - 59)) + 1;
        if (count > bytes.length - at) throw new RangeError("a literal is cut off");
        yield { length: count, copy: undefined, literal: at };
        at += count;
        break;
      }
      case 1:
        yield { length: (high & 7) + 4, copy: (high >>> 3) * 256 + number(1), literal: 0 };
        break;
      case 2:
        yield { length: high + 1, copy: number(2), literal: 0 };
        break;
      default:
        yield { length: high + 1, copy: number(4), literal: 0 };
    }
  }
}

function length(bytes: Uint8Array): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 5; index++) {
    const byte = bytes[index];
    if (byte === undefined) break;
    value += (byte & 127) * 128 ** index;
    if (byte < 128) return { value, next: index + 1 };
  }
  throw new RangeError("its length is cut off");
}
