// LayerNorm, alone and as the end of both halves of a transformer layer (dropout, residual, LayerNorm), and
// dropout. The kernels of the rows are in norm_rows.h. Bytes that a call moves, with u = T · h elements of an
// activation: forward 4u (x, residual; y, x̂), backward 4u (dy, x̂; d_residual, dx) and the partial sums of
// three parameters; dropout 2u.

#include "../cuda_operators.h"
#include "../scratch.h"
#include "norm_rows.h"

namespace electra::cuda {
namespace {

/// Partial sums of γ, β and the bias.
constexpr int kMostSums = 3;

float* take_partials(Scratch& scratch, int64_t stretches, int64_t width) {
  return scratch.take<float>(stretches * kMostSums * width);
}

/// A thread moves kVector elements; rows beyond the actual extent become zeros.
template <typename T, int kVector>
__global__ void __launch_bounds__(256)
    drop_elements(Extent tokens, uint32_t width, TokenDropout dropout, RowsOf<const T> x, RowsOf<T> y) {
  const Place place = place_of_thread<kVector>(width);
  const int64_t t = place.row;
  if (t >= tokens.capacity) return;
  const int column = static_cast<int>(place.column);
  float v[kVector];
  if (t < actual_of(tokens)) {
    const DropoutStream stream(dropout, t, width);
    read_row<kVector>(x.row(t) + column, v);
    if (stream.drops()) {
      if constexpr (kVector == 1)
        v[0] *= stream.factor(column);
      else
        stream.apply<kVector>(column, v);
    }
  } else {
#pragma unroll
    for (int k = 0; k < kVector; ++k) v[k] = 0;
  }
  write_row<kVector>(y.row(t) + column, v);
}

template <typename T>
void launch_dropout(const DropoutApply& p, const TokenDropout& dropout, cudaStream_t stream) {
  const int64_t width = p.x.cols;
  const bool aligned = rows_are_aligned(p.x, kRowVector<T>) && rows_are_aligned(p.y, kRowVector<T>);
  const int64_t threads = p.rows.tokens.capacity * (aligned ? width / kRowVector<T> : width);
  launch("dropout", aligned ? drop_elements<T, kRowVector<T>> : drop_elements<T, 1>,
         dim3(static_cast<unsigned>(ceil_div(threads, 256))), dim3(256), 0, stream, p.rows.tokens,
         static_cast<uint32_t>(width), dropout, RowsOf<const T>(p.x), RowsOf<T>(p.y));
}

/// The row pass and the sum of its partials, for both backward operators.
template <typename T>
void launch_backward(NormBackwardRows<T>& rows, bool aligned, float* d_gamma, float* d_beta, float* d_bias,
                     cudaStream_t stream) {
  rows.sums = d_bias != nullptr ? 3 : 2;
  launch_norm_backward<false>(rows, aligned, stream);
  PartialSums sums;
  sums.rows = static_cast<int32_t>(ceil_div(rows.tokens.capacity, rows.stretch));
  sums.width = rows.width;
  sums.sums = rows.sums;
  sums.partials = rows.partials;
  sums.target[0] = d_gamma;
  sums.target[1] = d_beta;
  sums.target[2] = d_bias;
  launch_add_partials(sums, stream);
}

}  // namespace

size_t norm_workspace(const Capacity& capacity) {
  Scratch scratch;
  const int64_t tokens =
      std::max({capacity.tokens, capacity.slots, capacity.lm_rows, int64_t{capacity.batch}});
  take_partials(scratch, most_stretches(tokens), capacity.max_width);
  return scratch.size();
}

void CudaOperators::layer_norm_forward(const LayerNormForward& p) {
  const char* name = "layer_norm_forward";
  const int64_t capacity = p.tokens.capacity, width = p.x.cols;
  check_matrix(p.x, capacity, width, compute(), name, "x");
  check_matrix(p.y, capacity, width, compute(), name, "y");
  if (p.normalized) check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormForwardRows<T> rows;
    rows.tokens = p.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.x = RowsOf<const T>(p.x);
    rows.gamma = p.gamma;
    rows.beta = p.beta;
    rows.y = RowsOf<T>(p.y);
    rows.normalized = RowsOf<T>(p.normalized);
    rows.rstd = p.rstd;
    const bool aligned = rows_are_aligned(p.x, kRowVector<T>) && rows_are_aligned(p.y, kRowVector<T>) &&
                         rows_are_aligned(p.normalized, kRowVector<T>) && parameter_is_aligned(p.gamma) &&
                         parameter_is_aligned(p.beta);
    launch_norm_forward<false>(rows, aligned, stream());
  });
}

