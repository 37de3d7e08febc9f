// The built-in matrix product, in the manner of Goto and van de Geijn 2008, "Anatomy of high-performance
// matrix multiplication", but with few copies. A tile of C stays in registers over a block of the depth. A is
// read where it lies, element by element, transposed or not, unless its rows lie so that they would push each
// other out of the first-level cache. With AVX-512 B is read where it lies too: a row of a tile is two cache
// lines, asked for some steps ahead, which costs less than copying them first. A transposed B, and any B for
// narrower vectors, is copied into panels, stretches of columns in the order in which the tile wants them.
//
// Every element of C is one chain of multiply-adds in the order of the depth, whatever the blocks, so that a
// row's result depends neither on the rows beside it nor on how the work was cut.

#include "matmul.h"

#include <cstring>
#include <utility>

namespace electra::cpu::ELECTRA_ISA {
namespace {

// The native vector; simd.h's sixteen lanes would not stay in registers on narrower machines.
#if defined(__AVX512F__)
constexpr int kWidth = 16, kTileRows = 14;  // 28 of 32 registers hold C
#elif defined(__AVX2__)
constexpr int kWidth = 8, kTileRows = 6;  // 12 of 16
#elif defined(__aarch64__)
constexpr int kWidth = 4, kTileRows = 12;  // 24 of 32
#else
constexpr int kWidth = 4, kTileRows = 6;  // 12 of 16
#endif
using vn = float __attribute__((vector_size(kWidth * 4)));
constexpr int kPanel = 2 * kWidth;
constexpr int kLine = 16;                // floats of a cache line
constexpr int64_t kDepth = 256;          // of a block, about; at most half as much again
constexpr int64_t kBlockCols = 256;      // of a block of B, 256 kB in the second-level cache
constexpr int64_t kBlockRows = 128;      // of a copied block of A, half of that
constexpr int64_t kMostDepth = kDepth + kDepth / 2;
// Between copied rows of A, so that neighbours lie in different sets of the cache; if A is transposed, the
// second.
constexpr int64_t kRowGap = kMostDepth + kLine, kColumnGap = kBlockRows + kLine;
// Where a vector is a cache line, a strip of A (14 kB) stays in the first-level cache and B streams by, in
// place; else a panel of B (16 kB or less) stays and strips stream by.
constexpr bool kWide = kWidth == kLine;
// Up to this many rows a copy of B costs more than it saves.
constexpr int64_t kFewRows = 48;
constexpr int64_t kAhead = 24;  // steps that B is fetched in advance: no prefetcher expects its rows in place
constexpr int64_t kLate = 32;  // steps before the end of a tile that its part of C is fetched

inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline vn load_native(const float* p) {
  vn v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store_native(float* p, vn v) { std::memcpy(p, &v, sizeof(v)); }

/// Factor A of a block: element (i, k) at data[i · step + k], or at data[i + k · step] if it is transposed.
struct Left {
  const float* data;
  int64_t step;
  bool transposed;
};
/// Factor B of a block: row k of panel j begins at data + j · panel + k · step.
struct Right {
  const float* data;
  int64_t panel;
  int64_t step;
};

/// A column of cache lines, `step` apart, that a tile brings into the second-level cache on the way, one at each step
/// (only where A is transposed and a vector is a line).
struct Ahead {
  const float* data;
  int64_t step;
};

/// c[kRows, kPanel] = (add ? c : 0) + A · B.
template <int kRows, bool kTransposed>
__attribute__((noinline)) void tile(int64_t depth, const float* a, int64_t a_step, const float* b,
                                    int64_t b_step, bool add, float* c, int64_t ldc, Ahead ahead) {
  vn sum[kRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = add ? load_native(c + i * ldc) : vn{};
    sum[i][1] = add ? load_native(c + i * ldc + kWidth) : vn{};
  }
  int64_t steps = depth > kLate ? depth - kLate : 0;
  for (int part = 0; part < 2; ++part) {
    for (int64_t p = steps; p > 0; --p) {
      const vn b0 = load_native(b), b1 = load_native(b + kWidth);
      __builtin_prefetch(b + kAhead * b_step);
      if (kPanel > kLine) __builtin_prefetch(b + kAhead * b_step + kPanel - 1);
      if (kTransposed) __builtin_prefetch(a + kAhead * a_step);
      if (kWide && kTransposed) {
        __builtin_prefetch(ahead.data, 0, 2);
        ahead.data += ahead.step;
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const vn x = a[kTransposed ? i : i * a_step] - vn{};
        sum[i][0] += x * b0;
        sum[i][1] += x * b1;
      }
      a += kTransposed ? a_step : 1;
      b += b_step;
    }
    if (part > 0) break;
    steps = depth - steps;
    // What follows stores to lines that left the cache long ago, or were never in it.
    for (int i = 0; i < kRows; ++i) {
      __builtin_prefetch(c + i * ldc, 1);
      __builtin_prefetch(c + i * ldc + kPanel - 1, 1);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    store_native(c + i * ldc, sum[i][0]);
    store_native(c + i * ldc + kWidth, sum[i][1]);
  }
}

using Tile = void (*)(int64_t depth, const float* a, int64_t a_step, const float* b, int64_t b_step, bool add,
                      float* c, int64_t ldc, Ahead ahead);
template <bool kTransposed, int... kHeights>
Tile tile_of(int64_t rows, std::integer_sequence<int, kHeights...>) {
  static constexpr Tile tiles[] = {tile<kHeights + 1, kTransposed>...};
  return tiles[rows - 1];
}

/// A tile of fewer columns than a panel has: whole in memory of its own, then copied.
void narrow_tile(Tile run, int64_t rows, int64_t cols, int64_t depth, const float* a, int64_t a_step,
                 const float* b, int64_t b_step, bool add, float* c, int64_t ldc, Ahead ahead) {
  alignas(64) float whole[kTileRows * kPanel] = {};
  if (add) {
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(whole + i * kPanel, c + i * ldc, static_cast<size_t>(cols) * sizeof(float));
  }
  run(depth, a, a_step, b, b_step, add, whole, kPanel, ahead);
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(c + i * ldc, whole + i * kPanel, static_cast<size_t>(cols) * sizeof(float));
}

/// Blocks of the depth, as equal as whole cache lines allow.
int64_t block_depth(int64_t k) {
  const int64_t blocks = k > kMostDepth ? ceil_div(k - kDepth / 2, kDepth) : 1;
  return ceil_div(ceil_div(k, blocks), kLine) * kLine;
}

/// Strips of rows, of nearly equal height: 128 rows are eight strips of 13 and two of 12, not nine of 14 and
/// one of 2.
struct Strips {
  int64_t rows, count;
  explicit Strips(int64_t all) : rows(all), count(ceil_div(all, kTileRows)) {}
  int64_t first(int64_t strip) const { return strip * (rows / count) + minimum(strip, rows % count); }
};

/// What the next block of the depth will read in place, if A is transposed: its rows of both factors begin here.
struct Next {
  const float* a = nullptr;
  const float* b = nullptr;
};

/// C[rows, cols] = (add ? C : 0) + A · B for a block. `copies`: room for a block of A.
void multiply_block(int64_t rows, int64_t cols, int64_t depth, const Left& a, const Right& b, bool add,
                    float* c, int64_t ldc, float* copies, const Next& next = {}) {
  const Strips strips(rows);
  const int64_t panels = ceil_div(cols, kPanel);
  const auto run = [&](int64_t strip, int64_t panel, const float* left, int64_t left_step) {
    const int64_t first = strips.first(strip), height = strips.first(strip + 1) - first;
    constexpr auto heights = std::make_integer_sequence<int, kTileRows>{};
    const Tile kernel = a.transposed ? tile_of<true>(height, heights) : tile_of<false>(height, heights);
    const int64_t width = minimum(kPanel, cols - panel * kPanel);
    const float* right = b.data + panel * b.panel;
    float* out = c + first * ldc + panel * kPanel;
    // Each tile's share: one column of lines, of B first, because the next block's first strip wants all of it.
    const int64_t share = strip * panels + panel;
    Ahead ahead{right, 0};
    if (next.b != nullptr && share < ceil_div(cols, kLine))
      ahead = Ahead{next.b + share * kLine, b.step};
    else if (next.a != nullptr && share - ceil_div(cols, kLine) < ceil_div(rows, kLine))
      ahead = Ahead{next.a + (share - ceil_div(cols, kLine)) * kLine, a.step};
    if (width == kPanel)
      kernel(depth, left, left_step, right, b.step, add, out, ldc, ahead);
    else
      narrow_tile(kernel, height, width, depth, left, left_step, right, b.step, add, out, ldc, ahead);
  };
  // Rows 2 kB or a multiple apart share two sets of the first-level cache.
  const bool copy = a.step % 512 == 0 && panels > 2 && !(kWide && a.transposed);
  const auto copy_rows = [&](int64_t first, int64_t last, float* to) {
    const int64_t count = a.transposed ? rows : depth, gap = a.transposed ? kColumnGap : kRowGap;
    for (int64_t i = first; i < last; ++i, to += gap)
      std::memcpy(to, a.data + i * a.step, static_cast<size_t>(count) * sizeof(float));
  };
  if (!kWide) {
    Left left = a;
    if (copy) {
      copy_rows(0, a.transposed ? depth : rows, copies);
      left = Left{copies, a.transposed ? kColumnGap : kRowGap, a.transposed};
    }
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t strip = 0; strip < strips.count; ++strip)
        run(strip, panel, left.data + strips.first(strip) * (a.transposed ? 1 : left.step), left.step);
    return;
  }
  for (int64_t strip = 0; strip < strips.count; ++strip) {
    const float* left = a.data + strips.first(strip) * (a.transposed ? 1 : a.step);
    if (copy) {
      copy_rows(strips.first(strip), strips.first(strip + 1), copies);
      left = copies;
    }
    for (int64_t panel = 0; panel < panels; ++panel) {
      if (!a.transposed && strip + 1 < strips.count) {
        // This panel's share of the next strip, into the second-level cache.
        const int64_t from = depth * panel / panels / kLine * kLine;
        const int64_t to = panel + 1 == panels ? depth : depth * (panel + 1) / panels / kLine * kLine;
        for (int64_t i = strips.first(strip + 1); i < strips.first(strip + 2); ++i)
          for (int64_t p = from; p < to; p += kLine) __builtin_prefetch(a.data + i * a.step + p, 0, 2);
      }
      run(strip, panel, left, copy ? kRowGap : a.step);
    }
  }
}

/// Rows that lie far apart come in lines that no hardware prefetcher expects: this asks for one, some rows
/// ahead.
constexpr int64_t kRowsAhead = 8;
inline void prefetch_row(const float* row, int64_t cols) {
  for (int64_t c = 0; c < cols; c += kLine) __builtin_prefetch(row + c);
}

/// Four rows of sixteen columns become sixteen rows of four, kPanel apart.
inline void transpose_four(const float* from, int64_t stride, float* to) {
  using quad = float __attribute__((vector_size(16)));
  for (int p = 0; p < kLine; p += 4, to += 4 * kPanel) {
    quad a, b, c, d;
    std::memcpy(&a, from + p, 16);
    std::memcpy(&b, from + stride + p, 16);
    std::memcpy(&c, from + 2 * stride + p, 16);
    std::memcpy(&d, from + 3 * stride + p, 16);
    const quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const quad rows[4] = {__builtin_shufflevector(ab0, cd0, 0, 1, 4, 5),
                          __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7),
                          __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5),
                          __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7)};
    for (int i = 0; i < 4; ++i) std::memcpy(to + i * kPanel, &rows[i], 16);
  }
}

