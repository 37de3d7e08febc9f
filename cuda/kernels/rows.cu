// Moving rows: gather, scatter-add, the two towers' shift and concatenation, sums of matrices. All of them
// are bound by memory and read and write every element once.
//
// Copies: a thread moves 16 bytes (or one element, where rows are not aligned). Scatter-add owns the target:
// the (row, place) pairs are sorted (token_sort.h), then a warp takes one row of the target, finds its places
// by a search of three steps and adds them in order. Where the target is written, the same pass stores the
// zeros of the rows that nothing goes to, so that dx is touched once and needs no clearing before.

#include <algorithm>

#include "../cuda_operators.h"
#include "../scratch.h"
#include "row_vectors.h"
#include "token_sort.h"

namespace electra::cuda {
namespace {

constexpr int kCopyThreads = 256;

template <typename T, int kVector>
__device__ __forceinline__ Packed<T, kVector> zeros() {
  Packed<T, kVector> zero;
#pragma unroll
  for (int i = 0; i < kVector; ++i) zero[i] = from_float<T>(0.0f);
  return zero;
}

template <typename T, int kVector>
__global__ void __launch_bounds__(kCopyThreads) gather(Extent count, const int32_t* index, RowsOf<const T> x,
                                                       int64_t sources, RowsOf<T> y, int64_t width) {
  const Place p = place_of_thread<kVector>(width);
  if (p.row >= count.capacity) return;
  Packed<T, kVector> v = zeros<T, kVector>();
  if (p.row < actual_of(count)) {
    const int64_t source = index[p.row];
    if (source >= 0 && source < sources) v = load_packed<kVector>(x.row(source) + p.column);
  }
  store_packed(y.row(p.row) + p.column, v);
}

template <typename T, int kVector>
__global__ void __launch_bounds__(kCopyThreads)
    add(Extent tokens, RowsOf<const T> x, RowsOf<T> y, int64_t width) {
  const Place p = place_of_thread<kVector>(width);
  if (p.row >= actual_of(tokens)) return;
  float a[kVector], b[kVector];
  read_row<kVector>(x.row(p.row) + p.column, a);
  read_row<kVector>(y.row(p.row) + p.column, b);
#pragma unroll
  for (int i = 0; i < kVector; ++i) b[i] += a[i];
  write_row<kVector>(y.row(p.row) + p.column, b);
}

/// Where the two towers' states for a token come from: the row's tokens before and after it, around the row's
/// ends.
struct RowEnds {
  const int32_t* offsets;
  const int32_t* token_row;
};
__device__ __forceinline__ int64_t token_before(const RowEnds& ends, int64_t t) {
  const int32_t b = ends.token_row[t];
  return t == ends.offsets[b] ? static_cast<int64_t>(ends.offsets[b + 1]) - 1 : t - 1;
}
__device__ __forceinline__ int64_t token_after(const RowEnds& ends, int64_t t) {
  const int32_t b = ends.token_row[t];
  return t + 1 == ends.offsets[b + 1] ? static_cast<int64_t>(ends.offsets[b]) : t + 1;
}

template <typename T, int kVector>
__global__ void __launch_bounds__(kCopyThreads)
    concat_towers(Extent tokens, RowEnds ends, RowsOf<const T> left, RowsOf<const T> right, RowsOf<T> y,
                  int64_t width) {
  const Place p = place_of_thread<kVector>(2 * width);
  if (p.row >= tokens.capacity) return;
  Packed<T, kVector> v = zeros<T, kVector>();
  if (p.row < actual_of(tokens)) {
    v = p.column < width ? load_packed<kVector>(left.row(token_before(ends, p.row)) + p.column)
                         : load_packed<kVector>(right.row(token_after(ends, p.row)) + p.column - width);
  }
  store_packed(y.row(p.row) + p.column, v);
}

/// Token t was taken as "before" by the token after it, and as "after" by the token before it.
template <typename T, int kVector>
__global__ void __launch_bounds__(kCopyThreads)
    split_towers(Extent tokens, RowEnds ends, RowsOf<const T> dy, RowsOf<T> d_left, RowsOf<T> d_right,
                 int64_t width) {
  const Place p = place_of_thread<kVector>(2 * width);
  if (p.row >= tokens.capacity) return;
  const bool is_left = p.column < width;
  Packed<T, kVector> v = zeros<T, kVector>();
  if (p.row < actual_of(tokens)) {
    const int64_t source = is_left ? token_after(ends, p.row) : token_before(ends, p.row);
    v = load_packed<kVector>(dy.row(source) + p.column);
  }
  store_packed(is_left ? d_left.row(p.row) + p.column : d_right.row(p.row) + p.column - width, v);
}

/// A warp has kTargets neighbouring rows of the target: one search, then the list is walked.
constexpr int kTargets = 4;

template <typename T, int kVector>
__global__ void __launch_bounds__(kCopyThreads)
    add_to_targets(SortedKeys sorted, RowsOf<const T> dy, RowsOf<T> dx, int64_t target, int64_t width,
                   bool write) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  const int64_t begin = warp * kTargets;
  if (begin >= target) return;  // whole warps
  const int32_t end = static_cast<int32_t>(begin + kTargets < target ? begin + kTargets : target);
  const int32_t count = static_cast<int32_t>(actual_of(sorted.count));
  int32_t last = partition_point(0, count, lane, [&](int32_t i) { return sorted.key[i] < begin; });
  for (int32_t row = static_cast<int32_t>(begin); row < end; ++row) {
    const int32_t first = last;
    for (int found = 32; found == 32; last += found)
      found = __popc(__ballot_sync(kFullWarp, last + lane < count && sorted.key[last + lane] == row));
    if (first == last && !write) continue;
    for (int column = lane * kVector; column < width; column += 32 * kVector) {
      T* to = dx.row(row) + column;
      float total[kVector];
      if (write) {
#pragma unroll
        for (int k = 0; k < kVector; ++k) total[k] = 0;
      } else {
        read_row<kVector>(to, total);
      }
#pragma unroll 2  // four at a time spill
      for (int32_t i = first; i < last; ++i) {
        float v[kVector];
        read_row<kVector>(dy.row(sorted.place[i]) + column, v);
#pragma unroll
        for (int k = 0; k < kVector; ++k) total[k] += v[k];
      }
      write_row<kVector>(to, total);
    }
  }
}

dim3 copy_grid(int64_t rows, int64_t width, int64_t vector) {
  return dim3(static_cast<unsigned>(ceil_div(rows * (width / vector), kCopyThreads)));
}

RowEnds row_ends(const Rows& rows) { return RowEnds{rows.offsets, rows.token_row}; }

}  // namespace

