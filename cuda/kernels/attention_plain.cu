// Attention in f32 arithmetic, for any head size from 1 to 256, both types, packed rows and kept padding: the parity
// mode, and whatever the tensor-core kernels do not take.
//
// A block of 256 threads owns a tile of 64 queries (32 for heads above 64) of one head and visits the keys tile by
// tile with a running maximum; backward, one kernel owns queries and makes d_query, a second owns keys and makes
// d_key and d_value, each looping over the other side: seven products where five would do, but every sum has one
// owner and one order, and nothing is added in global memory. All products are register tiles of 4 x 4 (2 x 2
// to 2 x 16 for other heads) that read shared memory 16 bytes at a time: 8 such reads for 64 multiply-adds.
// Rows in shared memory are padded by four floats, so that the 16 bytes of eight neighbouring rows lie in different
// banks. At D = 64: 128 registers, two blocks on a multiprocessor; shared memory 53 KB forward, 88 and 105 KB backward
// (of the latter an A100 has room for one block).
//
// Work of a head with L tokens: 4 L² D FLOP forward, 14 L² D backward; memory: 4 L D elements forward, 9 L D backward
// and L/64 times 2 L D from the second-level cache. At L = 128 that is 16 and 25 FLOP a byte in f32: the f32 units
// (60 TFLOP/s) and memory are about even.
//
// Dropout: a call of Philox decides eight pairs that lie in a tile of 16 x 16, in the order of tensor-core fragments,
// while a thread's scores lie in 16 such tiles. So the block makes the bits of its whole tile together, two calls for
// a thread, and passes them through shared memory.

#include "attention_plain.h"

namespace electra::cuda {
namespace {

using namespace plain;

/// The running maximum and sum of a row's exponentials.
template <int kRows>
struct Softmax {
  float top[kRows];
  float total[kRows];  // of this thread's columns

  __device__ __forceinline__ Softmax() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      top[i] = -INFINITY;
      total[i] = 0.0f;
    }
  }
  /// Scores become exponentials; returns in `shrink` what earlier sums are to be multiplied with.
  __device__ __forceinline__ void absorb(float (&scores)[kRows][kRows], float (&shrink)[kRows]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float largest = scores[i][0];
#pragma unroll
      for (int j = 1; j < kRows; ++j) largest = fmaxf(largest, scores[i][j]);
      largest = fmaxf(top[i], row_max(largest));
      const float shift = largest == -INFINITY ? 0.0f : largest;  // a query beyond the row
      shrink[i] = expf(top[i] - shift);
      top[i] = largest;
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        scores[i][j] = expf(scores[i][j] - shift);
        sum += scores[i][j];
      }
      total[i] = total[i] * shrink[i] + sum;
    }
  }
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) total[i] = row_sum(total[i]);
  }
};

template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, Shape<kDim>::kBlocks)
    attention_plain_forward_kernel(AttentionProblem p, RowsOf<T> qkv, RowsOf<T> context, float* log_sum_exp,
                                   int tiles, bool vectors) {
  using S = Shape<kDim>;
  ELECTRA_DYNAMIC_SHARED(float, shared);
  float* const queries = shared;
  float* const other = queries + S::kHeadFloats;  // keys, then values
  float* const weights = other + S::kHeadFloats;
  uint8_t* const keep = reinterpret_cast<uint8_t*>(weights + S::kWeightFloats);

  const AttentionBlock block = attention_block(p, tiles);
  const int column = block.head * p.head_size;
  clear_beyond(p, context, column, block, tiles);
  if (log_sum_exp != nullptr && threadIdx.x == 0) {
    for (int64_t t = actual_of(p.tokens) + static_cast<int64_t>(block.row) * tiles + block.tile;
         t < p.tokens.capacity; t += static_cast<int64_t>(p.batch) * tiles)
      log_sum_exp[t * p.heads + block.head] = 0.0f;
  }
  const int first_query = block.tile * S::kTile;
  if (first_query >= block.length) return;

  const HeadRows<T> query_rows(qkv, block.first, column, p.head_size, vectors);
  const HeadRows<T> key_rows(qkv, block.first, column + p.width, p.head_size, vectors);
  const HeadRows<T> value_rows(qkv, block.first, column + 2 * p.width, p.head_size, vectors);
  const PairDropout<> dropout(p, block, static_cast<int>(threadIdx.x) % 32);
  const Scores score(p, block);
  load_tile<kDim>(queries, query_rows, first_query, block.length);

  const KeepBits bits(keep, thread_row(), thread_column());
  Softmax<S::kRows> softmax;
  float sums[S::kRows][S::kColumns] = {};
  const KeyRange range = score.keys(first_query, S::kTile);
  for (int first_key = range.first; first_key < range.last; first_key += S::kTile) {
    __syncthreads();
    load_tile<kDim>(other, key_rows, first_key, block.length);
    if (p.threshold != 0) make_keep_bits<kDim>(dropout, first_query, first_key, keep);
    __syncthreads();
    float scores[S::kRows][S::kRows], shrink[S::kRows];
    dot_rows<kDim>(queries, other, scores);
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
      for (int j = 0; j < S::kRows; ++j)
        scores[i][j] = score.score(scores[i][j], first_query + thread_row() + kSide * i,
                                   first_key + thread_column() + kSide * j);
    }
    softmax.absorb(scores, shrink);
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) {
      const int query = thread_row() + kSide * i;
#pragma unroll
      for (int c = 0; c < S::kColumns; ++c) sums[i][c] *= shrink[i];
#pragma unroll
      for (int j = 0; j < S::kRows; ++j) {
        const int key = thread_column() + kSide * j;
        const bool kept = p.threshold == 0 || bits.template kept<kDim>(i, j);
        weights[query * S::kWeights + key] = kept ? scores[i][j] : 0.0f;
      }
    }
    __syncthreads();
    load_tile<kDim>(other, value_rows, first_key, block.length);
    __syncthreads();
    add_weighted_rows<kDim>(weights, other, sums);
  }
  softmax.finish();
  float factor[S::kRows];
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
    factor[i] = p.kept_scale / softmax.total[i];
    const int query = first_query + thread_row() + kSide * i;
    if (log_sum_exp != nullptr && thread_column() == 0 && query < block.length)
      log_sum_exp[(block.first + query) * p.heads + block.head] = softmax.top[i] + logf(softmax.total[i]);
  }
  store_sums<kDim>(sums, factor, HeadRows<T>(context, block.first, column, p.head_size, false), first_query,
                   block.length);
}

