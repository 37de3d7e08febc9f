// Operations over the tokens of each row of the batch: the span heads of question answering, where a row
// holds one score for each of its (up to 512) tokens.
//
// Scores: a block of 128 threads takes one row, so that a row's maximum, sum and choice never leave it;
// scores are read two or three times, from the first-level cache after the first. Everything is computed in
// double and rounded once, as on the CPU: 32 rows of 512 tokens are 64 KB, and a launch costs more than the
// arithmetic. Vectors [T, h]: the weighted sum gives a block one row and a stretch of columns, its warps
// share the row's tokens and their sums are added in order; what goes token by token (its gradient,
// broadcasting) gives a warp one token. All read and write 16 bytes at a time where rows are aligned. Traffic
// is that of the operands, each once.

#include <algorithm>
#include <cmath>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "../scratch.h"
#include "ranking.h"

namespace electra::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kFillBlocks = 8;  // what lies between actual and capacity, beside the blocks of the rows
constexpr int kWarps = 8;

/// The tokens of one row in the stream.
struct Span {
  int64_t first;
  int64_t last;
};
__device__ __forceinline__ Span row_span(const Rows& rows, int64_t b) {
  return Span{rows.offsets[b], rows.offsets[b + 1]};
}

/// One row's scores with their addend, summed in f32 as the reference sums logits and mask.
struct Scores {
  const float* values;
  int64_t stride;
  const float* addend;
  __device__ __forceinline__ float operator()(int64_t t) const {
    return addend != nullptr ? values[t * stride] + addend[t] : values[t * stride];
  }
};

/// log Σ exp over a row that is not empty, to all threads; all must call it.
__device__ double log_sum_exp(const Scores& scores, const Span& span) {
  float top = -INFINITY;
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) top = fmaxf(top, scores(t));
  top = block_max<kThreads>(top);
  double total = 0;
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads)
    total += exp(static_cast<double>(scores(t)) - top);
  return top + log(block_sum<kThreads>(total));
}

/// Zeros for the tokens between actual and capacity, by the blocks beyond those of the rows.
__device__ void clear_beyond(const Rows& rows, float* values, int64_t stride) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) - rows.batch;
  for (int64_t t = actual_of(rows.tokens) + block * kThreads + threadIdx.x; t < rows.tokens.capacity;
       t += kFillBlocks * kThreads)
    values[t * stride] = 0;
}

__global__ void __launch_bounds__(kThreads) ragged_softmax_kernel(RaggedSoftmax p) {
  const int64_t b = blockIdx.x;
  if (b >= p.rows.batch) {
    clear_beyond(p.rows, p.y, 1);
    return;
  }
  const Span span = row_span(p.rows, b);
  if (span.first >= span.last) return;
  const Scores scores{p.scores, p.stride, p.addend};
  const double log_sum = log_sum_exp(scores, span);
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) {
    const double logarithm = scores(t) - log_sum;
    p.y[t] = static_cast<float>(p.logarithm ? logarithm : exp(logarithm));
  }
}

__global__ void __launch_bounds__(kThreads) ragged_softmax_backward_kernel(RaggedSoftmaxBackward p) {
  const int64_t b = blockIdx.x;
  const bool add = p.into == Into::kAdd;
  if (b >= p.rows.batch) {
    if (!add) clear_beyond(p.rows, p.d_scores, p.stride);
    return;
  }
  const Span span = row_span(p.rows, b);
  double dot = 0;
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads)
    dot += static_cast<double>(p.y[t]) * p.dy[t];
  dot = block_sum<kThreads>(dot);
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) {
    const float gradient = static_cast<float>(p.y[t] * (p.dy[t] - dot));
    float& place = p.d_scores[t * p.stride];
    place = add ? place + gradient : gradient;
  }
}

