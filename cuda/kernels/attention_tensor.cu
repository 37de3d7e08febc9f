// Attention forward on tensor cores: bf16, head size 64.
//
// A warp owns 16 queries (longer rows: 2 x 16): their sums and running maxima stay in registers, so no two warps ever
// exchange a thing. It takes 32 (64) keys at a time: scores = q kᵀ (m16n8k16, f32), exponentials, dropout, rounding to
// bf16, and the result of the first product is, as it lies in the lanes, the left operand of the second. One call of
// Philox makes the eight decisions of a lane in a tile of 16 x 16.
//
// - pitch up to 128: a block of four warps has a whole head of a row, keys and values in shared memory at once. 48 KB
//   and 120 registers: four blocks on a multiprocessor of an H100, three on an A100, which copy and compute in turns;
//   the first scores are made while the values are on their way. A head of 128 tokens reads 48 KB, writes 16.5 KB and
//   computes 4.2 MFLOP (4 L² 64): 64 FLOP a byte, so memory is the limit, 192 TFLOP/s at 3 TB/s. By count of
//   instructions (an estimate) arithmetic takes 60 % of that time, a third of it for dropout. 512 heads (ELECTRA-Small, 128 rows)
//   are fewer than the 528 places of an H100: one wave.
// - longer rows: a block has 128 queries and visits the keys in two alternating stages. Here arithmetic is the limit;
//   a warp has 32 queries, so that each fragment of keys and values serves two products (with 16, shared memory would
//   be the limit: 8 reads of 512 bytes for 16 products). 48 KB and 222 to 254 registers: two blocks, A100 and H100.
//   A head reads 8 KB for each 64 keys and 128 queries besides: at L = 512, 256 FLOP a byte.

#include "attention_tiles.h"

namespace electra::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kKeys = 64;           // of a stage
constexpr int kShortSeen = 32;      // keys that a warp takes at a time, short rows
constexpr int kBlockQueries = 128;  // of a block

/// Sums are rescaled when a score exceeds what its row's exponentials refer to by this much (to base 2): rarely after
/// a row's first keys. Until then exponentials may be as large as 2^8, at no loss: bf16 and f32 have the exponents.
constexpr float kHeadroom = 8.0f;
constexpr float kNothingSeen = -1e30f;

/// 16 kTiles queries of a warp, which takes kSeen keys at a time.
template <int kTiles, int kSeen>
struct Queries {
  static constexpr int kColumns = kSeen / 8;  // tiles of 8 keys
  using Scores = float[kTiles][kColumns][4];

  float sum[kTiles][8][4];
  float top[kTiles][2];    // what the exponentials of rows g and g + 8 refer to, to base 2
  float total[kTiles][2];  // of the exponentials, of this lane's columns

  __device__ __forceinline__ void start() {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < 8; ++n) sum[m][n][0] = sum[m][n][1] = sum[m][n][2] = sum[m][n][3] = 0.0f;
      top[m][0] = top[m][1] = kNothingSeen;
      total[m][0] = total[m][1] = 0.0f;
    }
  }

  /// scores = q kᵀ. The queries are read from shared memory each time, a fifth of all reads: their registers are
  /// wanted for the exponentials.
  __device__ __forceinline__ static void score(Scores& scores, const Bf16* shared, int queries, int keys) {
    queries += lane_along();
    keys += lane_across();
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kColumns; ++n) scores[m][n][0] = scores[m][n][1] = scores[m][n][2] = scores[m][n][3] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) ldmatrix_x4(a[m], shared + (queries ^ (k << 4)) + m * 16 * kHeadSize);
#pragma unroll
      for (int n = 0; n < kColumns; n += 2) {
        uint32_t b[4];
        ldmatrix_x4(b, shared + (keys ^ (k << 4)) + n * 8 * kHeadSize);
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(scores[m][n], scores[m][n + 1], a[m], b);
      }
    }
  }

  /// Adds the values, weighted with the exponentials of the scores.
  template <bool kDropout>
  __device__ __forceinline__ void absorb(Scores& scores, const Bf16* shared, int values,
                                         int first_query, int first_key, int length, AttentionMask mask, float scale2,
                                         const PairDropout<>& dropout) {
    const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
    const bool edge =
        first_key + kSeen > length ||
        (mask == AttentionMask::kLeftToRight && first_key + kSeen > first_query + 1) ||
        (mask == AttentionMask::kRightToLeft && first_key < first_query + 16 * kTiles - 1);
    if (edge) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int query = first_query + 16 * m + g + e / 2 * 8, key = first_key + 8 * n + 2 * t + e % 2;
            if (key >= length || !mask_allows(mask, query, key)) scores[m][n][e] = -INFINITY;
          }
        }
      }
    }
    float largest[kTiles][2];
    bool grown = false;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float x = fmaxf(scores[m][0][2 * r], scores[m][0][2 * r + 1]);
