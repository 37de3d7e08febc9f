// Attention forward on tensor cores: bf16, head size 64.
//
// A warp owns 16 queries (or 2 x 16): their fragments, their sums and their running maxima stay in registers, so no
// two warps ever exchange a thing. It takes 64 keys at a time: scores = q kᵀ (m16n8k16, f32), exponentials, dropout,
// rounding to bf16, and the result of the first product is, as it lies in the lanes, the left operand of the second.
// One call of Philox makes the eight decisions of a lane in a tile of 16 x 16.
//
// Two forms of one kernel:
// - pitch up to 128: a block of four warps has a whole head of a row, keys and values in shared memory at once. 48 KB
//   and up to 128 registers: four blocks on a multiprocessor of an H100 (three on an A100), which copy and compute in
//   turns. A head of 128 tokens reads 48 KB, writes 16.5 KB and computes 4.2 MFLOP (4 L² 64): 64 FLOP a byte, so
//   memory is the limit, 192 TFLOP/s at 3 TB/s. 512 heads (ELECTRA-Small) are 528 places on 132 multiprocessors:
//   one wave.
// - longer rows: a block has 128 queries and visits the keys in two alternating stages. Here arithmetic is the limit;
//   a warp has 32 queries, so that each fragment of keys and values is used twice (with 16, shared memory would be the
//   limit: 8 reads of 512 bytes for 16 products). 48 KB and up to 255 registers: two blocks.

#include "attention_tiles.h"

namespace electra::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kKeys = 64;          // visited at a time
constexpr int kBlockQueries = 128;  // of a block

/// 16 kTiles queries of a warp.
template <int kTiles>
struct Queries {
  float sum[kTiles][8][4];
  float top[kTiles][2];    // of the scores, unscaled, of rows g and g + 8
  float total[kTiles][2];  // of the exponentials, of this lane's columns

  __device__ __forceinline__ void start() {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < 8; ++n) sum[m][n][0] = sum[m][n][1] = sum[m][n][2] = sum[m][n][3] = 0.0f;
      top[m][0] = top[m][1] = -INFINITY;
      total[m][0] = total[m][1] = 0.0f;
    }
  }

  /// scores = q kᵀ. The queries are read from shared memory each time, an eighth of all reads: their registers are
  /// wanted for the exponentials.
  __device__ __forceinline__ static void score(float (&scores)[kTiles][8][4], const Bf16* queries,
                                               const Bf16* keys) {
    const int across = lane_across(), along = lane_along();
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < 8; ++n) scores[m][n][0] = scores[m][n][1] = scores[m][n][2] = scores[m][n][3] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) ldmatrix_x4(a[m], queries + m * 16 * kHeadSize + (along ^ (k << 4)));
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        uint32_t b[4];
        ldmatrix_x4(b, keys + n * 8 * kHeadSize + (across ^ (k << 4)));
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(scores[m][n], scores[m][n + 1], a[m], b);
      }
    }
  }

  /// Adds the values, weighted with the exponentials of the scores.
  template <bool kDropout>
  __device__ __forceinline__ void absorb(float (&scores)[kTiles][8][4], const Bf16* values, int first_query,
                                         int first_key, int length, AttentionMask mask, float scale2,
                                         const PairDropout& dropout) {
    const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
    const bool edge =
        first_key + kKeys > length ||
        (mask == AttentionMask::kLeftToRight && first_key + kKeys > first_query + 1) ||
        (mask == AttentionMask::kRightToLeft && first_key < first_query + 16 * kTiles - 1);
    if (edge) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int query = first_query + 16 * m + g + e / 2 * 8, key = first_key + 8 * n + 2 * t + e % 2;
            if (key >= length || !mask_allows(mask, query, key)) scores[m][n][e] = -INFINITY;
          }
        }
      }
    }
    float shift[kTiles][2];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float largest = top[m][r];
