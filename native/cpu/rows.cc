// Moving rows about: gather, scatter, the two towers' shift, sums of matrices.

#include <algorithm>
#include <cstring>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kBlock = 128;   // rows of a task
constexpr int64_t kColumns = 64;  // columns of a task that walks all rows

int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }

void copy_row(float* to, const float* from, int64_t width) {
  std::memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
}

void check_index(int64_t index, int64_t rows, int64_t i, const char* operation) {
  ELECTRA_CHECK_SHAPE(index < rows, "%s: index[%lld] is %lld, but there are %lld rows", operation,
                      static_cast<long long>(i), static_cast<long long>(index), static_cast<long long>(rows));
}

/// Where the two towers' states for a token come from: the row's tokens before and after it, around the row's
/// ends.
struct Neighbours {
  int64_t before;
  int64_t after;
};
Neighbours neighbours(const Rows& rows, int64_t t) {
  const int32_t b = rows.token_row[t];
  const int64_t first = rows.offsets[b];
  const int64_t last = static_cast<int64_t>(rows.offsets[b + 1]) - 1;
  return Neighbours{t == first ? last : t - 1, t == last ? first : t + 1};
}

}  // namespace

WorkspaceNeeds rows_needs(const Capacity&) { return WorkspaceNeeds{}; }

void CpuOperators::gather_rows(const GatherRows& p) {
  const char* name = "gather_rows";
  const int64_t count = actual_rows(p.count, name);
  const int64_t width = p.y.cols;
  check_matrix(p.y, p.count.capacity, width, name, "y");
  check_matrix(p.x, 0, width, name, "x");
  pool_.run(blocks_of(count, kBlock), [&](int64_t task, int) {
    const int64_t last = std::min(count, (task + 1) * kBlock);
    for (int64_t i = task * kBlock; i < last; ++i) {
      const int64_t source = p.index[i];
      check_index(source, p.x.rows, i, name);
      float* y = p.y.f32() + i * p.y.stride;
      if (source < 0) {
        std::memset(y, 0, static_cast<size_t>(width) * sizeof(float));
      } else {
        copy_row(y, p.x.f32() + source * p.x.stride, width);
      }
    }
  });
  zero_rows(p.y, count, p.count.capacity);
}

// A task owns columns and walks all rows in order, so repeated indices are summed in order.
void CpuOperators::scatter_add_rows(const ScatterAddRows& p) {
  const char* name = "scatter_add_rows";
  const int64_t count = actual_rows(p.count, name);
  const int64_t width = p.dx.cols;
  check_matrix(p.dy, count, width, name, "dy");
  check_matrix(p.dx, p.target.capacity, width, name, "dx");
  for (int64_t i = 0; i < count; ++i) check_index(p.index[i], p.dx.rows, i, name);
  pool_.run(blocks_of(width, kColumns), [&](int64_t task, int) {
    const int64_t first = task * kColumns;
    const int64_t columns = std::min(kColumns, width - first);
    if (p.into == Into::kWrite) {
      for (int64_t r = 0; r < p.target.capacity; ++r) {
        std::memset(p.dx.f32() + r * p.dx.stride + first, 0, static_cast<size_t>(columns) * sizeof(float));
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      if (p.index[i] < 0) continue;
      float* dx = p.dx.f32() + p.index[i] * p.dx.stride + first;
      const float* dy = p.dy.f32() + i * p.dy.stride + first;
      for (int64_t c = 0; c < columns; ++c) dx[c] += dy[c];
    }
  });
}

void CpuOperators::tower_concat(const TowerConcat& p) {
  const char* name = "tower_concat";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  const int64_t width = p.left_to_right.cols;
  check_matrix(p.left_to_right, tokens, width, name, "left_to_right");
  check_matrix(p.right_to_left, tokens, width, name, "right_to_left");
  check_matrix(p.y, p.rows.tokens.capacity, 2 * width, name, "y");
  pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int) {
    const int64_t last = std::min(tokens, (task + 1) * kBlock);
    for (int64_t t = task * kBlock; t < last; ++t) {
      const Neighbours n = neighbours(p.rows, t);
      float* y = p.y.f32() + t * p.y.stride;
      copy_row(y, p.left_to_right.f32() + n.before * p.left_to_right.stride, width);
      copy_row(y + width, p.right_to_left.f32() + n.after * p.right_to_left.stride, width);
    }
  });
  zero_rows(p.y, tokens, p.rows.tokens.capacity);
}

void CpuOperators::tower_concat_backward(const TowerConcatBackward& p) {
  const char* name = "tower_concat_backward";
  const int64_t tokens = actual_rows(p.rows.tokens, name);
  const int64_t capacity = p.rows.tokens.capacity;
  const int64_t width = p.d_left_to_right.cols;
  check_matrix(p.dy, tokens, 2 * width, name, "dy");
  check_matrix(p.d_left_to_right, capacity, width, name, "d_left_to_right");
  check_matrix(p.d_right_to_left, capacity, width, name, "d_right_to_left");
  pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int) {
    const int64_t last = std::min(tokens, (task + 1) * kBlock);
    for (int64_t t = task * kBlock; t < last; ++t) {
      // Token t was taken as "before" by the token after it, and as "after" by the token before it.
      const Neighbours n = neighbours(p.rows, t);
      copy_row(p.d_left_to_right.f32() + t * p.d_left_to_right.stride, p.dy.f32() + n.after * p.dy.stride,
               width);
      copy_row(p.d_right_to_left.f32() + t * p.d_right_to_left.stride,
               p.dy.f32() + n.before * p.dy.stride + width, width);
    }
  });
  zero_rows(p.d_left_to_right, tokens, capacity);
  zero_rows(p.d_right_to_left, tokens, capacity);
}

void CpuOperators::add_rows(const AddRows& p) {
  const char* name = "add_rows";
  const int64_t tokens = actual_rows(p.tokens, name);
  const int64_t width = p.y.cols;
  check_matrix(p.x, tokens, width, name, "x");
  check_matrix(p.y, tokens, width, name, "y");
  pool_.run(blocks_of(tokens, kBlock), [&](int64_t task, int) {
    const int64_t last = std::min(tokens, (task + 1) * kBlock);
    for (int64_t t = task * kBlock; t < last; ++t) {
      const float* x = p.x.f32() + t * p.x.stride;
      float* y = p.y.f32() + t * p.y.stride;
      for (int64_t c = 0; c < width; ++c) y[c] += x[c];
    }
  });
}

}  // namespace electra::cpu