size_t rows_workspace(const Capacity& capacity) {
  Scratch scratch;
  SortScratch sort(scratch,
                   std::max({capacity.tokens, capacity.slots, capacity.lm_rows, int64_t{capacity.batch}}));
  return scratch.size();
}

void CudaOperators::gather_rows(const GatherRows& p) {
  const char* name = "gather_rows";
  const int64_t width = p.y.cols;
  check_matrix(p.y, p.count.capacity, width, p.y.dtype, name, "y");
  check_matrix(p.x, 0, width, p.y.dtype, name, "x");
  if (p.count.capacity == 0 || width == 0) return;
  with_type(p.y.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kRowVector<T>;
    const bool aligned = rows_are_aligned(p.x, kVector) && rows_are_aligned(p.y, kVector);
    launch(name, aligned ? gather<T, kVector> : gather<T, 1>,
           copy_grid(p.count.capacity, width, aligned ? kVector : 1), dim3(kCopyThreads), 0, stream(),
           p.count, p.index, RowsOf<const T>(p.x), p.x.rows, RowsOf<T>(p.y), width);
  });
}

void CudaOperators::scatter_add_rows(const ScatterAddRows& p) {
  const char* name = "scatter_add_rows";
  const int64_t width = p.dx.cols, target = p.target.capacity;
  check_matrix(p.dy, p.count.capacity, width, p.dx.dtype, name, "dy");
  check_matrix(p.dx, target, width, p.dx.dtype, name, "dx");
  if (target == 0 || width == 0) return;
  Scratch measure;
  SortScratch measured(measure, p.count.capacity);
  Scratch scratch(workspace(measure.size()));
  const SortScratch sort(scratch, p.count.capacity);
  const SortedKeys sorted = sort_keys(p.index, p.count, target, sort, stream());
  with_type(p.dx.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kRowVector<T>;
    const bool aligned = rows_are_aligned(p.dy, kVector) && rows_are_aligned(p.dx, kVector);
    launch(name, aligned ? add_to_targets<T, kVector> : add_to_targets<T, 1>,
           dim3(static_cast<unsigned>(ceil_div(target, kTargets * (kCopyThreads / 32)))), dim3(kCopyThreads),
           0, stream(), sorted, RowsOf<const T>(p.dy), RowsOf<T>(p.dx), target, width,
           p.into == Into::kWrite);
  });
}

