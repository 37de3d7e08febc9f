// Attention: a task owns one head of one row of the batch (forward also: a stretch of its queries), so no two
// tasks write the same memory and every sum has one order.

#include <algorithm>
#include <cstring>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kQueriesOfTask = 8 * kQueryBlock;

struct Shape {
  int64_t tokens;     // actual
  int64_t hidden;     // h
  int64_t head_size;  // D
};

Shape check(const Rows& rows, int32_t heads, const Tensor& qkv, const char* name) {
  Shape shape;
  shape.tokens = actual_rows(rows.tokens, name);
  ELECTRA_CHECK_SHAPE(heads > 0 && qkv.cols % 3 == 0 && qkv.cols / 3 % heads == 0,
                      "%s: %d heads do not divide a qkv of %lld columns", name, heads,
                      static_cast<long long>(qkv.cols));
  shape.hidden = qkv.cols / 3;
  shape.head_size = shape.hidden / heads;
  check_matrix(qkv, shape.tokens, 3 * shape.hidden, name, "qkv");
  for (int32_t b = 0; b < rows.batch; ++b) {
    const int64_t length = static_cast<int64_t>(rows.offsets[b + 1]) - rows.offsets[b];
    ELECTRA_CHECK_SHAPE(
        length >= 0 && length <= rows.pitch && rows.offsets[b] >= 0 && rows.offsets[b + 1] <= shape.tokens,
        "%s: row %d has %lld tokens, pitch %d", name, b, static_cast<long long>(length), rows.pitch);
  }
  return shape;
}

/// The head as a kernel sees it, without dropout and results.
AttentionHead head_of(const Rows& rows, int64_t b, int64_t head, AttentionMask mask, const Tensor& qkv,
                      const Shape& shape) {
  AttentionHead h;
  const int64_t first = rows.offsets[b];
  h.tokens = rows.offsets[b + 1] - first;
  h.visible = rows.keep_padding ? std::min<int64_t>(h.tokens, rows.valid[b]) : h.tokens;
  h.head_size = shape.head_size;
  h.mask = mask;
  h.stride = qkv.stride;
  h.query = qkv.f32() + first * qkv.stride + head * shape.head_size;
  h.key = h.query + shape.hidden;
  h.value = h.key + shape.hidden;
  return h;
}

void set_dropout(AttentionHead& h, const Dropout& dropout, const Rows& rows, int64_t b, int64_t head,
                 int64_t heads, const char* name) {
  const DropoutRows d = dropout_rows(dropout, rows, name);
  h.threshold = d.threshold;
  if (d.threshold == 0) return;
  h.scale = d.scale;
  h.seed = d.seed;
  h.step = d.step;
  h.site = d.site;
  h.tiles = attention_tiles(static_cast<uint32_t>(rows.pitch));
  h.first_tile =
      (static_cast<uint64_t>(static_cast<uint32_t>(rows.global_row[b])) * static_cast<uint64_t>(heads) +
       static_cast<uint64_t>(head)) *
      h.tiles * h.tiles;
}

}  // namespace

WorkspaceNeeds attention_needs(const Capacity& capacity) {
  // A head is at most as wide as the hidden layer, and 3 h is an activation.
  WorkspaceNeeds needs;
  needs.worker_floats = attention_scratch_floats(capacity.pitch, capacity.max_width / 3 + 1);
  return needs;
}

