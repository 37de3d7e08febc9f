// Attention: softmax(q kᵀ / sqrt(D), masked) with dropout on the probabilities, times v, forward and backward, over
// packed rows of any length. No [L, L] matrix ever leaves the chip, save for attention_probabilities.
//
// This file checks shapes and chooses between two families of kernels:
// - bf16, head size 64, no kept padding, rows at multiples of 16 bytes: tensor cores (attention_tensor.cu,
//   attention_tensor_backward.cu). That is what every ELECTRA model trains with.
// - everything else: f32 arithmetic in register tiles (attention_plain.cu).
//
// Tokens beyond the extent are cleared by the same kernels: each block takes a share of them.

#include "attention.h"

#include <cmath>

#include "../cuda_operators.h"
#include "../scratch.h"

namespace electra::cuda {
namespace {

constexpr int64_t kLargestHead = 256;

AttentionProblem problem_of(const Rows& rows, int32_t heads, AttentionMask mask, const Dropout& dropout,
                            const Tensor& qkv, DType dtype, const char* name) {
  ELECTRA_CHECK_SHAPE(heads > 0 && qkv.cols % 3 == 0 && qkv.cols / 3 % heads == 0,
                      "%s: %d heads do not divide a qkv of %lld columns", name, heads,
                      static_cast<long long>(qkv.cols));
  const int64_t head_size = qkv.cols / 3 / heads;
  ELECTRA_CHECK_SHAPE(head_size >= 1 && head_size <= kLargestHead,
                      "%s: heads of size %lld; the GPU takes 1 to %lld", name, static_cast<long long>(head_size),
                      static_cast<long long>(kLargestHead));
  check_matrix(qkv, rows.tokens.capacity, qkv.cols, dtype, name, "qkv");
  AttentionProblem p;
  p.tokens = rows.tokens;
  p.offsets = rows.offsets;
  p.valid = rows.valid;
  p.global_row = rows.global_row;
  p.batch = rows.batch;
  p.pitch = rows.pitch;
  p.heads = heads;
  p.head_size = static_cast<int32_t>(head_size);
  p.width = static_cast<int32_t>(heads * head_size);
  p.keep_padding = rows.keep_padding;
  p.mask = mask;
  p.scale = 1.0f / std::sqrt(static_cast<float>(head_size));
  const TokenDropout d = token_dropout(dropout, rows, name);
  p.threshold = d.threshold;
  p.kept_scale = d.scale;
  p.site = d.site;
  p.scalars = d.scalars;
  return p;
}

/// Of a batch without rows, which has no blocks that could do it.
template <typename T>
__global__ void clear_rows(T* data, int64_t stride, int64_t width) {
  for (int64_t c = threadIdx.x; c < width; c += blockDim.x) data[blockIdx.x * stride + c] = from_float<T>(0.0f);
}
void clear(const Tensor& t, int64_t rows, cudaStream_t stream) {
  with_type(t.dtype, [&](auto type) {
    using T = decltype(type);
    launch("clear_rows", clear_rows<T>, dim3(static_cast<unsigned>(rows)), dim3(128), 0, stream,
           static_cast<T*>(t.data), t.stride, t.cols);
  });
}

}  // namespace

bool attention_on_tensor_cores(const AttentionProblem& p, std::initializer_list<Tensor> tensors) {
  if (p.head_size != 64 || p.keep_padding) return false;
  for (const Tensor& t : tensors)
    if (t.dtype != DType::kBFloat16 || !rows_are_aligned(t, 8)) return false;
  return true;
}

size_t attention_workspace(const Capacity& capacity) {
  Scratch scratch;
  scratch.take<QueryStatistics>(capacity.tokens * capacity.max_heads);
  return scratch.size();
}

void CudaOperators::attention_forward(const AttentionForward& a) {
  const char* name = "attention_forward";
  const AttentionProblem p = problem_of(a.rows, a.heads, a.mask, a.dropout, a.qkv, compute(), name);
  check_matrix(a.context, p.tokens.capacity, a.qkv.cols / 3, compute(), name, "context");
  if (p.batch == 0 || p.pitch == 0) {
    clear(a.context, p.tokens.capacity, stream());
    if (a.log_sum_exp != nullptr && p.tokens.capacity > 0)
      ELECTRA_CUDA_CHECK(cudaMemsetAsync(
          a.log_sum_exp, 0, static_cast<size_t>(p.tokens.capacity * p.heads) * sizeof(float), stream()));
    return;
  }
  if (attention_on_tensor_cores(p, {a.qkv, a.context}))
    attention_tensor_forward(p, a.qkv, a.context, a.log_sum_exp, stream());
  else
    attention_plain_forward(p, a.qkv, a.context, a.log_sum_exp, stream());
}

void CudaOperators::attention_backward(const AttentionBackward& a) {
  const char* name = "attention_backward";
  const AttentionProblem p = problem_of(a.rows, a.heads, a.mask, a.dropout, a.qkv, compute(), name);
  check_matrix(a.context, p.tokens.capacity, a.qkv.cols / 3, compute(), name, "context");
  check_matrix(a.d_context, p.tokens.capacity, a.qkv.cols / 3, compute(), name, "d_context");
  check_matrix(a.d_qkv, p.tokens.capacity, a.qkv.cols, compute(), name, "d_qkv");
  ELECTRA_CHECK_SHAPE(a.log_sum_exp != nullptr, "%s: needs the forward pass's log_sum_exp", name);
  if (p.batch == 0 || p.pitch == 0) {
    clear(a.d_qkv, p.tokens.capacity, stream());
    return;
  }
  const bool tensor_cores = attention_on_tensor_cores(p, {a.qkv, a.context, a.d_context, a.d_qkv});
  QueryStatistics* statistics = nullptr;
  if (!tensor_cores || attention_tensor_backward_is_split(p)) {
    const int64_t count = p.tokens.capacity * p.heads;
    Scratch measure;
    measure.take<QueryStatistics>(count);
    statistics = Scratch(workspace(measure.size())).take<QueryStatistics>(count);
  }
  if (tensor_cores)
    attention_tensor_backward(p, a.qkv, a.context, a.log_sum_exp, a.d_context, a.d_qkv, statistics, stream());
  else
    attention_plain_backward(p, a.qkv, a.context, a.log_sum_exp, a.d_context, a.d_qkv, statistics, stream());
}

void CudaOperators::attention_probabilities(const AttentionProbabilities& a) {
  const char* name = "attention_probabilities";
  const AttentionProblem p = problem_of(a.rows, a.heads, a.mask, Dropout{}, a.qkv, compute(), name);
  ELECTRA_CHECK_SHAPE(a.probabilities != nullptr || p.batch == 0 || p.pitch == 0, "%s: nowhere to write to", name);
  attention_plain_probabilities(p, a.qkv, a.probabilities, stream());
}

}  // namespace electra::cuda
