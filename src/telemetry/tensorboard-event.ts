import { encodeRecord } from "../data/tfrecord-writer.js";

/** One scalar of TensorBoard's chart `tag`. */
export interface Scalar {
  readonly tag: string;
  readonly value: number;
}

/** The record that every event file starts with. */
export function fileVersionRecord(time: number): Uint8Array {
  return encodeRecord(concatenate([double(1, time), text(3, "brain.Event:2")]));
}

/**
 * Says that a run starts (again) at `step`: TensorBoard then forgets what older files hold from that step on.
 */
export function sessionStartRecord(time: number, step: number): Uint8Array {
  return encodeRecord(concatenate([double(1, time), varintField(2, step), bytesField(7, varintField(1, 1))]));
}

/**
 * Scalars of one step: TFRecord around tensorflow.Event { 1 wall_time double, 2 step int64, 5 Summary { 1 Value
 * { 1 tag, 2 simple_value float, 9 SummaryMetadata { 1 PluginData { 1 plugin_name } } } } }.
 */
export function scalarsRecord(time: number, step: number, scalars: readonly Scalar[]): Uint8Array {
  const plugin = bytesField(9, bytesField(1, text(1, "scalars")));
  const values = scalars.map(({ tag, value }) =>
    bytesField(1, concatenate([text(1, tag), float(2, value), plugin])),
  );
  return encodeRecord(
    concatenate([double(1, time), varintField(2, step), bytesField(5, concatenate(values))]),
  );
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  // Division instead of shifts: a step may exceed 32 bits.
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      bytes.push(rest);
      return bytes;
    }
    bytes.push((rest % 128) + 128);
  }
}

function varintField(field: number, value: number): Uint8Array {
  return Uint8Array.from([field * 8, ...varint(value)]);
}

function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  return concatenate([Uint8Array.from([field * 8 + 2, ...varint(bytes.length)]), bytes]);
}

function text(field: number, value: string): Uint8Array {
  return bytesField(field, new TextEncoder().encode(value));
}

function double(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = field * 8 + 1;
  new DataView(bytes.buffer).setFloat64(1, value, true);
  return bytes;
}

function float(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = field * 8 + 5;
  new DataView(bytes.buffer).setFloat32(1, value, true);
  return bytes;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