#pragma unroll
        for (int n = 1; n < kColumns; ++n) x = fmaxf(x, fmaxf(scores[m][n][2 * r], scores[m][n][2 * r + 1]));
        x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, 1));
        x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, 2)) * scale2;
        grown = grown || x > top[m][r] + kHeadroom;
        largest[m][r] = x;
      }
    }
    if (__any_sync(kFullWarp, grown)) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float shift = fmaxf(top[m][r], largest[m][r]);
          const float shrink = exp2_fast(top[m][r] - shift);
          top[m][r] = shift;
          total[m][r] *= shrink;
#pragma unroll
          for (int n = 0; n < 8; ++n) {
            sum[m][n][2 * r] *= shrink;
            sum[m][n][2 * r + 1] *= shrink;
          }
        }
      }
    }
    values += lane_along();
#pragma unroll
    for (int pair = 0; pair < kSeen / 16; ++pair) {
      uint32_t weight[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        float (&left)[4] = scores[m][2 * pair], (&right)[4] = scores[m][2 * pair + 1];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          left[e] = exp2_fast(fmaf(left[e], scale2, -top[m][e / 2]));
          right[e] = exp2_fast(fmaf(right[e], scale2, -top[m][e / 2]));
          total[m][e / 2] += left[e] + right[e];
        }
        if (kDropout) {
          const PhiloxWords words = dropout.words(first_query / 16 + m, first_key / 16 + pair);
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
        ldmatrix_x4_transposed(b, shared + (values ^ (k << 4)) + pair * 16 * kHeadSize);
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
          log_sum_exp[(block.first + query) * p.heads + block.head] = fmaf(top[m][r], kLn2, logf(all));
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
  constexpr int queries = 0, keys = kBlockQueries * kHeadSize, values = 2 * keys;

  const AttentionBlock block = attention_block(p, 1);
  if (block.length > 0) {
    const Bf16* const from = qkv.row(block.first) + block.head * kHeadSize;
    copy_rows<kKeys, kThreads>(shared + queries, from, qkv.stride, block.length);
    copy_rows<kKeys, kThreads>(shared + keys, from + p.width, qkv.stride, block.length);
    const bool second = block.length > kKeys;
    constexpr int kHalf = kKeys * kHeadSize;
    const Bf16* const half = from + kKeys * qkv.stride;
    if (second) {
      copy_rows<kKeys, kThreads>(shared + queries + kHalf, half, qkv.stride, block.length - kKeys);
      copy_rows<kKeys, kThreads>(shared + keys + kHalf, half + p.width, qkv.stride, block.length - kKeys);
    }
    cp_async_commit();
    copy_rows<kKeys, kThreads>(shared + values, from + 2 * p.width, qkv.stride, block.length);
    if (second)
      copy_rows<kKeys, kThreads>(shared + values + kHalf, half + 2 * p.width, qkv.stride, block.length - kKeys);
    cp_async_commit();
  }
  clear_forward_beyond(p, context, log_sum_exp, block, 1);
  if (block.length <= 0) return;

  const PairDropout<> dropout(p, block, lane_of_thread());
  const float scale2 = p.scale * kLog2E;
  cp_async_wait<1>();
  __syncthreads();
  // Two rounds of 64 queries. Under a one-sided mask a warp with few keys in one has many in the other.
  bool have_values = false;
  const auto wait_for_values = [&] {
    if (!have_values) {
      cp_async_wait<0>();
      __syncthreads();
    }
    have_values = true;
  };
#pragma unroll 1
  for (int round = 0; round < (block.length > kKeys ? 2 : 1); ++round) {
    const int first_query = 16 * (round == 0 ? warp_of_thread() : 2 * kWarps - 1 - warp_of_thread());
    if (first_query >= block.length) continue;
    const int my_rows = queries + first_query * kHeadSize;
    const KeyRange range = keys_of_queries(p.mask, first_query, 16, block.length);
    Queries<1, kShortSeen> x;
    x.start();
#pragma unroll 1
    for (int first_key = range.first / kShortSeen * kShortSeen; first_key < range.last; first_key += kShortSeen) {
      Queries<1, kShortSeen>::Scores scores;
      x.score(scores, shared, my_rows, keys + first_key * kHeadSize);
      wait_for_values();  // they come while the first scores are made
      x.absorb<kDropout>(scores, shared, values + first_key * kHeadSize, first_query, first_key, block.length,
                         p.mask, scale2, dropout);
    }
    x.finish(p, block, first_query, shared + my_rows, context, log_sum_exp);
  }
  wait_for_values();
}

/// Longer rows: a block for each 128 queries.
template <bool kDropout>
__global__ void __launch_bounds__(kThreads, 2)
    attention_long_forward_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> context, float* log_sum_exp,
                                  int tiles) {
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  constexpr int kStage = kKeys * kHeadSize;
  constexpr int queries = 0, keys = kBlockQueries * kHeadSize, values = keys + 2 * kStage;  // two stages each

  AttentionBlock block = attention_block(p, tiles);
  // The queries with the most keys first.
  if (p.mask == AttentionMask::kLeftToRight) block.tile = tiles - 1 - block.tile;
  const int block_query = block.tile * kBlockQueries;
  const Bf16* const from = qkv.row(block.first) + block.head * kHeadSize;
  const auto copy_stage = [&](int first_key) {
    const int stage = first_key / kKeys % 2 * kStage;
    const Bf16* const rows = from + p.width + first_key * qkv.stride;
    copy_rows<kKeys, kThreads>(shared + keys + stage, rows, qkv.stride, block.length - first_key);
    copy_rows<kKeys, kThreads>(shared + values + stage, rows + p.width, qkv.stride, block.length - first_key);
    cp_async_commit();
  };
  const KeyRange range = keys_of_queries(p.mask, block_query, kBlockQueries, block.length);
  int first_key = range.first / kKeys * kKeys;
  const bool idle = block_query >= block.length;
  if (!idle) {
    copy_rows<kBlockQueries, kThreads>(shared + queries, from + block_query * qkv.stride, qkv.stride,
                                       block.length - block_query);
    copy_stage(first_key);
  }
  clear_forward_beyond(p, context, log_sum_exp, block, tiles);
  if (idle) return;

  const PairDropout<> dropout(p, block, lane_of_thread());
  const float scale2 = p.scale * kLog2E;
  const int first_query = block_query + 32 * warp_of_thread();
  const KeyRange mine = keys_of_queries(p.mask, first_query, 32, block.length);
  const int my_rows = queries + 32 * warp_of_thread() * kHeadSize;
  Queries<2, kKeys> x;
  x.start();
  for (; first_key < range.last; first_key += kKeys) {
    // This stage has come, and everyone has left the other.
    cp_async_wait<0>();
    __syncthreads();
    if (first_key + kKeys < range.last) copy_stage(first_key + kKeys);
    if (first_query >= block.length || first_key >= mine.last || first_key + kKeys <= mine.first) continue;
    const int stage = first_key / kKeys % 2 * kStage;
    Queries<2, kKeys>::Scores scores;
    x.score(scores, shared, my_rows, keys + stage);
    x.absorb<kDropout>(scores, shared, values + stage, first_query, first_key, block.length, p.mask, scale2,
                       dropout);
  }
  if (first_query < block.length) x.finish(p, block, first_query, shared + my_rows, context, log_sum_exp);
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
