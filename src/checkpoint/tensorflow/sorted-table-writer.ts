import { maskedCrc32c } from "../../data/crc32c.js";
import { varint } from "./bundle-entry.js";
import { FOOTER_BYTES, TABLE_MAGIC, type TableEntry, TRAILER_BYTES } from "./sorted-table.js";

/** As TensorFlow builds its index files: every sixteenth key is written in full, blocks end near 256 KiB. */
const RESTART_INTERVAL = 16;
const BLOCK_BYTES = 262_144;

/**
 * A LevelDB table of these entries, uncompressed, byte for byte as TensorFlow writes it.
 *
 * @param entries with ascending keys, bytewise, no two the same
 */
export function formatSortedTable(entries: readonly TableEntry[], blockBytes = BLOCK_BYTES): Uint8Array {
  const pieces: Uint8Array[] = [];
  let offset = 0;
  /** Appends a block and returns its handle. */
  const append = (contents: Uint8Array): Uint8Array => {
    const stored = new Uint8Array(contents.length + TRAILER_BYTES);
    stored.set(contents);
    // The byte in between, 0, says that the block is not compressed; the sum covers it.
    new DataView(stored.buffer).setUint32(
      contents.length + 1,
      maskedCrc32c(stored, 0, contents.length + 1),
      true,
    );
    pieces.push(stored);
    const handle = Uint8Array.from([...varint(offset), ...varint(contents.length)]);
    offset += stored.length;
    return handle;
  };

  const index = new BlockBuilder(1);
  let block = new BlockBuilder(RESTART_INTERVAL);
  entries.forEach((entry, number) => {
    block.add(entry);
    const next = entries[number + 1];
    if (next !== undefined && block.size < blockBytes) return;
    const key = next === undefined ? shortSuccessor(entry.key) : shortestSeparator(entry.key, next.key);
    index.add({ key, value: append(block.finish()) });
    block = new BlockBuilder(RESTART_INTERVAL);
  });
  const metaIndex = append(new BlockBuilder(RESTART_INTERVAL).finish());
  const footer = new Uint8Array(FOOTER_BYTES);
  const indexHandle = append(index.finish());
  footer.set(metaIndex);
  footer.set(indexHandle, metaIndex.length);
  new DataView(footer.buffer).setBigUint64(FOOTER_BYTES - 8, TABLE_MAGIC, true);
  return Buffer.concat([...pieces, footer]);
}

class BlockBuilder {
  readonly #interval: number;
  readonly #bytes: number[] = [];
  readonly #restarts: number[] = [0];
  #sinceRestart = 0;
  #last: Uint8Array = new Uint8Array(0);

  constructor(interval: number) {
    this.#interval = interval;
  }

  /** Bytes that the block has so far. */
  get size(): number {
    return this.#bytes.length + 4 * (this.#restarts.length + 1);
  }

  add({ key, value }: TableEntry): void {
    let shared = 0;
    if (this.#sinceRestart < this.#interval) {
      while (shared < this.#last.length && this.#last[shared] === key[shared]) shared++;
    } else {
      this.#restarts.push(this.#bytes.length);
      this.#sinceRestart = 0;
    }
    this.#bytes.push(...varint(shared), ...varint(key.length - shared), ...varint(value.length));
    this.#bytes.push(...key.subarray(shared), ...value);
    this.#last = key;
    this.#sinceRestart++;
  }

  finish(): Uint8Array {
    const result = new Uint8Array(this.size);
    result.set(this.#bytes);
    const view = new DataView(result.buffer);
    [...this.#restarts, this.#restarts.length].forEach((value, index) => {
      view.setUint32(this.#bytes.length + 4 * index, value, true);
    });
    return result;
  }
}

/** A short key at or behind `start` and before `limit` (leveldb's BytewiseComparator). */
function shortestSeparator(start: Uint8Array, limit: Uint8Array): Uint8Array {
  let same = 0;
  while (same < start.length && same < limit.length && start[same] === limit[same]) same++;
  if (same >= start.length || same >= limit.length) return start;
  const byte = start[same]!;
  if (byte >= 255 || byte + 1 >= limit[same]!) return start;
  return Uint8Array.from([...start.subarray(0, same), byte + 1]);
}

/** A short key at or behind `key`. */
function shortSuccessor(key: Uint8Array): Uint8Array {
  const at = key.findIndex((byte) => byte !== 255);
  return at < 0 ? key : Uint8Array.from([...key.subarray(0, at), key[at]! + 1]);
}
