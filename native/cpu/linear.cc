// Linear layers. Every task is a product on one thread followed by what belongs to it while it lies in cache:
// bias and activation forward; the activation's derivative and column sums backward. `aux` holds the
// derivative of the activation at the pre-activation, so that erf and exp are computed once.

#include <algorithm>
#include <cstring>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Rows and columns of a task, from the shape alone. Row blocks of 128 tokens keep a product's result in the
/// second-level cache; with few tokens, smaller blocks and columns in parts leave enough tasks for many
/// threads. Blocks are of equal height, and as low as 32 rows before columns are cut: a worker that keeps its
/// rows from layer to layer finds them in its own cache. Below 64 tokens, where a block would take as long as
/// its weight takes to arrive, there is one.
struct Cut {
  int64_t rows, cols, row_blocks, col_blocks;

  Cut(int64_t tokens, int64_t width) {
    const int64_t blocks = tokens >= 256 ? ceil_div(tokens, tokens >= 1024 ? 128 : 64) : tokens / 32;
    rows = std::max<int64_t>(1, ceil_div(tokens, std::max<int64_t>(1, blocks)));
    row_blocks = ceil_div(tokens, rows);
    cols = std::max<int64_t>(1, width);
    while (row_blocks * ceil_div(width, cols) < 16 && cols > 128) cols = ceil_div(cols, 128) * 64;
    col_blocks = ceil_div(width, cols);
  }
  int64_t tasks() const { return row_blocks * col_blocks; }
};

/// The tile of a weight gradient that one task owns over all tokens. `most`: rows and columns of a whole one.
struct WeightTile {
  int64_t rows, cols, row_blocks, col_blocks;

  WeightTile(int64_t in, int64_t out, int64_t most) {
    rows = std::min<int64_t>(in, most);
    cols = std::min<int64_t>(out, most);
    while (ceil_div(in, rows) * ceil_div(out, cols) < 8 && (rows > 64 || cols > 64)) {
      if (rows >= cols && rows > 64)
        rows = ceil_div(rows, 128) * 64;
      else
        cols = ceil_div(cols, 128) * 64;
    }
    row_blocks = ceil_div(in, rows);
    col_blocks = ceil_div(out, cols);
  }
  int64_t tasks() const { return row_blocks * col_blocks; }
};

constexpr int64_t kSumColumns = 64;   // columns of one task of a bias gradient
constexpr int64_t kElementRows = 64;  // rows of one task of an element-wise operator

void check_weight(const Weight& weight, int64_t in, int64_t out, const char* operation) {
  ELECTRA_CHECK_SHAPE(
      weight.master != nullptr && weight.rows == in && weight.cols == out && weight.stride >= out,
      "%s: weight is [%lld, %lld] with stride %lld, wanted [%lld, %lld]", operation,
      static_cast<long long>(weight.rows), static_cast<long long>(weight.cols),
      static_cast<long long>(weight.stride), static_cast<long long>(in), static_cast<long long>(out));
}

/// y[tokens, cols] = (add ? y : 0) + x · op(W), with what follows done to each finished block.
struct BlockedProduct {
  int64_t tokens, cols, depth;
  const float* x;
  int64_t x_stride;
  bool transposed;  ///< W is stored [cols, depth]
  const float* weight;
  int64_t weight_stride;
  bool add;
  float* y;
  int64_t y_stride;
};

constexpr int64_t kPackedFloats = int64_t{1} << 22;  // of weights packed at a time, at most
constexpr int64_t kPackedCols = 128;                 // of a task that packs
constexpr int64_t kFewTokens = 128;     // with more, the arithmetic hides how long a weight is under way
constexpr int64_t kFinishedCols = 256;  // of a block that is finished while it lies in the second-level cache

/// Columns of which the weight is packed at a time: whole blocks, as many as fit.
int64_t packed_cols(int64_t depth, int64_t cols) {
  const int64_t most = kPackedFloats / std::max<int64_t>(1, depth) / kFinishedCols * kFinishedCols;
  return std::min(ceil_div(cols, kFinishedCols) * kFinishedCols, std::max(most, kFinishedCols));
}

