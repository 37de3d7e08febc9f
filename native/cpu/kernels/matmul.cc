// The built-in matrix product, for machines without oneDNN: the scheme of Goto and van de Geijn 2008,
// "Anatomy of high-performance matrix multiplication". Blocks of A and B are copied into panels in the order
// in which the micro-kernel reads them; the micro-kernel keeps a tile of C in registers over all of the
// block's depth.

#include "matmul.h"

#include <cstring>

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
constexpr int kTileCols = 2 * kWidth;
constexpr int64_t kDepth = 384;  // a panel of B (kDepth x kTileCols) lives in the first-level cache
constexpr int64_t kBlockRows = kTileRows * 16;  // a block of A in the second-level cache
constexpr int64_t kBlockCols = 1024;

inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }

inline vn load_native(const float* p) {
  vn v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store_native(float* p, vn v) { std::memcpy(p, &v, sizeof(v)); }

/// Packs `rows` <= kTileRows rows of op(A) into [depth][kTileRows], times alpha, missing rows zero.
void pack_a(bool transposed, const float* a, int64_t lda, int64_t rows, int64_t depth, float alpha,
            float* out) {
  if (transposed) {
    for (int64_t p = 0; p < depth; ++p) {
      const float* source = a + p * lda;
      float* target = out + p * kTileRows;
      if (rows == kTileRows) {
        for (int i = 0; i < kTileRows; ++i) target[i] = alpha * source[i];
      } else {
        for (int i = 0; i < kTileRows; ++i) target[i] = i < rows ? alpha * source[i] : 0.0f;
      }
    }
    return;
  }
  int64_t p = 0;
  if (rows == kTileRows) {
    // Eight columns at a time: one cache line of every row is used up before the next is touched.
    for (; p + 8 <= depth; p += 8) {
      for (int i = 0; i < kTileRows; ++i) {
        const float* source = a + i * lda + p;
        float* target = out + p * kTileRows + i;
        for (int q = 0; q < 8; ++q) target[q * kTileRows] = alpha * source[q];
      }
    }
  }
  for (; p < depth; ++p)
    for (int i = 0; i < kTileRows; ++i) out[p * kTileRows + i] = i < rows ? alpha * a[i * lda + p] : 0.0f;
}

/// Packs `cols` <= kTileCols columns of op(B) into [depth][kTileCols], missing columns zero.
void pack_b(bool transposed, const float* b, int64_t ldb, int64_t cols, int64_t depth, float* out) {
  if (!transposed) {
    for (int64_t p = 0; p < depth; ++p) {
      const float* source = b + p * ldb;
      float* target = out + p * kTileCols;
      if (cols == kTileCols) {
        store_native(target, load_native(source));
        store_native(target + kWidth, load_native(source + kWidth));
      } else {
        for (int j = 0; j < kTileCols; ++j) target[j] = j < cols ? source[j] : 0.0f;
      }
    }
    return;
  }
  int64_t p = 0;
  if (cols == kTileCols) {
    for (; p + 8 <= depth; p += 8) {
      for (int j = 0; j < kTileCols; ++j) {
        const float* source = b + j * ldb + p;
        float* target = out + p * kTileCols + j;
        for (int q = 0; q < 8; ++q) target[q * kTileCols] = source[q];
      }
    }
  }
  for (; p < depth; ++p)
    for (int j = 0; j < kTileCols; ++j) out[p * kTileCols + j] = j < cols ? b[j * ldb + p] : 0.0f;
}

/// C tile (rows x cols, at most kTileRows x kTileCols) = A panel · B panel + beta · C.
void micro_kernel(int64_t depth, const float* a, const float* b, float beta, float* c, int64_t ldc,
                  int64_t rows, int64_t cols) {
  vn sum[kTileRows][2] = {};
  for (int64_t p = 0; p < depth; ++p) {
    const vn b0 = load_native(b), b1 = load_native(b + kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i) {
      const vn x = a[i] - vn{};
      sum[i][0] += x * b0;
      sum[i][1] += x * b1;
    }
    a += kTileRows;
    b += kTileCols;
  }
  if (rows == kTileRows && cols == kTileCols) {
    if (beta == 0) {
#pragma GCC unroll 16
      for (int i = 0; i < kTileRows; ++i) {
        store_native(c + i * ldc, sum[i][0]);
        store_native(c + i * ldc + kWidth, sum[i][1]);
      }
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < kTileRows; ++i) {
        store_native(c + i * ldc, sum[i][0] + beta * load_native(c + i * ldc));
        store_native(c + i * ldc + kWidth, sum[i][1] + beta * load_native(c + i * ldc + kWidth));
      }
    }
    return;
  }
  float tile[kTileRows * kTileCols];
  std::memcpy(tile, sum, sizeof(tile));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      c[i * ldc + j] = tile[i * kTileCols + j] + (beta == 0 ? 0.0f : beta * c[i * ldc + j]);
}

}  // namespace

size_t matmul_scratch() { return static_cast<size_t>(kDepth * (kBlockRows + kBlockCols)); }

void matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
            int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc, float* packed) {
  float* packed_a = packed;
  float* packed_b = packed + kDepth * kBlockRows;
  for (int64_t column = 0; column < n; column += kBlockCols) {
    const int64_t cols = minimum(kBlockCols, n - column);
    for (int64_t start = 0; start < k; start += kDepth) {
      const int64_t depth = minimum(kDepth, k - start);
      for (int64_t j = 0; j < cols; j += kTileCols) {
        const float* source = transpose_b ? b + (column + j) * ldb + start : b + start * ldb + column + j;
        pack_b(transpose_b, source, ldb, minimum(kTileCols, cols - j), depth, packed_b + j * depth);
      }
      const float keep = start == 0 ? beta : 1.0f;
      for (int64_t row = 0; row < m; row += kBlockRows) {
        const int64_t rows = minimum(kBlockRows, m - row);
        for (int64_t i = 0; i < rows; i += kTileRows) {
          const float* source = transpose_a ? a + start * lda + row + i : a + (row + i) * lda + start;
          pack_a(transpose_a, source, lda, minimum(kTileRows, rows - i), depth, alpha, packed_a + i * depth);
        }
        for (int64_t j = 0; j < cols; j += kTileCols)
          for (int64_t i = 0; i < rows; i += kTileRows)
            micro_kernel(depth, packed_a + i * depth, packed_b + j * depth, keep,
                         c + (row + i) * ldc + column + j, ldc, minimum(kTileRows, rows - i),
                         minimum(kTileCols, cols - j));
      }
    }
  }
}

}  // namespace electra::cpu::ELECTRA_ISA
