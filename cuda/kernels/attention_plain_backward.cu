// Attention in f32 arithmetic, backward: one kernel owns queries and makes d_query, a second owns keys and makes d_key
// and d_value (attention_plain.cu).

#include "attention_plain.h"

namespace electra::cuda {
namespace {

using namespace plain;

/// Of a tile: probabilities with dropout in `scores`, gradients of scores, but for the scale, in `gradients`. The rows
/// are queries, or keys.
template <int kDim, bool kRowsAreKeys>
__device__ __forceinline__ void differentiate(const AttentionProblem& p, const Scores& score,
                                              float (&scores)[Shape<kDim>::kRows][Shape<kDim>::kRows],
                                              float (&gradients)[Shape<kDim>::kRows][Shape<kDim>::kRows],
                                              const KeepBits& bits, int first_query, int first_key,
                                              const QueryStatistics* statistics) {
  using S = Shape<kDim>;
  const int query0 = kRowsAreKeys ? thread_column() : thread_row();
  const int key0 = kRowsAreKeys ? thread_row() : thread_column();
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < S::kRows; ++j) {
      const int query_tile = kRowsAreKeys ? j : i, key_tile = kRowsAreKeys ? i : j;
      const int query = query0 + kSide * query_tile, key = key0 + kSide * key_tile;
      const float s = score.score(scores[i][j], first_query + query, first_key + key);
      // 0 for a query beyond the row: its log Σ exp is infinite.
      const float probability = expf(s - statistics[query].log_sum_exp);
      const bool kept = p.threshold == 0 || bits.template kept<kDim>(query_tile, key_tile);
      gradients[i][j] =
          probability * ((kept ? gradients[i][j] * p.kept_scale : 0.0f) - statistics[query].delta);
      scores[i][j] = kept ? probability * p.kept_scale : 0.0f;
    }
  }
}

/// Owns queries: d_query, and the statistics for the kernel below.
template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, Shape<kDim>::kBlocks)
    attention_plain_backward_queries_kernel(AttentionProblem p, RowsOf<T> qkv, RowsOf<T> context,
                                            const float* log_sum_exp, RowsOf<T> d_context, RowsOf<T> d_qkv,
                                            QueryStatistics* all_statistics, int tiles, bool vectors) {
  using S = Shape<kDim>;
  ELECTRA_DYNAMIC_SHARED(float, shared);
  float* const queries = shared;
  float* const d_rows = queries + S::kHeadFloats;
  float* const keys = d_rows + S::kHeadFloats;
  float* const values = keys + S::kHeadFloats;
  float* const weights = values + S::kHeadFloats;
  QueryStatistics* const statistics = reinterpret_cast<QueryStatistics*>(weights + S::kWeightFloats);
  uint8_t* const keep = reinterpret_cast<uint8_t*>(statistics + S::kTile);

  const AttentionBlock block = attention_block(p, tiles);
  const int column = block.head * p.head_size;
  clear_beyond(p, d_qkv, column, block, tiles);
  const int first_query = block.tile * S::kTile;
  if (first_query >= block.length) return;

  const HeadRows<T> key_rows(qkv, block.first, column + p.width, p.head_size, vectors);
  const HeadRows<T> value_rows(qkv, block.first, column + 2 * p.width, p.head_size, vectors);
  const PairDropout<> dropout(p, block, static_cast<int>(threadIdx.x) % 32);
  const Scores score(p, block);
  load_tile<kDim>(queries, HeadRows<T>(qkv, block.first, column, p.head_size, vectors), first_query, block.length);
  load_tile<kDim>(d_rows, HeadRows<T>(d_context, block.first, column, p.head_size, vectors), first_query,
                  block.length);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
    const int r = thread_row() + kSide * i;
    const int64_t token = block.first + first_query + r;
    const bool inside = first_query + r < block.length;
    float dot = 0.0f;
    if (inside) {
      for (int d = thread_column(); d < p.head_size; d += kSide)
        dot = fmaf(to_float(context.row(token)[column + d]), d_rows[r * S::kStride + d], dot);
    }
    dot = row_sum(dot);
    if (thread_column() == 0) {
      const QueryStatistics mine{inside ? log_sum_exp[token * p.heads + block.head] : INFINITY, dot};
      statistics[r] = mine;
      if (inside) all_statistics[block.head * p.tokens.capacity + token] = mine;
    }
  }

  const KeepBits bits(keep, thread_row(), thread_column());
  float sums[S::kRows][S::kColumns] = {};
  const KeyRange range = score.keys(first_query, S::kTile);
  for (int first_key = range.first; first_key < range.last; first_key += S::kTile) {
    __syncthreads();
    load_tile<kDim>(keys, key_rows, first_key, block.length);
    load_tile<kDim>(values, value_rows, first_key, block.length);
    if (p.threshold != 0) make_keep_bits<kDim>(dropout, first_query, first_key, keep);
    __syncthreads();
    float scores[S::kRows][S::kRows], gradients[S::kRows][S::kRows];
    dot_rows<kDim>(queries, keys, scores);
    dot_rows<kDim>(d_rows, values, gradients);
    differentiate<kDim, false>(p, score, scores, gradients, bits, first_query, first_key, statistics);
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
      for (int j = 0; j < S::kRows; ++j)
        weights[(thread_row() + kSide * i) * S::kWeights + thread_column() + kSide * j] = gradients[i][j];
    }
    __syncthreads();
    add_weighted_rows<kDim>(weights, keys, sums);
  }
  float factor[S::kRows];
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) factor[i] = p.scale;
  store_sums<kDim>(sums, factor, HeadRows<T>(d_qkv, block.first, column, p.head_size, false), first_query,
                   block.length);
}