#pragma unroll
        for (int n = 0; n < 8; ++n) largest = fmaxf(largest, fmaxf(scores[m][n][2 * r], scores[m][n][2 * r + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
        shift[m][r] = largest == -INFINITY ? 0.0f : largest * scale2;  // a query beyond the row
        const float shrink = exp2_fast(fmaf(top[m][r], scale2, -shift[m][r]));
        top[m][r] = largest;
        total[m][r] *= shrink;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          sum[m][n][2 * r] *= shrink;
          sum[m][n][2 * r + 1] *= shrink;
        }
      }
    }
    const int place = lane_along();
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      uint32_t weight[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        float (&left)[4] = scores[m][2 * pair], (&right)[4] = scores[m][2 * pair + 1];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          left[e] = exp2_fast(fmaf(left[e], scale2, -shift[m][e / 2]));
          right[e] = exp2_fast(fmaf(right[e], scale2, -shift[m][e / 2]));
          total[m][e / 2] += left[e] + right[e];
        }
        if (kDropout) {
          const PhiloxWords words = dropout.words(first_query / 16 + m, first_key / 16 + pair, lane);
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            if (!dropout.keeps_low(words.word[2 * r])) left[2 * r] = 0.0f;
            if (!dropout.keeps_high(words.word[2 * r])) left[2 * r + 1] = 0.0f;
            if (!dropout.keeps_low(words.word[2 * r + 1])) right[2 * r] = 0.0f;
            if (!dropout.keeps_high(words.word[2 * r + 1])) right[2 * r + 1] = 0.0f;
          }
        }
        weight[m][0] = pack_bf16(left[0], left[1]);
        weight[m][1] = pack_bf16(left[2], left[3]);
        weight[m][2] = pack_bf16(right[0], right[1]);
        weight[m][3] = pack_bf16(right[2], right[3]);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, values + pair * 16 * kHeadSize + (place ^ (k << 4)));
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(sum[m][2 * k], sum[m][2 * k + 1], weight[m], b);
      }
    }
  }

  /// Writes context and log Σ exp; `staging` are the warp's rows of queries, no longer needed.
  __device__ __forceinline__ void finish(const AttentionProblem& p, const AttentionBlock& block, int first_query,
                                         Bf16* staging, const RowsOf<Bf16>& context, float* log_sum_exp) {
    const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      const int first = first_query + 16 * m;
      float factor[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float all = total[m][r];
        all += __shfl_xor_sync(kFullWarp, all, 1);
        all += __shfl_xor_sync(kFullWarp, all, 2);
        factor[r] = __fdividef(p.kept_scale, all);
        const int query = first + g + 8 * r;
        if (log_sum_exp != nullptr && t == 0 && query < block.length)
          log_sum_exp[(block.first + query) * p.heads + block.head] = fmaf(top[m][r], p.scale, logf(all));
      }
      store_rows(sum[m], factor[0], factor[1], staging + m * 16 * kHeadSize,
                 context.row(block.first + first) + block.head * kHeadSize, context.stride, block.length - first);
    }
  }
};

__device__ __forceinline__ void clear_forward_beyond(const AttentionProblem& p, const RowsOf<Bf16>& context,
                                                     float* log_sum_exp, const AttentionBlock& block, int tiles) {
  const int64_t actual = actual_of(p.tokens);
  const int share = block.row * tiles + block.tile, shares = p.batch * tiles;
  clear_head_beyond<kThreads>(p, context.data, context.stride, block.head * kHeadSize, actual, share, shares);
  if (log_sum_exp == nullptr) return;
  for (int64_t t = actual + static_cast<int64_t>(share) * kThreads + threadIdx.x; t < p.tokens.capacity;
       t += static_cast<int64_t>(shares) * kThreads)
    log_sum_exp[t * p.heads + block.head] = 0.0f;
}

/// Rows of up to 128 tokens: a block for each head of each row.
template <bool kDropout>
__global__ void __launch_bounds__(kThreads, 4)
    attention_short_forward_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> context,
                                   float* log_sum_exp) {
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  Bf16* const queries = shared;
  Bf16* const keys = queries + kBlockQueries * kHeadSize;
  Bf16* const values = keys + kBlockQueries * kHeadSize;

  const AttentionBlock block = attention_block(p, 1);
  if (block.length > 0) {
    const int64_t width = static_cast<int64_t>(p.heads) * kHeadSize;
    const Bf16* const from = qkv.row(block.first) + block.head * kHeadSize;
    copy_rows<kKeys, kThreads>(queries, from, qkv.stride, block.length);
    copy_rows<kKeys, kThreads>(keys, from + width, qkv.stride, block.length);
    const bool second = block.length > kKeys;
    constexpr int kHalf = kKeys * kHeadSize;
    const Bf16* const half = from + kKeys * qkv.stride;
    if (second) {
      copy_rows<kKeys, kThreads>(queries + kHalf, half, qkv.stride, block.length - kKeys);
      copy_rows<kKeys, kThreads>(keys + kHalf, half + width, qkv.stride, block.length - kKeys);
    }
    cp_async_commit();
    copy_rows<kKeys, kThreads>(values, from + 2 * width, qkv.stride, block.length);
    if (second) copy_rows<kKeys, kThreads>(values + kHalf, half + 2 * width, qkv.stride, block.length - kKeys);
    cp_async_commit();

    ELECTRA_SHARED(RoundKeys, round_keys, 1);
    const PairDropout dropout(p, block, round_keys);
    const float scale2 = p.scale * kLog2E;
    cp_async_wait<1>();
    __syncthreads();
    // Two rounds of 64 queries. Under a one-sided mask a warp with few keys in one has many in the other.
#pragma unroll 1
    for (int round = 0; round < (second ? 2 : 1); ++round) {
      const int first_query = 16 * (round == 0 ? warp_of_thread() : 2 * kWarps - 1 - warp_of_thread());
      const bool active = first_query < block.length;
      Bf16* const my_rows = queries + first_query * kHeadSize;
      Queries<1> x;
      float scores[1][8][4];
      const KeyRange range = keys_of_queries(p.mask, first_query, 16, block.length);
      int first_key = range.first / kKeys * kKeys;
      if (active) {
        x.start();
        x.score(scores, my_rows, keys + first_key * kHeadSize);
      }
      if (round == 0) {  // the values may come while the first scores are made
        cp_async_wait<0>();
        __syncthreads();
      }
      if (!active) continue;
      while (true) {
        x.absorb<kDropout>(scores, values + first_key * kHeadSize, first_query, first_key, block.length, p.mask,
                           scale2, dropout);
        first_key += kKeys;
        if (first_key >= range.last) break;
        x.score(scores, my_rows, keys + first_key * kHeadSize);
      }
      x.finish(p, block, first_query, my_rows, context, log_sum_exp);
    }
  }
  clear_forward_beyond(p, context, log_sum_exp, block, 1);
}