/// Floats that packing wants for a weight of this depth and width.
int64_t packed_floats(int64_t depth, int64_t cols) { return depth * packed_cols(depth, cols); }

/// The most that any weight with both sides at most `width` wants.
int64_t most_packed_floats(int64_t width) {
  return std::max(width * kFinishedCols, std::min(kPackedFloats, width * ceil_div(width, kFinishedCols) * kFinishedCols));
}

/// Runs a product in tasks; `finish(block, row, rows, col, cols)` follows each part, `block` being the number
/// of the row block in `cut`. `packed` has packed_floats() floats. A weight that several row blocks want is packed
/// once for all of them, where that pays; `panels`: the packed weight if there is one already.
template <typename Finish>
void run_product(ThreadPool& pool, const Gemm& gemm, const BlockedProduct& p, const Cut& cut, float* packed,
                 const float* panels, const Finish& finish) {
  const PackedProducts* products = panels != nullptr || cut.row_blocks > 1 ? gemm.packed() : nullptr;
  if (products != nullptr && panels == nullptr && !products->worthwhile(p.transposed)) products = nullptr;
  const auto weight = [&p](int64_t col) {
    return p.transposed ? p.weight + col * p.weight_stride : p.weight + col;
  };
  const bool packs = products != nullptr && panels == nullptr;
  const int64_t group = packs ? packed_cols(p.depth, p.cols) : p.cols;
  for (int64_t first = 0; first < p.cols; first += group) {
    const int64_t width = std::min(group, p.cols - first);
    if (packs)
      pool.run(ceil_div(width, kPackedCols), [&](int64_t task, int) {
        const int64_t col = task * kPackedCols;
        products->pack(p.transposed, p.depth, std::min(kPackedCols, width - col), weight(first + col),
                       p.weight_stride, packed + col * p.depth);
      });
    const int64_t parts = ceil_div(width, cut.cols);
    pool.run(cut.row_blocks * parts, [&](int64_t task, int) {
      const int64_t block = task / parts, row = block * cut.rows, rows = std::min(cut.rows, p.tokens - row);
      const int64_t end = std::min(width, (task % parts + 1) * cut.cols);
      for (int64_t col = task % parts * cut.cols; col < end; col += kFinishedCols) {
        const int64_t cols = std::min(kFinishedCols, end - col);
        const float* x = p.x + row * p.x_stride;
        float* y = p.y + row * p.y_stride + first + col;
        if (products != nullptr)
          products->multiply(rows, cols, p.depth, x, p.x_stride, (packs ? packed : panels) + col * p.depth, p.add,
                             y, p.y_stride);
        else
          gemm.multiply(false, p.transposed, rows, cols, p.depth, 1, x, p.x_stride, weight(col), p.weight_stride,
                        p.add ? 1.0f : 0.0f, y, p.y_stride);
        finish(block, row, rows, first + col, cols);
      }
    });
  }
}

/// The number of partial bias gradients that linear_backward_data keeps: one for each block of rows.
int64_t most_row_blocks(int64_t tokens) { return std::max<int64_t>(16, ceil_div(tokens, 64)); }

}  // namespace

WorkspaceNeeds linear_needs(const Capacity& capacity) {
  const int64_t tokens =
      std::max({capacity.tokens, capacity.slots, capacity.lm_rows, int64_t{capacity.batch}});
  WorkspaceNeeds needs;
  const int64_t width = std::max<int32_t>(1, capacity.max_width);
  // Partial bias gradients, whole lines of them, and a packed weight.
  needs.shared_floats = static_cast<size_t>(most_row_blocks(tokens) * width + 16 + most_packed_floats(width));
  return needs;
}

