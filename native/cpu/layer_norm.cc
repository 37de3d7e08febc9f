// LayerNorm and dropout, alone and fused with the residual connection. Row blocks are tasks; the gradients of
// γ, β and the bias are summed over blocks of 128 tokens first and the blocks' sums are added in order.

#include <algorithm>

#include "checks.h"
#include "cpu_operators.h"
#include "norm_backward.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kBlock = 64;  // tokens of a task that only writes rows

int64_t blocks_of(int64_t tokens, int64_t block) { return (tokens + block - 1) / block; }

Matrix matrix(const Tensor& t) { return Matrix{t.f32(), t.stride}; }

}  // namespace

WorkspaceNeeds layer_norm_needs(const Capacity& capacity) {
  WorkspaceNeeds needs;
  needs.shared_floats = norm_partial_floats(capacity.tokens, capacity.max_width);
  needs.worker_floats = norm_keep_floats(capacity.max_width);
  return needs;
}

void CpuOperators::layer_norm_forward(const LayerNormForward& p) {
  const char* name = "layer_norm_forward";
  const int64_t tokens = actual_rows(p.tokens, name);
  NormForwardRows rows;
  rows.width = p.x.cols;
  check_matrix(p.x, tokens, rows.width, name, "x");
  check_matrix(p.y, p.tokens.capacity, rows.width, name, "y");
  if (p.normalized) check_matrix(p.normalized, p.tokens.capacity, rows.width, name, "normalized");
  rows.x = matrix(p.x);
  rows.gamma = p.gamma;
  rows.beta = p.beta;
  rows.y = matrix(p.y);
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int worker) {
    NormForwardRows mine = rows;
    mine.first = task * kBlock;
    mine.last = std::min(tokens, mine.first + kBlock);
    mine.keep = reinterpret_cast<uint8_t*>(worker_scratch(worker, norm_keep_floats(mine.width)));
    kernels_.norm.forward(mine);
  });
  zero_rows(p.y, tokens, p.tokens.capacity);
  zero_rows(p.normalized, tokens, p.tokens.capacity);
  if (p.rstd != nullptr) std::fill(p.rstd + tokens, p.rstd + p.tokens.capacity, 0.0f);
}

void CpuOperators::layer_norm_backward(const LayerNormBackward& p) {
  const char* name = "layer_norm_backward";
  const int64_t tokens = actual_rows(p.tokens, name);
  NormBackwardRows rows;
  rows.width = p.dy.cols;
  check_matrix(p.dy, tokens, rows.width, name, "dy");
  check_matrix(p.normalized, tokens, rows.width, name, "normalized");
  check_matrix(p.dx, p.tokens.capacity, rows.width, name, "dx");
  rows.dy = matrix(p.dy);
  rows.gamma = p.gamma;
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  rows.d_sum = matrix(p.dx);
  rows.add = p.into == Into::kAdd;
  rows.d_gamma = p.d_gamma;
  rows.d_beta = p.d_beta;
  run_norm_backward(pool_, kernels_.norm, rows, tokens, scratch(norm_partial_floats(tokens, rows.width)),
                    [&](int worker) { return worker_scratch(worker, norm_keep_floats(rows.width)); });
  if (p.into == Into::kWrite) zero_rows(p.dx, tokens, p.tokens.capacity);
}

void CpuOperators::dropout_residual_norm_forward(const DropoutResidualNormForward& p) {
  const char* name = "dropout_residual_norm_forward";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  const int64_t capacity = p.rows.tokens.capacity;
  NormForwardRows rows;
  rows.width = p.x.cols;
  check_matrix(p.x, tokens, rows.width, name, "x");
  check_matrix(p.residual, tokens, rows.width, name, "residual");
  check_matrix(p.y, capacity, rows.width, name, "y");
  if (p.normalized) check_matrix(p.normalized, capacity, rows.width, name, "normalized");
  rows.x = matrix(p.x);
  rows.bias = p.bias;
  rows.residual = matrix(p.residual);
  rows.dropout = dropout_rows(p.dropout, p.rows, name);
  rows.gamma = p.gamma;
  rows.beta = p.beta;
  rows.y = matrix(p.y);
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int worker) {
    NormForwardRows mine = rows;
    mine.first = task * kBlock;
    mine.last = std::min(tokens, mine.first + kBlock);
    mine.keep = reinterpret_cast<uint8_t*>(worker_scratch(worker, norm_keep_floats(mine.width)));
    kernels_.norm.forward(mine);
  });
  zero_rows(p.y, tokens, capacity);
  zero_rows(p.normalized, tokens, capacity);
  if (p.rstd != nullptr) std::fill(p.rstd + tokens, p.rstd + capacity, 0.0f);
}

void CpuOperators::dropout_residual_norm_backward(const DropoutResidualNormBackward& p) {
  const char* name = "dropout_residual_norm_backward";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  const int64_t capacity = p.rows.tokens.capacity;
  NormBackwardRows rows;
  rows.width = p.dy.cols;
  check_matrix(p.dy, tokens, rows.width, name, "dy");
  check_matrix(p.normalized, tokens, rows.width, name, "normalized");
  check_matrix(p.d_residual, capacity, rows.width, name, "d_residual");
  check_matrix(p.dx, capacity, rows.width, name, "dx");
  rows.dy = matrix(p.dy);
  rows.dropout = dropout_rows(p.dropout, p.rows, name);
  rows.gamma = p.gamma;
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  rows.d_sum = matrix(p.d_residual);
  rows.add = p.into == Into::kAdd;
  rows.dx = matrix(p.dx);
  rows.d_bias = p.d_bias;
  rows.d_gamma = p.d_gamma;
  rows.d_beta = p.d_beta;
  run_norm_backward(pool_, kernels_.norm, rows, tokens, scratch(norm_partial_floats(tokens, rows.width)),
                    [&](int worker) { return worker_scratch(worker, norm_keep_floats(rows.width)); });
  zero_rows(p.dx, tokens, capacity);
  if (p.into == Into::kWrite) zero_rows(p.d_residual, tokens, capacity);
}

void CpuOperators::dropout(const DropoutApply& p) {
  const char* name = "dropout";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  DropoutApplyRows rows;
  rows.width = p.x.cols;
  check_matrix(p.x, tokens, rows.width, name, "x");
  check_matrix(p.y, p.rows.tokens.capacity, rows.width, name, "y");
  rows.x = matrix(p.x);
  rows.y = matrix(p.y);
  rows.dropout = dropout_rows(p.dropout, p.rows, name);
  const bool drops = rows.dropout.threshold > 0;
  if (drops || p.x.data != p.y.data) {
    pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int worker) {
      DropoutApplyRows mine = rows;
      mine.first = task * kBlock;
      mine.last = std::min(tokens, mine.first + kBlock);
      if (drops) {
        mine.keep = reinterpret_cast<uint8_t*>(worker_scratch(worker, norm_keep_floats(mine.width)));
        kernels_.norm.dropout(mine);
        return;
      }
      for (int64_t t = mine.first; t < mine.last; ++t) {
        std::memcpy(mine.y.data + t * mine.y.stride, mine.x.data + t * mine.x.stride,
                    static_cast<size_t>(mine.width) * sizeof(float));
      }
    });
  }
  zero_rows(p.y, tokens, p.rows.tokens.capacity);
}

}  // namespace electra::cpu