// A row of weight 0, or without tokens, has loss 0 and no gradient; its target is not looked at. A target
// outside its row shows in the loss.
__global__ void __launch_bounds__(kThreads)
    ragged_cross_entropy_kernel(RaggedCrossEntropy p, double* losses) {
  const int64_t b = blockIdx.x;
  const bool add = p.into == Into::kAdd;
  if (b >= p.rows.batch) {
    if (p.d_scores != nullptr && !add) clear_beyond(p.rows, p.d_scores, p.stride);
    return;
  }
  const Span span = row_span(p.rows, b);
  const double w = p.weights != nullptr ? p.weights[b] : 1.0;
  if (w == 0 || span.first >= span.last) {
    if (threadIdx.x == 0) {
      losses[b] = 0;
      if (p.loss != nullptr) p.loss[b] = 0;
    }
    if (p.d_scores != nullptr && !add)
      for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) p.d_scores[t * p.stride] = 0;
    return;
  }
  const Scores scores{p.scores, p.stride, p.addend};
  const int64_t target = span.first + p.target_position[b];
  const double log_sum = log_sum_exp(scores, span);
  if (threadIdx.x == 0) {
    const double loss = target >= span.first && target < span.last ? log_sum - scores(target) : NAN;
    if (p.loss != nullptr) p.loss[b] = static_cast<float>(loss);
    losses[b] = w * loss;
  }
  if (p.d_scores == nullptr) return;
  __syncthreads();  // d_scores may be scores, and the target's was looked up
  const double factor = p.scale != nullptr ? w * *p.scale : w;
  for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) {
    const float gradient =
        static_cast<float>(factor * (exp(scores(t) - log_sum) - (t == target ? 1.0 : 0.0)));
    float& place = p.d_scores[t * p.stride];
    place = add ? place + gradient : gradient;
  }
}

/// Adds up the rows' losses, by one block.
__global__ void __launch_bounds__(kThreads)
    add_losses_kernel(const double* losses, int32_t batch, double* loss_sum) {
  double total = 0;
  for (int32_t b = static_cast<int32_t>(threadIdx.x); b < batch; b += kThreads) total += losses[b];
  total = block_sum<kThreads>(total);
  if (threadIdx.x == 0) *loss_sum += total;
}

/// Ranks of a row's scores are all different, so the next best is the best one below the last: nothing is
/// marked or moved. A thread looks through its tokens again only when one of them was chosen.
__global__ void __launch_bounds__(kThreads) ragged_top_k_kernel(RaggedTopK p) {
  const int64_t b = blockIdx.x;
  const Span span = row_span(p.rows, b);
  unsigned long long last = ~0ull, mine = 0;
  bool stale = true;
  for (int32_t i = 0; i < p.k; ++i) {
    if (stale) {
      mine = 0;
      for (int64_t t = span.first + threadIdx.x; t < span.last; t += kThreads) {
        const float score = p.scores[t];
        const unsigned long long rank =
            ranked(score == score ? score : -INFINITY, static_cast<int32_t>(t - span.first));
        if (rank < last && rank > mine) mine = rank;
      }
    }
    const unsigned long long best = block_best<kThreads>(mine);
    if (threadIdx.x == 0) {
      const int32_t position = best != 0 ? index_of(best) : -1;
      p.values[b * p.k + i] = best != 0 ? p.scores[span.first + position] : -INFINITY;
      p.positions[b * p.k + i] = position;
    }
    stale = best != 0 && best == mine;
    last = best;
  }
}