void CpuOperators::linear_forward(const LinearForward& p) {
  const int64_t tokens = actual_rows(p.tokens, "linear_forward");
  const int64_t in = p.x.cols, out = p.y.cols;
  check_weight(p.weight, in, out, "linear_forward");
  check_matrix(p.x, tokens, in, "linear_forward", "x");
  check_matrix(p.y, p.tokens.capacity, out, "linear_forward", "y");
  if (p.aux) check_matrix(p.aux, tokens, out, "linear_forward", "aux");
  const bool epilogue = p.bias != nullptr || p.activation != Activation::kIdentity || p.aux;
  const BlockedProduct product{tokens,
                               out,
                               in,
                               p.x.f32(),
                               p.x.stride,
                               false,
                               p.weight.master,
                               p.weight.stride,
                               false,
                               p.y.f32(),
                               p.y.stride};
  const PackedProducts* products = gemm_.packed();
  const float* panels = products != nullptr && tokens > 0 && tokens <= kFewTokens
                            ? packed_weights_.use(p.weight, *products)
                            : nullptr;
  float* packed = scratch(static_cast<size_t>(packed_floats(in, out)));
  run_product(pool_, gemm_, product, Cut(tokens, out), packed, panels,
              [&](int64_t, int64_t row, int64_t rows, int64_t col, int64_t cols) {
                if (!epilogue) return;
                float* y = p.y.f32() + row * p.y.stride + col;
                kernels_.dense.bias_activation(
                    rows, cols, y, p.y.stride, p.bias != nullptr ? p.bias + col : nullptr, p.activation, y,
                    p.y.stride, p.aux ? p.aux.f32() + row * p.aux.stride + col : nullptr, p.aux.stride);
              });
  zero_rows(p.y, tokens, p.tokens.capacity);
}

void CpuOperators::linear_backward_data(const LinearBackwardData& p) {
  const int64_t tokens = actual_rows(p.tokens, "linear_backward_data");
  const int64_t in = p.dx.cols, out = p.dy.cols;
  check_weight(p.weight, in, out, "linear_backward_data");
  check_matrix(p.dy, tokens, out, "linear_backward_data", "dy");
  check_matrix(p.dx, p.tokens.capacity, in, "linear_backward_data", "dx");
  const bool derivative = p.activation != Activation::kIdentity;
  if (derivative) check_matrix(p.aux, tokens, in, "linear_backward_data", "aux");
  ELECTRA_CHECK_SHAPE(p.into == Into::kWrite || !derivative,
                      "linear_backward_data: only a layer without activation can be added to");
  const Cut cut(tokens, in);
  const int64_t partial_floats = p.d_bias_of_input != nullptr ? ceil_div(cut.row_blocks * in, 16) * 16 : 0;
  float* memory = scratch(static_cast<size_t>(partial_floats + packed_floats(out, in)));
  float* partials = p.d_bias_of_input != nullptr ? memory : nullptr;
  const BlockedProduct product{tokens,
                               in,
                               out,
                               p.dy.f32(),
                               p.dy.stride,
                               true,
                               p.weight.master,
                               p.weight.stride,
                               p.into == Into::kAdd,
                               p.dx.f32(),
                               p.dx.stride};
  run_product(pool_, gemm_, product, cut, memory + partial_floats, nullptr,
              [&](int64_t block, int64_t row, int64_t rows, int64_t col, int64_t cols) {
                float* dx = p.dx.f32() + row * p.dx.stride + col;
                if (derivative)
                  kernels_.dense.multiply_elements(rows, cols, dx, p.dx.stride,
                                                   p.aux.f32() + row * p.aux.stride + col, p.aux.stride, dx,
                                                   p.dx.stride);
                if (partials != nullptr)
                  kernels_.dense.column_sums(rows, cols, dx, p.dx.stride, false, partials + block * in + col);
              });
  if (p.into == Into::kWrite) zero_rows(p.dx, tokens, p.tokens.capacity);
  if (partials != nullptr && tokens > 0)
    kernels_.dense.column_sums(cut.row_blocks, in, partials, in, true, p.d_bias_of_input);
}

