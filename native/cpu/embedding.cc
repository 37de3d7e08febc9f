// Embeddings: LayerNorm(word + token type + position), then dropout; and the scatter of their gradient. In
// the scatter a task owns a range of columns of all three tables and walks the tokens in order, so repeated
// ids need no sorting.

#include <algorithm>

#include "checks.h"
#include "cpu_operators.h"
#include "norm_backward.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kColumns = 32;  // two cache lines of a table's row

Matrix matrix(const Tensor& t) { return Matrix{t.f32(), t.stride}; }

/// Ids index the tables directly, so they are looked at first. Nothing here knows the tables' heights but the
/// capacity.
void check_ids(const int32_t* ids, const int32_t* segments, int64_t tokens, int32_t vocabulary) {
  for (int64_t t = 0; t < tokens; ++t) {
    if (ids[t] < 0 || (vocabulary > 0 && ids[t] >= vocabulary)) {
      throw EngineError("ERR_ELECTRA_TOKEN_ID", "token %lld has id %d, outside the vocabulary of %d",
                        static_cast<long long>(t), ids[t], vocabulary);
    }
    if (segments[t] < 0) {
      throw EngineError("ERR_ELECTRA_TOKEN_ID", "token %lld has segment id %d", static_cast<long long>(t),
                        segments[t]);
    }
  }
}

}  // namespace

WorkspaceNeeds embedding_needs(const Capacity& capacity) {
  WorkspaceNeeds needs;
  needs.shared_floats = norm_partial_floats(capacity.tokens, capacity.max_width);
  needs.worker_floats = norm_keep_floats(capacity.max_width);
  return needs;
}

void CpuOperators::embedding_forward(const EmbeddingForward& p) {
  const char* name = "embedding_forward";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  const int64_t capacity = p.rows.tokens.capacity;
  NormForwardRows rows;
  rows.width = p.y.cols;
  check_matrix(p.y, capacity, rows.width, name, "y");
  if (p.normalized) check_matrix(p.normalized, capacity, rows.width, name, "normalized");
  check_ids(p.ids, p.segments, tokens, capacity_.vocabulary);
  rows.ids = p.ids;
  rows.segments = p.segments;
  rows.token_position = p.rows.token_position;
  rows.word = p.word;
  rows.token_type = p.token_type;
  rows.position = p.position;
  rows.dropout = dropout_rows(p.dropout, p.rows, name);
  rows.output_dropout = true;
  rows.gamma = p.gamma;
  rows.beta = p.beta;
  rows.y = matrix(p.y);
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  pool_.run((tokens + kBlock - 1) / kBlock, [&](int64_t task, int worker) {
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

void CpuOperators::embedding_backward(const EmbeddingBackward& p) {
  const char* name = "embedding_backward";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  NormBackwardRows rows;
  rows.width = p.dy.cols;
  const int64_t width = rows.width;
  check_matrix(p.dy, tokens, width, name, "dy");
  check_matrix(p.normalized, tokens, width, name, "normalized");
  check_matrix(p.scratch, tokens, width, name, "scratch");
  check_ids(p.ids, p.segments, tokens, capacity_.vocabulary);
  rows.dy = matrix(p.dy);
  rows.dropout = dropout_rows(p.dropout, p.rows, name);
  rows.output_dropout = true;
  rows.gamma = p.gamma;
  rows.normalized = matrix(p.normalized);
  rows.rstd = p.rstd;
  rows.d_sum = matrix(p.scratch);
  rows.d_gamma = p.d_gamma;
  rows.d_beta = p.d_beta;
  run_norm_backward(pool_, kernels_.norm, rows, tokens, scratch(norm_partial_floats(tokens, width)),
                    [&](int worker) { return worker_scratch(worker, norm_keep_floats(width)); });

  const float* gradient = p.scratch.f32();
  const int64_t stride = p.scratch.stride;
  pool_.run((width + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t first = task * kColumns;
    const int64_t count = std::min(kColumns, width - first);
    // A table of two rows receives everything: a run of equal segments is summed aside first, at most a block
    // long, which also keeps the rounding error of the long sum small.
    float run[kColumns] = {};
    int64_t run_length = 0;
    const auto flush = [&](int32_t segment) {
      float* target = p.d_token_type + static_cast<int64_t>(segment) * width + first;
      for (int64_t i = 0; i < count; ++i) target[i] += run[i];
      std::fill(run, run + kColumns, 0.0f);
      run_length = 0;
    };
    for (int64_t t = 0; t < tokens; ++t) {
      const float* g = gradient + t * stride + first;
      float* word = p.d_word + static_cast<int64_t>(p.ids[t]) * width + first;
      float* position = p.d_position + static_cast<int64_t>(p.rows.token_position[t]) * width + first;
      for (int64_t i = 0; i < count; ++i) {
        const float v = g[i];
        word[i] += v;
        position[i] += v;
        run[i] += v;
      }
      ++run_length;
      if (t + 1 == tokens || p.segments[t + 1] != p.segments[t] || run_length == kNormPartialTokens) {
        flush(p.segments[t]);
      }
    }
  });
}

}  // namespace electra::cpu
