#pragma once
// Kernels of the dense layers: matrix product, activations, column sums, the language-model head, the
// optimizer. Each runs on one thread; the files that call them (linear.cc, language_model_head.cc,
// optimizer.cc) cut the work.

#include <cstddef>
#include <cstdint>

#include "../../tensor.h"

namespace electra::cpu {

/// Most columns of a tile of logits.
constexpr int64_t kLogitTileColumns = 512;

/// One tile of logits of the language-model head: `rows` rows of columns [first, first + columns) of the
/// vocabulary.
struct LogitTile {
  float* values = nullptr;  ///< [rows, stride] x · tableᵀ, replaced by exp(z − tile maximum)
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t first = 0;            ///< multiple of 64
  int64_t columns = 0;          ///< at most kLogitTileColumns
  const float* bias = nullptr;  ///< of the whole vocabulary, or null
  float* logits = nullptr;      ///< row 0 of [rows, V] for a copy of z, or null
  int64_t vocabulary = 0;
  float* scratch = nullptr;  ///< `columns` rounded up to 64, plus 64 floats
  // Results for each row of the tile.
  float* maximum = nullptr;
  float* exponentials = nullptr;  ///< Σ exp(z − maximum)
  int32_t* best = nullptr;        ///< first index (in the vocabulary) of the maximum
  // Target logit of the rows whose target lies in this tile; others are left alone. Null: no targets.
  const int32_t* targets = nullptr;
  float* target_logit = nullptr;
};

/// The draws of a tile: for each row its slots, for each slot the best z / temperature + Gumbel noise so far
/// in this tile.
struct GumbelDraws {
  const int32_t* row_slots = nullptr;  ///< for the tile's first row; null: the slot is first_row + row
  const int32_t* slot_order = nullptr;
  int64_t first_row = 0;
  int64_t slots = 0;  ///< how many exist; others are ignored
  const int32_t* slot_target = nullptr;
  const int32_t* slot_coordinate = nullptr;
  const int32_t* slot_local = nullptr;
  const float* given_uniform = nullptr;
  bool disallow_correct = false;
  float temperature = 1;
  uint64_t seed = 0;
  uint32_t step = 0;
  float* best_value = nullptr;  ///< [S] of this tile, by slot
  int32_t* best_id = nullptr;   ///< [S]
};

struct AdamStretch {
  float* parameters = nullptr;
  const float* gradient = nullptr;
  float* m = nullptr;
  float* v = nullptr;
  int64_t count = 0;
  float beta1 = 0, beta2 = 0, epsilon = 0, clip = 1, learning_rate = 0, decay = 0;
  float rest1 = 0, rest2 = 0;  ///< 1 − beta, rounded once
};

struct DenseKernels {
  /// See Gemm::multiply. `scratch` has matmul_floats floats, 64-byte aligned.
  void (*matmul)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                 const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc,
                 float* scratch);
  size_t matmul_floats;
  /// Columns of a panel.
  int64_t matmul_panel;
  /// Whether matmul would copy such a B into panels; what it reads in place is not worth packing.
  bool (*matmul_wants_panels)(bool transpose_b);
  /// Copies op(B) = [depth, cols] into panels [cols / panel][depth][panel], the last filled up with zeros.
  void (*matmul_pack)(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t cols,
                      float* packed);
  /// C[m, n] = (add ? C : 0) + A · B for a packed B of depth k; the same bits as matmul.
  void (*matmul_packed)(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* packed,
                        bool add, float* c, int64_t ldc, float* scratch);

  /// y = activation(x + bias); aux = activation'(x + bias). bias and aux may be null, y may be x.
  void (*bias_activation)(int64_t rows, int64_t cols, const float* x, int64_t x_stride, const float* bias,
                          Activation activation, float* y, int64_t y_stride, float* aux, int64_t aux_stride);
  /// y = x ⊙ factor; y may be x.
  void (*multiply_elements)(int64_t rows, int64_t cols, const float* x, int64_t x_stride, const float* factor,
                            int64_t factor_stride, float* y, int64_t y_stride);
  /// sums[c] (add: +=) Σ over rows of x[row, c], in stretches of 256 rows.
  void (*column_sums)(int64_t rows, int64_t cols, const float* x, int64_t stride, bool add, float* sums);
  /// y += x.
  void (*add)(int64_t count, const float* x, float* y);

  /// Adds the bias, takes row maxima, argmax and exponentials of a tile, and draws for its slots if `draws`
  /// is not null.
  void (*logit_tile)(const LogitTile& tile, const GumbelDraws* draws);
  /// values[r, c] = values[r, c] · factor[r] − one_hot(target[r] − first)[c] · onehot[r]; column_sums[c] += Σ
  /// over rows. `sums` has `columns` floats and may be null.
  void (*logit_gradient)(float* values, int64_t stride, int64_t rows, int64_t first, int64_t columns,
                         const float* factor, const int32_t* targets, const float* onehot, float* sums);

  /// Σ g² in double.
  double (*sum_of_squares)(int64_t count, const float* g);
  void (*adam)(const AdamStretch& stretch);
};

}  // namespace electra::cpu