void CpuOperators::linear_backward_weight(const LinearBackwardWeight& p) {
  const int64_t tokens = actual_rows(p.tokens, "linear_backward_weight");
  const int64_t in = p.x.cols, out = p.dy.cols;
  check_matrix(p.x, tokens, in, "linear_backward_weight", "x");
  check_matrix(p.dy, tokens, out, "linear_backward_weight", "dy");
  ELECTRA_CHECK_SHAPE(p.d_weight != nullptr && p.d_weight_stride >= out,
                      "linear_backward_weight: d_weight with stride %lld for %lld columns",
                      static_cast<long long>(p.d_weight_stride), static_cast<long long>(out));
  if (tokens == 0) return;
  // The built-in product reads both factors in place: what two blocks of them and the tile take must fit into
  // half of the second-level cache.
  const WeightTile tile(in, out, gemm_.packed() != nullptr ? 128 : 256);
  const int64_t sums = p.d_bias != nullptr ? ceil_div(out, kSumColumns) : 0;
  pool_.run(tile.tasks() + sums, [&](int64_t task, int) {
    if (task >= tile.tasks()) {
      const int64_t col = (task - tile.tasks()) * kSumColumns;
      kernels_.dense.column_sums(tokens, std::min(kSumColumns, out - col), p.dy.f32() + col, p.dy.stride,
                                 true, p.d_bias + col);
      return;
    }
    const int64_t row = task / tile.col_blocks * tile.rows, col = task % tile.col_blocks * tile.cols;
    gemm_.multiply(true, false, std::min(tile.rows, in - row), std::min(tile.cols, out - col), tokens, 1,
                   p.x.f32() + row, p.x.stride, p.dy.f32() + col, p.dy.stride, 1,
                   p.d_weight + row * p.d_weight_stride + col, p.d_weight_stride);
  });
}

void CpuOperators::activation_forward(const ActivationForward& p) {
  const int64_t tokens = actual_rows(p.tokens, "activation_forward");
  check_matrix(p.x, tokens, p.y.cols, "activation_forward", "x");
  check_matrix(p.y, p.tokens.capacity, p.y.cols, "activation_forward", "y");
  if (p.aux) check_matrix(p.aux, tokens, p.y.cols, "activation_forward", "aux");
  pool_.run(ceil_div(tokens, kElementRows), [&](int64_t task, int) {
    const int64_t row = task * kElementRows;
    kernels_.dense.bias_activation(std::min(kElementRows, tokens - row), p.y.cols,
                                   p.x.f32() + row * p.x.stride, p.x.stride, nullptr, p.activation,
                                   p.y.f32() + row * p.y.stride, p.y.stride,
                                   p.aux ? p.aux.f32() + row * p.aux.stride : nullptr, p.aux.stride);
  });
  zero_rows(p.y, tokens, p.tokens.capacity);
}

void CpuOperators::activation_backward(const ActivationBackward& p) {
  const int64_t tokens = actual_rows(p.tokens, "activation_backward");
  const int64_t cols = p.dx.cols;
  check_matrix(p.dy, tokens, cols, "activation_backward", "dy");
  check_matrix(p.dx, p.tokens.capacity, cols, "activation_backward", "dx");
  const bool identity = p.activation == Activation::kIdentity;
  if (!identity) check_matrix(p.aux, tokens, cols, "activation_backward", "aux");
  pool_.run(ceil_div(tokens, kElementRows), [&](int64_t task, int) {
    const int64_t row = task * kElementRows, rows = std::min(kElementRows, tokens - row);
    const float* dy = p.dy.f32() + row * p.dy.stride;
    float* dx = p.dx.f32() + row * p.dx.stride;
    if (!identity) {
      kernels_.dense.multiply_elements(rows, cols, dy, p.dy.stride, p.aux.f32() + row * p.aux.stride,
                                       p.aux.stride, dx, p.dx.stride);
    } else if (dx != dy) {
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(dx + r * p.dx.stride, dy + r * p.dy.stride, static_cast<size_t>(cols) * sizeof(float));
    }
  });
  zero_rows(p.dx, tokens, p.tokens.capacity);
}

}  // namespace electra::cpu