void CpuOperators::attention_forward(const AttentionForward& p) {
  const char* name = "attention_forward";
  const Shape shape = check(p.rows, p.heads, p.qkv, name);
  check_matrix(p.context, p.rows.tokens.capacity, shape.hidden, name, "context");
  const int64_t stretches = (p.rows.pitch + kQueriesOfTask - 1) / kQueriesOfTask;
  pool_.run(int64_t{p.rows.batch} * p.heads * stretches, [&](int64_t task, int worker) {
    const int64_t b = task / (p.heads * stretches);
    const int64_t head = task / stretches % p.heads;
    AttentionHead h = head_of(p.rows, b, head, p.mask, p.qkv, shape);
    h.first_query = task % stretches * kQueriesOfTask;
    if (h.first_query >= h.tokens) return;
    h.last_query = std::min(h.tokens, h.first_query + kQueriesOfTask);
    set_dropout(h, p.dropout, p.rows, b, head, p.heads, name);
    const int64_t first = p.rows.offsets[b];
    h.context = p.context.f32() + first * p.context.stride + head * shape.head_size;
    h.context_stride = p.context.stride;
    if (p.log_sum_exp != nullptr) h.log_sum_exp = p.log_sum_exp + first * p.heads + head;
    h.log_sum_exp_stride = p.heads;
    h.scratch = worker_scratch(worker, attention_scratch_floats(h.tokens, shape.head_size));
    kernels_.attention.forward(h);
  });
  zero_rows(p.context, shape.tokens, p.rows.tokens.capacity);
  if (p.log_sum_exp != nullptr) {
    std::fill(p.log_sum_exp + shape.tokens * p.heads, p.log_sum_exp + p.rows.tokens.capacity * p.heads, 0.0f);
  }
}

void CpuOperators::attention_backward(const AttentionBackward& p) {
  const char* name = "attention_backward";
  const Shape shape = check(p.rows, p.heads, p.qkv, name);
  check_matrix(p.context, shape.tokens, shape.hidden, name, "context");
  check_matrix(p.d_context, shape.tokens, shape.hidden, name, "d_context");
  check_matrix(p.d_qkv, p.rows.tokens.capacity, 3 * shape.hidden, name, "d_qkv");
  ELECTRA_CHECK_SHAPE(p.log_sum_exp != nullptr, "%s: needs the forward pass's log_sum_exp", name);
  pool_.run(int64_t{p.rows.batch} * p.heads, [&](int64_t task, int worker) {
    const int64_t b = task / p.heads;
    const int64_t head = task % p.heads;
    AttentionHead h = head_of(p.rows, b, head, p.mask, p.qkv, shape);
    if (h.tokens == 0) return;
    set_dropout(h, p.dropout, p.rows, b, head, p.heads, name);
    const int64_t first = p.rows.offsets[b];
    const int64_t column = head * shape.head_size;
    h.context = p.context.f32() + first * p.context.stride + column;
    h.context_stride = p.context.stride;
    h.log_sum_exp = const_cast<float*>(p.log_sum_exp) + first * p.heads + head;
    h.log_sum_exp_stride = p.heads;
    h.d_context = p.d_context.f32() + first * p.d_context.stride + column;
    h.d_context_stride = p.d_context.stride;
    h.d_query = p.d_qkv.f32() + first * p.d_qkv.stride + column;
    h.d_key = h.d_query + shape.hidden;
    h.d_value = h.d_key + shape.hidden;
    h.d_stride = p.d_qkv.stride;
    h.scratch = worker_scratch(worker, attention_scratch_floats(h.tokens, shape.head_size));
    kernels_.attention.backward(h);
  });
  zero_rows(p.d_qkv, shape.tokens, p.rows.tokens.capacity);
}

void CpuOperators::attention_probabilities(const AttentionProbabilities& p) {
  const char* name = "attention_probabilities";
  const Shape shape = check(p.rows, p.heads, p.qkv, name);
  const int64_t pitch = p.rows.pitch;
  pool_.run(int64_t{p.rows.batch} * p.heads, [&](int64_t task, int worker) {
    const int64_t b = task / p.heads;
    AttentionHead h = head_of(p.rows, b, task % p.heads, p.mask, p.qkv, shape);
    h.probabilities = p.probabilities + task * pitch * pitch;
    h.probabilities_stride = pitch;
    std::memset(h.probabilities, 0, static_cast<size_t>(pitch * pitch) * sizeof(float));
    if (h.tokens == 0) return;
    h.scratch = worker_scratch(worker, attention_scratch_floats(h.tokens, shape.head_size));
    kernels_.attention.probabilities(h);
  });
}

}  // namespace electra::cpu
