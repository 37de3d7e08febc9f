import { maskedCrc32c } from "../../data/crc32c.js";
import { WireError, WireReader } from "../../data/proto-wire.js";
import { decompressSnappy } from "./snappy.js";

/** An entry of a sorted table. Keys are ascending, bytewise. */
export interface TableEntry {
  readonly key: Uint8Array;
  /** A view of the file (or of a decompressed block). */
  readonly value: Uint8Array;
}

/** A table that breaks its format. Callers who know the file turn it into an `ElectraError`. */
export class TableError extends Error {
  override readonly name = "TableError";
}

export const TABLE_MAGIC = 0xdb4775248b80fb57n;
export const FOOTER_BYTES = 48;
/** After a block: type of compression and check sum. */
export const TRAILER_BYTES = 5;

/** No table that TensorFlow writes comes near it; a damaged one must not turn 20 kB into 20 MB of keys. */
const LARGEST_EXPANSION = 8;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/**
 * The entries of a LevelDB table (leveldb/doc/table_format.md), the format of TensorFlow's index files: blocks of
 * prefix-compressed keys, each with a masked CRC-32C, found through an index block, found through the footer.
 *
 * @param file the whole file; index files are small
 * @throws TableError at the first thing that does not fit
 */
export function* readSortedTable(file: Uint8Array): Generator<TableEntry, void, undefined> {
  const reader = new WireReader();
  if (file.length < FOOTER_BYTES) {
    throw new TableError(`it has ${file.length} bytes, fewer than the ${FOOTER_BYTES} of a table's footer`);
  }
  const footer = file.length - FOOTER_BYTES;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = view.getBigUint64(file.length - 8, true);
  if (magic !== TABLE_MAGIC) {
    throw new TableError(
      `its last 8 bytes are 0x${magic.toString(16)}, a table ends with 0x${TABLE_MAGIC.toString(16)}`,
    );
  }
  const budget = { keys: LARGEST_EXPANSION * file.length, blocks: LARGEST_EXPANSION * file.length };
  reader.reset(file, footer);
  const metaIndex = readHandle(reader, file.length - 8, "the footer");
  const index = readHandle(reader, file.length - 8, "the footer");
  // Nothing of TensorFlow's is in the meta index, but damage there is damage.
  for (const _ of blockEntries(
    block(file, metaIndex, "the meta-index block", budget),
    "the meta-index block",
    budget,
  ));

  let previous: Uint8Array | undefined;
  let number = 0;
  for (const { value } of blockEntries(
    block(file, index, "the index block", budget),
    "the index block",
    budget,
  )) {
    const name = `block ${number++}`;
    reader.reset(value, 0);
    const contents = block(file, readHandle(reader, value.length, "the index block"), name, budget);
    for (const entry of blockEntries(contents, name, budget)) {
      if (previous !== undefined && Buffer.compare(previous, entry.key) >= 0) {
        throw new TableError(`${name}: the keys ${show(previous)} and ${show(entry.key)} are not in order`);
      }
      previous = entry.key;
      yield entry;
    }
  }
}

/** What the keys and decompressed blocks of a table may still take, in bytes. */
interface Budget {
  keys: number;
  blocks: number;
}

/** A block's contents, its check sum verified. */
function block(file: Uint8Array, { offset, size }: BlockHandle, name: string, budget: Budget): Uint8Array {
  const limit = file.length - FOOTER_BYTES - TRAILER_BYTES;
  if (offset > limit || size > limit - offset) {
    throw new TableError(`${name} is said to be the ${size} bytes from byte ${offset} on, outside the file`);
  }
  const end = offset + size;
  const stored = new DataView(file.buffer, file.byteOffset + end + 1, 4).getUint32(0, true);
  const computed = maskedCrc32c(file, offset, end + 1);
  if (stored !== computed) {
    throw new TableError(
      `${name} (${size} bytes from byte ${offset} on): its check sum is ${hex(computed)}, but ${hex(stored)} was stored`,
    );
  }
  const contents = file.subarray(offset, end);
  const type = file[end]!;
  if (type === 0) return contents;
  if (type !== 1) throw new TableError(`${name}: compression type ${type} is unknown`);
  try {
    const plain = decompressSnappy(contents, budget.blocks);
    budget.blocks -= plain.length;
    return plain;
  } catch (error) {
    throw new TableError(`${name} cannot be decompressed: ${(error as Error).message}`);
  }
}

/** Each key shares a prefix with the one before it; restart points, for binary search, only bound the entries here. */
function* blockEntries(
  bytes: Uint8Array,
  name: string,
  budget: Budget,
): Generator<TableEntry, void, undefined> {
  if (bytes.length < 4)
    throw new TableError(`${name} has ${bytes.length} bytes, too few for its restart points`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const restarts = view.getUint32(bytes.length - 4, true);
  if (restarts > (bytes.length - 4) / 4) {
    throw new TableError(`${name}: ${restarts} restart points do not fit into ${bytes.length} bytes`);
  }
  const limit = bytes.length - 4 * (restarts + 1);
  const reader = new WireReader();
  reader.reset(bytes, 0);
  const number = (): number => {
    reader.varint(limit);
    // More than 32 bits leave any block, as 2^32 - 1 does.
    return reader.high === 0 ? reader.low : 2 ** 32 - 1;
  };
  let key: Uint8Array = new Uint8Array(0);
  while (reader.at < limit) {
    const start = reader.at;
    const fail = (message: string): never => {
      throw new TableError(`${name}: the entry at byte ${start} ${message}`);
    };
    let sizes: readonly [shared: number, own: number, value: number];
    try {
      sizes = [number(), number(), number()];
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return fail(`has sizes that cannot be read: ${error.message}`);
    }
    const [shared, own, size] = sizes;
    if (shared > key.length) fail(`shares ${shared} bytes with a key of ${key.length}`);
    if (own > limit - reader.at || size > limit - reader.at - own) fail("leaves the block");
    budget.keys -= shared + own;
    if (budget.keys < 0) fail(`makes the keys ${LARGEST_EXPANSION} times as large as the file`);
    const next = new Uint8Array(shared + own);
    next.set(key.subarray(0, shared));
    next.set(bytes.subarray(reader.at, reader.at + own), shared);
    key = next;
    const value = bytes.subarray(reader.at + own, reader.at + own + size);
    reader.at += own + size;
    yield { key, value };
  }
}

function readHandle(reader: WireReader, limit: number, where: string): BlockHandle {
  const number = (): number => {
    try {
      reader.varint(limit);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      throw new TableError(`${where}: a block's place cannot be read: ${error.message}`);
    }
    return reader.high * 2 ** 32 + reader.low;
  };
  return { offset: number(), size: number() };
}

function show(key: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(key.subarray(0, 80)));
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
