/** A protocol-buffer message that breaks the wire format. Callers who know the record turn it into an `ElectraError`. */
export class WireError extends Error {
  /** Byte of the message at which reading stopped. */
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.name = "WireError";
    this.at = at;
  }
}

/** Wire types of protocol buffers. */
export const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, GroupStart: 3, GroupEnd: 4, Fixed32: 5 } as const;

/** Groups are obsolete but legal inside unknown fields; nobody nests them this deep. */
const deepestGroup = 64;

/**
 * Reads the wire format of protocol buffers without allocating: one cursor over one array of bytes. Sub-messages are
 * read by the same cursor up to a `limit`, the offset of their end.
 */
export class WireReader {
  bytes: Uint8Array = new Uint8Array(0);
  /** Offset of the next byte. */
  at = 0;
  /** The halves of the last varint, as unsigned 32-bit numbers. */
  low = 0;
  high = 0;

  reset(bytes: Uint8Array, start: number): void {
    this.bytes = bytes;
    this.at = start;
  }

  /** Reads a varint of at most 64 bits into `low` and `high`; bits beyond 64 are dropped, as protobuf does. */
  varint(limit: number): void {
    const { bytes } = this;
    const start = this.at;
    let at = start;
    let low = 0;
    let high = 0;
    for (let index = 0; ; index++) {
      if (at >= limit) {
        throw new WireError("a number is cut off", start);
      }
      if (index === 10) {
        throw new WireError("a number has more than ten bytes", start);
      }
      const byte = bytes[at++]!;
      const bits = byte & 127;
      if (index < 4) {
        low |= bits << (7 * index);
      } else if (index === 4) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else {
        high |= bits << (7 * index - 32);
      }
      if (byte < 128) {
        break;
      }
    }
    this.at = at;
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  /** Reads a field's tag: the field number times 8 plus the wire type. */
  tag(limit: number): number {
    const start = this.at;
    const first = this.bytes[start]!;
    let tag = first;
    if (first < 128) {
      this.at = start + 1;
    } else {
      this.varint(limit);
      if (this.high !== 0) {
        throw new WireError("a field number is too large", start);
      }
      tag = this.low;
    }
    if (tag >>> 3 === 0) {
      throw new WireError("field number 0 does not exist", start);
    }
    return tag;
  }

  /** Reads a length and returns the offset of the end of what follows, which lies within `limit`. */
  block(limit: number): number {
    const start = this.at;
    this.varint(limit);
    if (this.high !== 0 || this.low > limit - this.at) {
      const length = (BigInt(this.high) << 32n) | BigInt(this.low);
      throw new WireError(`a field says that it has ${length} bytes, but ${limit - this.at} are left`, start);
    }
    return this.at + this.low;
  }

  /** Skips the value of an unknown field. */
  skip(tag: number, limit: number, depth = 0): void {
    const start = this.at;
    switch (tag & 7) {
      case WireType.Varint:
        this.varint(limit);
        return;
      case WireType.Fixed64:
        this.advance(8, limit);
        return;
      case WireType.Bytes:
        this.at = this.block(limit);
        return;
      case WireType.Fixed32:
        this.advance(4, limit);
        return;
      case WireType.GroupStart:
        if (depth >= deepestGroup) {
          throw new WireError("groups are nested too deeply", start);
        }
        for (;;) {
          if (this.at >= limit) {
            throw new WireError("a group is not closed", start);
          }
          const inner = this.tag(limit);
          if ((inner & 7) === WireType.GroupEnd) {
            if (inner >>> 3 !== tag >>> 3) {
              throw new WireError("a group is closed by another field", start);
            }
            return;
          }
          this.skip(inner, limit, depth + 1);
        }
      default:
        throw new WireError(`wire type ${tag & 7} does not belong here`, start);
    }
  }

  /** Moves `count` bytes on. */
  advance(count: number, limit: number): void {
    if (count > limit - this.at) {
      throw new WireError("a fixed-size value is cut off", this.at);
    }
    this.at += count;
  }
}