/// Owns keys: d_key and d_value.
template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, Shape<kDim>::kBlocks)
    attention_plain_backward_keys_kernel(AttentionProblem p, RowsOf<T> qkv, RowsOf<T> d_context, RowsOf<T> d_qkv,
                                         const QueryStatistics* all_statistics, int tiles, bool vectors) {
  using S = Shape<kDim>;
  ELECTRA_DYNAMIC_SHARED(float, shared);
  float* const keys = shared;
  float* const values = keys + S::kHeadFloats;
  float* const queries = values + S::kHeadFloats;
  float* const d_rows = queries + S::kHeadFloats;
  float* const weights = d_rows + S::kHeadFloats;
  float* const d_weights = weights + S::kWeightFloats;
  QueryStatistics* const statistics = reinterpret_cast<QueryStatistics*>(d_weights + S::kWeightFloats);
  uint8_t* const keep = reinterpret_cast<uint8_t*>(statistics + S::kTile);

  const AttentionBlock block = attention_block(p, tiles);
  const int column = block.head * p.head_size;
  clear_beyond(p, d_qkv, column + p.width, block, tiles);
  clear_beyond(p, d_qkv, column + 2 * p.width, block, tiles);
  const int first_key = block.tile * S::kTile;
  if (first_key >= block.length) return;

  const HeadRows<T> query_rows(qkv, block.first, column, p.head_size, vectors);
  const HeadRows<T> gradient_rows(d_context, block.first, column, p.head_size, vectors);
  const PairDropout<> dropout(p, block, static_cast<int>(threadIdx.x) % 32);
  const Scores score(p, block);
  load_tile<kDim>(keys, HeadRows<T>(qkv, block.first, column + p.width, p.head_size, vectors), first_key,
                  block.length);
  load_tile<kDim>(values, HeadRows<T>(qkv, block.first, column + 2 * p.width, p.head_size, vectors), first_key,
                  block.length);

  const KeepBits bits(keep, thread_column(), thread_row());
  float d_key[S::kRows][S::kColumns] = {}, d_value[S::kRows][S::kColumns] = {};
  const KeyRange range = score.queries(first_key, S::kTile);
  for (int first_query = range.first; first_query < range.last; first_query += S::kTile) {
    __syncthreads();
    load_tile<kDim>(queries, query_rows, first_query, block.length);
    load_tile<kDim>(d_rows, gradient_rows, first_query, block.length);
    if (static_cast<int>(threadIdx.x) < S::kTile) {
      const int query = first_query + static_cast<int>(threadIdx.x);
      statistics[threadIdx.x] = query < block.length
                                    ? all_statistics[block.head * p.tokens.capacity + block.first + query]
                                    : QueryStatistics{INFINITY, 0.0f};
    }
    if (p.threshold != 0) make_keep_bits<kDim>(dropout, first_query, first_key, keep);
    __syncthreads();
    float scores[S::kRows][S::kRows], gradients[S::kRows][S::kRows];
    dot_rows<kDim>(keys, queries, scores);
    dot_rows<kDim>(values, d_rows, gradients);
    differentiate<kDim, true>(p, score, scores, gradients, bits, first_query, first_key, statistics);
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
      for (int j = 0; j < S::kRows; ++j) {
        const int place = (thread_row() + kSide * i) * S::kWeights + thread_column() + kSide * j;
        weights[place] = scores[i][j];
        d_weights[place] = gradients[i][j];
      }
    }
    __syncthreads();
    add_weighted_rows<kDim>(weights, d_rows, d_value);
    add_weighted_rows<kDim>(d_weights, queries, d_key);
  }
  float factor[S::kRows];
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) factor[i] = p.scale;
  store_sums<kDim>(d_key, factor, HeadRows<T>(d_qkv, block.first, column + p.width, p.head_size, false), first_key,
                   block.length);
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) factor[i] = 1.0f;
  store_sums<kDim>(d_value, factor, HeadRows<T>(d_qkv, block.first, column + 2 * p.width, p.head_size, false),
                   first_key, block.length);
}

}  // namespace

void attention_plain_backward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                              const float* log_sum_exp, const Tensor& d_context, const Tensor& d_qkv,
                              QueryStatistics* statistics, cudaStream_t stream) {
  with_shape(qkv.dtype, p.head_size, [&](auto type, auto dim) {
    using T = decltype(type);
    constexpr int kDim = decltype(dim)::value;
    const int tiles = static_cast<int>(ceil_div(p.pitch, Shape<kDim>::kTile));
    const dim3 grid(attention_blocks(p, tiles));
    const bool vectors = four_at_a_time(p, {qkv, d_context});
    launch("attention_plain_backward_queries", attention_plain_backward_queries_kernel<T, kDim>, grid,
           dim3(kThreads), shared_bytes<kDim>(4, 1), stream, p, RowsOf<T>(qkv), RowsOf<T>(context), log_sum_exp,
           RowsOf<T>(d_context), RowsOf<T>(d_qkv), statistics, tiles, vectors);
    launch("attention_plain_backward_keys", attention_plain_backward_keys_kernel<T, kDim>, grid, dim3(kThreads),
           shared_bytes<kDim>(4, 2), stream, p, RowsOf<T>(qkv), RowsOf<T>(d_context), RowsOf<T>(d_qkv), statistics,
           tiles, vectors);
  });
}

}  // namespace electra::cuda