/// Panels of a B that is stored as it is used, `cols` a multiple of kPanel.
void pack_whole_panels(const float* b, int64_t ldb, int64_t depth, int64_t cols, float* out) {
  for (int64_t p = 0; p < depth; ++p, b += ldb, out += kPanel) {
    prefetch_row(b + kRowsAhead * ldb, cols);
    for (int64_t j = 0; j < cols; j += kPanel) {
      store_native(out + j * depth, load_native(b + j));
      store_native(out + j * depth + kWidth, load_native(b + j + kWidth));
    }
  }
}

/// One panel of op(B), `cols` <= kPanel columns, the missing ones zero.
void pack_panel(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t cols, float* out) {
  if (cols < kPanel) {
    for (int64_t p = 0; p < depth; ++p)
      for (int j = 0; j < kPanel; ++j)
        out[p * kPanel + j] = j >= cols ? 0.0f : transposed ? b[j * ldb + p] : b[p * ldb + j];
    return;
  }
  int64_t p = 0;
  for (; p + kLine <= depth; p += kLine)
    for (int j = 0; j < kPanel; j += 4) transpose_four(b + j * ldb + p, ldb, out + p * kPanel + j);
  for (; p < depth; ++p)
    for (int j = 0; j < kPanel; ++j) out[p * kPanel + j] = b[j * ldb + p];
}

