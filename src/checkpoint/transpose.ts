const TILE = 32;
/** 256 Ki elements: well under a millisecond of copying, one mebibyte to write. */
const STRIPE_ELEMENTS = 1 << 18;

/** The transpose of a row-major [rows, columns] matrix, as a new [columns, rows] matrix. */
export function transpose(source: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const target = new Float32Array(rows * columns);
  transposeStripe(source, rows, columns, 0, columns, target);
  return target;
}

/**
 * The transpose in stripes of whole rows of the result, so that writing a large matrix neither doubles the
 * memory nor blocks the event loop for the whole copy.
 */
export function* transposeInStripes(
  source: Float32Array,
  rows: number,
  columns: number,
): Generator<Float32Array<ArrayBuffer>> {
  const stripe = Math.max(1, Math.floor(STRIPE_ELEMENTS / Math.max(1, rows)));
  for (let first = 0; first < columns; first += stripe) {
    const count = Math.min(stripe, columns - first);
    const target = new Float32Array(count * rows);
    transposeStripe(source, rows, columns, first, count, target);
    yield target;
  }
}

/** Tiles keep both the strided reads and the strided writes in the cache. */
function transposeStripe(
  source: Float32Array,
  rows: number,
  columns: number,
  first: number,
  count: number,
  target: Float32Array,
): void {
  for (let tileRow = 0; tileRow < rows; tileRow += TILE) {
    const rowEnd = Math.min(rows, tileRow + TILE);
    for (let tileColumn = 0; tileColumn < count; tileColumn += TILE) {
      const columnEnd = Math.min(count, tileColumn + TILE);
      for (let column = tileColumn; column < columnEnd; column++) {
        for (let row = tileRow; row < rowEnd; row++) {
          target[column * rows + row] = source[row * columns + first + column]!;
        }
      }
    }
  }
}
