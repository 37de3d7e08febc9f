import { WireType } from "./proto-wire.js";

const utf8 = new TextEncoder();

/** An unsigned number of at most 53 bits, seven bits a byte, the lowest first. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  // Division instead of shifts: lengths and offsets may exceed 32 bits.
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** A field of an int32, int64, uint64 or enum. Negative numbers take ten bytes, as the wire format has it. */
export function varintField(field: number, value: number): Uint8Array {
  if (value >= 0) return concatBytes([tag(field, WireType.Varint), varint(value)]);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return concatBytes([tag(field, WireType.Varint), Uint8Array.from(bytes)]);
}

/** A field of a float. */
export function floatField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return concatBytes([tag(field, WireType.Fixed32), bytes]);
}

/** A field of bytes or of a message that is encoded already. */
export function bytesField(field: number, content: Uint8Array): Uint8Array {
  return concatBytes([blockHead(field, content.length), content]);
}

export function textField(field: number, text: string): Uint8Array {
  return bytesField(field, utf8.encode(text));
}

/** What stands before `length` bytes that are written apart, as large ones are. */
export function blockHead(field: number, length: number): Uint8Array {
  return concatBytes([tag(field, WireType.Bytes), varint(length)]);
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function tag(field: number, type: number): Uint8Array {
  return varint(field * 8 + type);
}