void scale(int64_t m, int64_t n, float factor, float* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] *= factor;
}

constexpr size_t kCopiedBlock = static_cast<size_t>(kBlockRows * kRowGap > kMostDepth * kColumnGap
                                                     ? kBlockRows * kRowGap
                                                     : kMostDepth * kColumnGap);

}  // namespace

int64_t matmul_panel() { return kPanel; }
bool matmul_wants_panels(bool transpose_b) { return transpose_b || !kWide; }

size_t matmul_scratch() { return kCopiedBlock + static_cast<size_t>(kMostDepth * kBlockCols); }

void matmul_pack(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t cols, float* packed) {
  const int64_t whole = transposed ? 0 : cols / kPanel * kPanel;
  if (whole > 0) pack_whole_panels(b, ldb, depth, whole, packed);
  for (int64_t j = whole; j < cols; j += kPanel)
    pack_panel(transposed, transposed ? b + j * ldb : b + j, ldb, depth, minimum(kPanel, cols - j),
               packed + j * depth);
}

void matmul_packed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* packed, bool add,
                   float* c, int64_t ldc, float* scratch) {
  const int64_t block = block_depth(k);
  for (int64_t column = 0; column < n; column += kBlockCols) {
    const int64_t cols = minimum(kBlockCols, n - column);
    for (int64_t start = 0; start < k; start += block) {
      const Right right{packed + column * k + start * kPanel, k * kPanel, kPanel};
      for (int64_t row = 0; row < m; row += kBlockRows)
        multiply_block(minimum(kBlockRows, m - row), cols, minimum(block, k - start),
                       Left{a + row * lda + start, lda, false}, right, add || start > 0,
                       c + row * ldc + column, ldc, scratch);
    }
  }
}

void matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
            int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc, float* scratch) {
  float* const copies = scratch;
  float* const packed = scratch + kCopiedBlock;
  if (beta != 0 && beta != 1) scale(m, n, beta, c, ldc);
  const bool in_place = !transpose_b && alpha == 1 && (kWide || m <= kFewRows);
  const int64_t step = block_depth(k);
  for (int64_t column = 0; column < n; column += kBlockCols) {
    const int64_t cols = minimum(kBlockCols, n - column);
    const int64_t whole = in_place ? cols / kPanel * kPanel : 0;  // columns that are read where they lie
    for (int64_t start = 0; start < k; start += step) {
      const int64_t depth = minimum(step, k - start);
      const bool add = start > 0 || beta != 0;
      const float* block = transpose_b ? b + column * ldb + start : b + start * ldb + column;
      matmul_pack(transpose_b, block + whole, ldb, depth, cols - whole, packed);
      if (alpha != 1)
        for (int64_t i = 0; i < ceil_div(cols, kPanel) * kPanel * depth; ++i) packed[i] *= alpha;
      for (int64_t row = 0; row < m; row += kBlockRows) {
        const int64_t rows = minimum(kBlockRows, m - row);
        float* out = c + row * ldc + column;
        const Left left{transpose_a ? a + start * lda + row : a + row * lda + start, lda, transpose_a};
        Next next;
        if (kWide && transpose_a && start + depth < k) {
          next.a = left.data + depth * lda;
          next.b = block + depth * ldb;
        }
        if (whole > 0)
          multiply_block(rows, whole, depth, left, Right{block, kPanel, ldb}, add, out, ldc, copies, next);
        if (whole < cols)
          multiply_block(rows, cols - whole, depth, left, Right{packed, depth * kPanel, kPanel}, add, out + whole,
                         ldc, copies);
      }
    }
  }
}

}  // namespace electra::cpu::ELECTRA_ISA