void CudaOperators::tower_concat(const TowerConcat& p) {
  const char* name = "tower_concat";
  const int64_t capacity = p.rows.tokens.capacity, width = p.left_to_right.cols;
  check_matrix(p.left_to_right, capacity, width, p.y.dtype, name, "left_to_right");
  check_matrix(p.right_to_left, capacity, width, p.y.dtype, name, "right_to_left");
  check_matrix(p.y, capacity, 2 * width, p.y.dtype, name, "y");
  if (capacity == 0 || width == 0) return;
  with_type(p.y.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kRowVector<T>;
    const bool aligned = rows_are_aligned(p.left_to_right, kVector) &&
                         rows_are_aligned(p.right_to_left, kVector) && rows_are_aligned(p.y, kVector);
    launch(name, aligned ? concat_towers<T, kVector> : concat_towers<T, 1>,
           copy_grid(capacity, 2 * width, aligned ? kVector : 1), dim3(kCopyThreads), 0, stream(),
           p.rows.tokens, row_ends(p.rows), RowsOf<const T>(p.left_to_right),
           RowsOf<const T>(p.right_to_left), RowsOf<T>(p.y), width);
  });
}

void CudaOperators::tower_concat_backward(const TowerConcatBackward& p) {
  const char* name = "tower_concat_backward";
  const int64_t capacity = p.rows.tokens.capacity, width = p.d_left_to_right.cols;
  check_matrix(p.dy, capacity, 2 * width, p.dy.dtype, name, "dy");
  check_matrix(p.d_left_to_right, capacity, width, p.dy.dtype, name, "d_left_to_right");
  check_matrix(p.d_right_to_left, capacity, width, p.dy.dtype, name, "d_right_to_left");
  if (capacity == 0 || width == 0) return;
  with_type(p.dy.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kRowVector<T>;
    const bool aligned = rows_are_aligned(p.dy, kVector) && rows_are_aligned(p.d_left_to_right, kVector) &&
                         rows_are_aligned(p.d_right_to_left, kVector);
    launch(name, aligned ? split_towers<T, kVector> : split_towers<T, 1>,
           copy_grid(capacity, 2 * width, aligned ? kVector : 1), dim3(kCopyThreads), 0, stream(),
           p.rows.tokens, row_ends(p.rows), RowsOf<const T>(p.dy), RowsOf<T>(p.d_left_to_right),
           RowsOf<T>(p.d_right_to_left), width);
  });
}

void CudaOperators::add_rows(const AddRows& p) {
  const char* name = "add_rows";
  const int64_t capacity = p.tokens.capacity, width = p.y.cols;
  check_matrix(p.x, capacity, width, p.y.dtype, name, "x");
  check_matrix(p.y, capacity, width, p.y.dtype, name, "y");
  if (capacity == 0 || width == 0) return;
  with_type(p.y.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kRowVector<T>;
    const bool aligned = rows_are_aligned(p.x, kVector) && rows_are_aligned(p.y, kVector);
    launch(name, aligned ? add<T, kVector> : add<T, 1>, copy_grid(capacity, width, aligned ? kVector : 1),
           dim3(kCopyThreads), 0, stream(), p.tokens, RowsOf<const T>(p.x), RowsOf<T>(p.y), width);
  });
}

}  // namespace electra::cuda