template <typename T, int N>
__global__ void __launch_bounds__(32 * kWarps) ragged_weighted_sum_kernel(RaggedWeightedSum p) {
  ELECTRA_SHARED(float, sums, (kWarps * 32 * N));
  const int64_t b = blockIdx.y, columns = p.y.cols, start = static_cast<int64_t>(blockIdx.x) * 32 * N;
  const int64_t column = start + threadIdx.x * N;
  const Span span = row_span(p.rows, b);
  float total[N];
#pragma unroll
  for (int j = 0; j < N; ++j) total[j] = 0;
  if (column < columns) {
    const T* x = static_cast<const T*>(p.x.data) + column;
#pragma unroll 4
    for (int64_t t = span.first + threadIdx.y; t < span.last; t += kWarps) {
      const float w = p.weights != nullptr ? p.weights[t] : 1.0f;
      const Packed<T, N> value = load_packed<N>(x + t * p.x.stride);
#pragma unroll
      for (int j = 0; j < N; ++j) total[j] += w * to_float(value[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) sums[(threadIdx.y * 32 + threadIdx.x) * N + j] = total[j];
  __syncthreads();
  T* y = static_cast<T*>(p.y.data) + b * p.y.stride;
  for (int c = static_cast<int>(threadIdx.y * 32 + threadIdx.x); c < 32 * N && start + c < columns;
       c += 32 * kWarps) {
    float sum = sums[c];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += sums[w * 32 * N + c];
    y[start + c] = from_float<T>(p.into == Into::kAdd ? to_float(y[start + c]) + sum : sum);
  }
}

/// d_weights[t] = dy[row] · x[t]; dx[t] (+)= w[t] · dy[row]: a warp for each token.
template <typename T, int N>
__global__ void __launch_bounds__(32 * kWarps)
    ragged_weighted_sum_backward_kernel(RaggedWeightedSumBackward p) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
  if (t >= p.rows.tokens.capacity) return;  // whole warps
  const bool add = p.into == Into::kAdd, counts = t < actual_of(p.rows.tokens);
  const int64_t columns = p.dy.cols;
  const T* dy = static_cast<const T*>(p.dy.data) + (counts ? p.rows.token_row[t] * p.dy.stride : 0);
  const T* x = p.d_weights != nullptr ? static_cast<const T*>(p.x.data) + t * p.x.stride : nullptr;
  T* dx = p.dx.data != nullptr ? static_cast<T*>(p.dx.data) + t * p.dx.stride : nullptr;
  if (dx != nullptr && !counts && add) dx = nullptr;
  const float w = !counts ? 0.0f : p.weights != nullptr ? p.weights[t] : 1.0f;
  float dot = 0;
  for (int64_t c = threadIdx.x * N; c < columns; c += 32 * N) {
    Packed<T, N> result, gradient;
    if (counts) gradient = load_packed<N>(dy + c);
    if (x != nullptr && counts) {
      const Packed<T, N> value = load_packed<N>(x + c);
#pragma unroll
      for (int j = 0; j < N; ++j) dot += to_float(gradient[j]) * to_float(value[j]);
    }
    if (dx == nullptr) continue;
    if (add) result = load_packed<N>(dx + c);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float value = counts ? w * to_float(gradient[j]) : 0.0f;
      result[j] = from_float<T>(add ? to_float(result[j]) + value : value);
    }
    store_packed<N>(dx + c, result);
  }
  if (p.d_weights == nullptr) return;
  dot = warp_sum(dot);
  if (threadIdx.x == 0) p.d_weights[t] = dot;
}

template <typename T, int N>
__global__ void __launch_bounds__(32 * kWarps) broadcast_rows_kernel(BroadcastRows p) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
  if (t >= p.rows.tokens.capacity) return;
  const bool add = p.into == Into::kAdd, counts = t < actual_of(p.rows.tokens);
  if (add && !counts) return;
  const T* v = static_cast<const T*>(p.v.data) + (counts ? p.rows.token_row[t] * p.v.stride : 0);
  T* y = static_cast<T*>(p.y.data) + t * p.y.stride;
  for (int64_t c = threadIdx.x * N; c < p.v.cols; c += 32 * N) {
    Packed<T, N> result;
    if (counts) {
      result = load_packed<N>(v + c);
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) result[j] = from_float<T>(0.0f);
    }
    if (add) {
      const Packed<T, N> before = load_packed<N>(y + c);
#pragma unroll
      for (int j = 0; j < N; ++j) result[j] = from_float<T>(to_float(before[j]) + to_float(result[j]));
    }
    store_packed<N>(y + c, result);
  }
}

// ---------------------------------------------------------------------------------------------------------------------

unsigned row_blocks(const Rows& rows) { return static_cast<unsigned>(rows.batch + kFillBlocks); }
unsigned token_blocks(const Rows& rows) {
  return static_cast<unsigned>(ceil_div(rows.tokens.capacity, kWarps));
}

/// Calls body(T{}, integral_constant<int, N>{}): the type of activations, and 16 bytes of it or one element.
template <typename Body>
void with_vectors(DType dtype, std::initializer_list<Tensor> tensors, Body body) {
  const int64_t width = dtype == DType::kFloat32 ? 4 : 8;
  const bool aligned = std::all_of(tensors.begin(), tensors.end(),
                                   [&](const Tensor& t) { return rows_are_aligned(t, width); });
  with_type(dtype, [&](auto type) {
    constexpr int kWidth = 16 / static_cast<int>(sizeof(type));
    if (aligned)
      body(type, std::integral_constant<int, kWidth>{});
    else
      body(type, std::integral_constant<int, 1>{});
  });
}

}  // namespace