void CudaOperators::layer_norm_backward(const LayerNormBackward& p) {
  const char* name = "layer_norm_backward";
  const int64_t capacity = p.tokens.capacity, width = p.dy.cols;
  check_matrix(p.dy, capacity, width, compute(), name, "dy");
  check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  check_matrix(p.dx, capacity, width, compute(), name, "dx");
  const int64_t stretch = stretch_of(capacity, width), stretches = ceil_div(capacity, stretch);
  Scratch measure;
  take_partials(measure, stretches, width);
  Scratch scratch(workspace(measure.size()));
  float* partials = take_partials(scratch, stretches, width);
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormBackwardRows<T> rows;
    rows.tokens = p.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.stretch = static_cast<int32_t>(stretch);
    rows.dy = RowsOf<const T>(p.dy);
    rows.gamma = p.gamma;
    rows.normalized = RowsOf<const T>(p.normalized);
    rows.rstd = p.rstd;
    rows.d_sum = RowsOf<T>(p.dx);
    rows.add = p.into == Into::kAdd;
    rows.clear_beyond = !rows.add;
    rows.partials = partials;
    const bool aligned = rows_are_aligned(p.dy, kRowVector<T>) &&
                         rows_are_aligned(p.normalized, kRowVector<T>) &&
                         rows_are_aligned(p.dx, kRowVector<T>) && parameter_is_aligned(p.gamma);
    launch_backward(rows, aligned, p.d_gamma, p.d_beta, nullptr, stream());
  });
}

void CudaOperators::dropout_residual_norm_forward(const DropoutResidualNormForward& p) {
  const char* name = "dropout_residual_norm_forward";
  const int64_t capacity = p.rows.tokens.capacity, width = p.x.cols;
  check_matrix(p.x, capacity, width, compute(), name, "x");
  check_matrix(p.residual, capacity, width, compute(), name, "residual");
  check_matrix(p.y, capacity, width, compute(), name, "y");
  if (p.normalized) check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  const TokenDropout dropout = token_dropout(p.dropout, p.rows, name);
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormForwardRows<T> rows;
    rows.tokens = p.rows.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.x = RowsOf<const T>(p.x);
    rows.bias = p.bias;
    rows.residual = RowsOf<const T>(p.residual);
    rows.dropout = dropout;
    rows.gamma = p.gamma;
    rows.beta = p.beta;
    rows.y = RowsOf<T>(p.y);
    rows.normalized = RowsOf<T>(p.normalized);
    rows.rstd = p.rstd;
    const bool aligned =
        rows_are_aligned(p.x, kRowVector<T>) && rows_are_aligned(p.residual, kRowVector<T>) &&
        rows_are_aligned(p.y, kRowVector<T>) && rows_are_aligned(p.normalized, kRowVector<T>) &&
        parameter_is_aligned(p.bias) && parameter_is_aligned(p.gamma) && parameter_is_aligned(p.beta);
    launch_norm_forward<false>(rows, aligned, stream());
  });
}

void CudaOperators::dropout_residual_norm_backward(const DropoutResidualNormBackward& p) {
  const char* name = "dropout_residual_norm_backward";
  const int64_t capacity = p.rows.tokens.capacity, width = p.dy.cols;
  check_matrix(p.dy, capacity, width, compute(), name, "dy");
  check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  check_matrix(p.d_residual, capacity, width, compute(), name, "d_residual");
  check_matrix(p.dx, capacity, width, compute(), name, "dx");
  const TokenDropout dropout = token_dropout(p.dropout, p.rows, name);
  const int64_t stretch = stretch_of(capacity, width), stretches = ceil_div(capacity, stretch);
  Scratch measure;
  take_partials(measure, stretches, width);
  Scratch scratch(workspace(measure.size()));
  float* partials = take_partials(scratch, stretches, width);
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormBackwardRows<T> rows;
    rows.tokens = p.rows.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.stretch = static_cast<int32_t>(stretch);
    rows.dy = RowsOf<const T>(p.dy);
    rows.dropout = dropout;
    rows.gamma = p.gamma;
    rows.normalized = RowsOf<const T>(p.normalized);
    rows.rstd = p.rstd;
    rows.d_sum = RowsOf<T>(p.d_residual);
    rows.add = p.into == Into::kAdd;
    rows.clear_beyond = !rows.add;
    rows.dx = RowsOf<T>(p.dx);
    rows.partials = partials;
    const bool aligned = rows_are_aligned(p.dy, kRowVector<T>) &&
                         rows_are_aligned(p.normalized, kRowVector<T>) &&
                         rows_are_aligned(p.d_residual, kRowVector<T>) &&
                         rows_are_aligned(p.dx, kRowVector<T>) && parameter_is_aligned(p.gamma);
    launch_backward(rows, aligned, p.d_gamma, p.d_beta, p.d_bias, stream());
  });
}

void CudaOperators::dropout(const DropoutApply& p) {
  const char* name = "dropout";
  const int64_t capacity = p.rows.tokens.capacity;
  check_matrix(p.x, capacity, p.x.cols, compute(), name, "x");
  check_matrix(p.y, capacity, p.x.cols, compute(), name, "y");
  const TokenDropout dropout = token_dropout(p.dropout, p.rows, name);
  if (capacity == 0 || p.x.cols == 0) return;
  with_type(compute(), [&](auto type) { launch_dropout<decltype(type)>(p, dropout, stream()); });
}

}  // namespace electra::cuda