/// The probabilities of a tile of queries. The keys are visited twice: for the sums, then for the results.
template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, Shape<kDim>::kBlocks)
    attention_plain_probabilities_kernel(AttentionProblem p, RowsOf<T> qkv, float* probabilities, int tiles,
                                         bool vectors) {
  using S = Shape<kDim>;
  ELECTRA_DYNAMIC_SHARED(float, shared);
  float* const queries = shared;
  float* const keys = queries + S::kHeadFloats;

  const AttentionBlock block = attention_block(p, tiles);
  const int column = block.head * p.head_size;
  const int first_query = block.tile * S::kTile;
  const HeadRows<T> key_rows(qkv, block.first, column + p.width, p.head_size, vectors);
  const Scores score(p, block);
  load_tile<kDim>(queries, HeadRows<T>(qkv, block.first, column, p.head_size, vectors), first_query, block.length);

  float* const out = probabilities + (static_cast<int64_t>(block.row) * p.heads + block.head) * p.pitch * p.pitch;
  Softmax<S::kRows> softmax;
  for (int pass = 0; pass < 2; ++pass) {
    // Where there is no token the second pass has zeros to write.
    const int last_key = pass == 0 ? block.length : p.pitch;
    for (int first_key = 0; first_key < last_key; first_key += S::kTile) {
      __syncthreads();
      load_tile<kDim>(keys, key_rows, first_key, block.length);
      __syncthreads();
      float scores[S::kRows][S::kRows];
      dot_rows<kDim>(queries, keys, scores);
#pragma unroll
      for (int i = 0; i < S::kRows; ++i) {
        const int query = first_query + thread_row() + kSide * i;
#pragma unroll
        for (int j = 0; j < S::kRows; ++j) {
          const int key = first_key + thread_column() + kSide * j;
          scores[i][j] = score.score(scores[i][j], query, key);
          if (pass == 0 || query >= p.pitch || key >= p.pitch) continue;
          const bool inside = query < block.length && key < block.length;
          out[static_cast<int64_t>(query) * p.pitch + key] =
              inside ? expf(scores[i][j] - softmax.top[i]) / softmax.total[i] : 0.0f;
        }
      }
      if (pass == 0) {
        float shrink[S::kRows];
        softmax.absorb(scores, shrink);
      }
    }
    if (pass == 0) softmax.finish();
  }
}

}  // namespace

void attention_plain_forward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                             float* log_sum_exp, cudaStream_t stream) {
  with_shape(qkv.dtype, p.head_size, [&](auto type, auto dim) {
    using T = decltype(type);
    constexpr int kDim = decltype(dim)::value;
    const int tiles = static_cast<int>(ceil_div(p.pitch, Shape<kDim>::kTile));
    launch("attention_plain_forward", attention_plain_forward_kernel<T, kDim>, dim3(attention_blocks(p, tiles)),
           dim3(kThreads), shared_bytes<kDim>(2, 1), stream, p, RowsOf<T>(qkv), RowsOf<T>(context), log_sum_exp,
           tiles, four_at_a_time(p, {qkv}));
  });
}

void attention_plain_probabilities(const AttentionProblem& p, const Tensor& qkv, float* probabilities,
                                   cudaStream_t stream) {
  with_shape(qkv.dtype, p.head_size, [&](auto type, auto dim) {
    using T = decltype(type);
    constexpr int kDim = decltype(dim)::value;
    const int tiles = static_cast<int>(ceil_div(p.pitch, Shape<kDim>::kTile));
    launch("attention_plain_probabilities", attention_plain_probabilities_kernel<T, kDim>,
           dim3(attention_blocks(p, tiles)), dim3(kThreads), shared_bytes<kDim>(2, 0), stream, p, RowsOf<T>(qkv),
           probabilities, tiles, four_at_a_time(p, {qkv}));
  });
}

}  // namespace electra::cuda