size_t ragged_workspace(const Capacity& capacity) {
  return static_cast<size_t>(capacity.batch) * sizeof(double);  // ragged_cross_entropy: the rows' losses
}

void CudaOperators::ragged_softmax(const RaggedSoftmax& p) {
  launch("ragged_softmax", ragged_softmax_kernel, row_blocks(p.rows), kThreads, 0, stream(), p);
}

void CudaOperators::ragged_softmax_backward(const RaggedSoftmaxBackward& p) {
  launch("ragged_softmax_backward", ragged_softmax_backward_kernel, row_blocks(p.rows), kThreads, 0, stream(),
         p);
}

void CudaOperators::ragged_cross_entropy(const RaggedCrossEntropy& p) {
  double* losses = static_cast<double*>(workspace(static_cast<size_t>(p.rows.batch) * sizeof(double)));
  launch("ragged_cross_entropy", ragged_cross_entropy_kernel, row_blocks(p.rows), kThreads, 0, stream(), p,
         losses);
  if (p.loss_sum != nullptr)
    launch("ragged_add_losses", add_losses_kernel, 1, kThreads, 0, stream(), losses, p.rows.batch,
           p.loss_sum);
}

void CudaOperators::ragged_top_k(const RaggedTopK& p) {
  ELECTRA_CHECK_SHAPE(p.k >= 0, "ragged_top_k: k is %d", p.k);
  if (p.k > 0)
    launch("ragged_top_k", ragged_top_k_kernel, static_cast<unsigned>(p.rows.batch), kThreads, 0, stream(),
           p);
}

void CudaOperators::ragged_weighted_sum(const RaggedWeightedSum& p) {
  const int64_t columns = p.y.cols;
  check_matrix(p.x, p.rows.tokens.capacity, columns, compute(), "ragged_weighted_sum", "x");
  check_matrix(p.y, p.rows.batch, columns, compute(), "ragged_weighted_sum", "y");
  with_vectors(compute(), {p.x}, [&](auto type, auto vector) {
    constexpr int N = decltype(vector)::value;
    const dim3 grid(static_cast<unsigned>(ceil_div(columns, 32 * N)), static_cast<unsigned>(p.rows.batch));
    launch("ragged_weighted_sum", ragged_weighted_sum_kernel<decltype(type), N>, grid, dim3(32, kWarps), 0,
           stream(), p);
  });
}

void CudaOperators::ragged_weighted_sum_backward(const RaggedWeightedSumBackward& p) {
  const int64_t columns = p.dy.cols, tokens = p.rows.tokens.capacity;
  check_matrix(p.dy, p.rows.batch, columns, compute(), "ragged_weighted_sum_backward", "dy");
  if (p.d_weights != nullptr)
    check_matrix(p.x, tokens, columns, compute(), "ragged_weighted_sum_backward", "x");
  if (p.dx) check_matrix(p.dx, tokens, columns, compute(), "ragged_weighted_sum_backward", "dx");
  with_vectors(compute(), {p.dy, p.d_weights != nullptr ? p.x : Tensor{}, p.dx}, [&](auto type, auto vector) {
    launch("ragged_weighted_sum_backward",
           ragged_weighted_sum_backward_kernel<decltype(type), decltype(vector)::value>, token_blocks(p.rows),
           dim3(32, kWarps), 0, stream(), p);
  });
}

void CudaOperators::broadcast_rows(const BroadcastRows& p) {
  check_matrix(p.v, p.rows.batch, p.v.cols, compute(), "broadcast_rows", "v");
  check_matrix(p.y, p.rows.tokens.capacity, p.v.cols, compute(), "broadcast_rows", "y");
  with_vectors(compute(), {p.v, p.y}, [&](auto type, auto vector) {
    launch("broadcast_rows", broadcast_rows_kernel<decltype(type), decltype(vector)::value>,
           token_blocks(p.rows), dim3(32, kWarps), 0, stream(), p);
  });
}

}  // namespace electra::cuda