/// Longer rows: a block for each 128 queries.
template <bool kDropout>
__global__ void __launch_bounds__(kThreads, 2)
    attention_long_forward_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> context, float* log_sum_exp,
                                  int tiles) {
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  constexpr int kStage = kKeys * kHeadSize;
  Bf16* const queries = shared;
  Bf16* const keys = queries + kBlockQueries * kHeadSize;  // two stages
  Bf16* const values = keys + 2 * kStage;

  AttentionBlock block = attention_block(p, tiles);
  // The queries with the most keys first.
  if (p.mask == AttentionMask::kLeftToRight) block.tile = tiles - 1 - block.tile;
  const int block_query = block.tile * kBlockQueries;
  if (block_query < block.length) {
    const int64_t width = static_cast<int64_t>(p.heads) * kHeadSize;
    const Bf16* const from = qkv.row(block.first) + block.head * kHeadSize;
    const auto copy_stage = [&](int first_key) {
      const int stage = first_key / kKeys % 2 * kStage;
      const Bf16* const rows = from + width + first_key * qkv.stride;
      copy_rows<kKeys, kThreads>(keys + stage, rows, qkv.stride, block.length - first_key);
      copy_rows<kKeys, kThreads>(values + stage, rows + width, qkv.stride, block.length - first_key);
      cp_async_commit();
    };
    const KeyRange range = keys_of_queries(p.mask, block_query, kBlockQueries, block.length);
    int first_key = range.first / kKeys * kKeys;
    copy_rows<kBlockQueries, kThreads>(queries, from + block_query * qkv.stride, qkv.stride,
                                       block.length - block_query);
    copy_stage(first_key);

    ELECTRA_SHARED(RoundKeys, round_keys, 1);
    const PairDropout dropout(p, block, round_keys);
    const float scale2 = p.scale * kLog2E;
    const int first_query = block_query + 32 * warp_of_thread();
    const KeyRange mine = keys_of_queries(p.mask, first_query, 32, block.length);
    Bf16* const my_rows = queries + 32 * warp_of_thread() * kHeadSize;
    Queries<2> x;
    x.start();
    for (; first_key < range.last; first_key += kKeys) {
      // This stage has come, and everyone has left the other.
      cp_async_wait<0>();
      __syncthreads();
      if (first_key + kKeys < range.last) copy_stage(first_key + kKeys);
      if (first_query >= block.length || first_key >= mine.last || first_key + kKeys <= mine.first) continue;
      const int stage = first_key / kKeys % 2 * kStage;
      float scores[2][8][4];
      x.score(scores, my_rows, keys + stage);
      x.absorb<kDropout>(scores, values + stage, first_query, first_key, block.length, p.mask, scale2, dropout);
    }
    if (first_query < block.length) x.finish(p, block, first_query, my_rows, context, log_sum_exp);
  }
  clear_forward_beyond(p, context, log_sum_exp, block, tiles);
}

}  // namespace

void attention_tensor_forward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                              float* log_sum_exp, cudaStream_t stream) {
  const RowsOf<Bf16> from(qkv), to(context);
  const size_t shared = static_cast<size_t>(3 * kBlockQueries * kHeadSize) * sizeof(Bf16);
  if (p.pitch <= kBlockQueries) {
    launch("attention_short_forward",
           p.threshold != 0 ? attention_short_forward_kernel<true> : attention_short_forward_kernel<false>,
           dim3(attention_blocks(p, 1)), dim3(kThreads), shared, stream, p, from, to, log_sum_exp);
    return;
  }
  const int tiles = static_cast<int>(ceil_div(p.pitch, kBlockQueries));
  launch("attention_long_forward",
         p.threshold != 0 ? attention_long_forward_kernel<true> : attention_long_forward_kernel<false>,
         dim3(attention_blocks(p, tiles)), dim3(kThreads), shared, stream, p, from, to, log_sum_exp, tiles);
}

}  // namespace electra::cuda
