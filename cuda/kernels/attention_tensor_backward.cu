// Attention backward on tensor cores: bf16, head size 64. With P = softmax, M the dropout's 0 or scale and dO the
// gradient of the context:
//
//   dV = (P ⊙ M)ᵀ dO      dP = (dO Vᵀ) ⊙ M      dS = P ⊙ (dP − rowsum(dO ⊙ O))      dQ = dS K / 8      dK = dSᵀ Q / 8
//
// P is made anew from the scores and log Σ exp; P and dS are rounded to bf16 for the second products. No sum is ever
// added in global memory, so results do not depend on timing.
//
// - pitch up to 128: one block of eight warps has a whole head of a row and makes all five products. A warp owns 16
//   keys: it computes the transposed tiles Sᵀ = K Qᵀ and dPᵀ = V dOᵀ, whose results are, as they lie in the lanes, the
//   left operands of dV and dK, and these stay in its registers over all queries. dS goes to shared memory (over the
//   values, which are in registers by then); after one barrier each warp owns 16 queries and makes their dQ. So a head
//   of 128 tokens reads 80 KB, writes 48 KB and computes 10.5 MFLOP (10 L² 64): 80 FLOP a byte, 240 TFLOP/s at
//   3 TB/s; by estimate, traffic with shared memory takes 70 % of that time, the tensor cores 40 %. 81 KB and 128
//   registers: two blocks, 16 warps, on a multiprocessor of an H100, and of an A100 to the last byte (so there is no
//   static shared memory).
//   Pitch up to 64: four warps, 33 KB, four blocks.
// - longer rows: one kernel owns 128 queries (dQ), then one owns 128 keys (dK, dV), each visiting the other side in
//   two alternating stages of 64: seven products instead of five, 14 L² 64 FLOP. The alternative, partial sums of dQ
//   in memory, costs about as much time at L = 512 and workspace besides. A warp has 32 rows, so that each fragment it
//   reads serves two products; 65 KB and 220 to 255 registers: two blocks, A100 and H100.
//
// In a transposed tile a lane has one of the two keys whose decisions come in one word of Philox, but for two queries.
// The lane whose key is the other one wants the same two calls: each makes one, and they exchange halves.

#include "attention_tiles.h"

namespace electra::cuda {
namespace {

constexpr int kVisited = 64;  // keys or queries of a stage, longer rows
constexpr int kOwned = 128;   // queries or keys of a block, longer rows
constexpr int kThreads = 128;

/// Keeps the probability and completes the gradient of the score, but for its scale.
template <bool kDropout>
__device__ __forceinline__ void differentiate(float& score, float& gradient, float scale2, float log_sum_exp,
                                              float delta, float kept_scale, bool kept) {
  // 0 for a query beyond the row: its log Σ exp is infinite.
  const float probability = exp2_fast(fmaf(score, scale2, -log_sum_exp));
  if (kDropout) {
    gradient = probability * fmaf(kept ? gradient : 0.0f, kept_scale, -delta);
    score = kept ? probability : 0.0f;
  } else {
    gradient = probability * (gradient - delta);
    score = probability;
  }
}

/// The left operand that a [16, 16] result is.
__device__ __forceinline__ void pack_tile(uint32_t (&a)[4], const float (&d)[2][4]) {
  a[0] = pack_bf16(d[0][0], d[0][1]);
  a[1] = pack_bf16(d[0][2], d[0][3]);
  a[2] = pack_bf16(d[1][0], d[1][1]);
  a[3] = pack_bf16(d[1][2], d[1][3]);
}

/// log Σ exp and rowsum(dO ⊙ O) of rows 0 … kRows − 1, by all threads. O is asked for at once, the sums are made when
/// dO is in shared memory.
template <int kRows, int kBlockThreads>
class StatisticsOfRows {
 public:
  __device__ __forceinline__ StatisticsOfRows(const Bf16* context, int64_t stride, const float* log_sum_exp,
                                              int heads, int count) {
    const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int r = row + i * kStep;
#pragma unroll
      for (int w = 0; w < 4; ++w) context_[i][w] = 0;
      log_sum_exp_[i] = INFINITY;
      if (r >= count) continue;
      context_[i] = load_bits(context + r * stride + piece * 8);
      if (piece == 0) log_sum_exp_[i] = log_sum_exp[static_cast<int64_t>(r) * heads] * kLog2E;
    }
  }
  __device__ __forceinline__ void finish(const Bf16* d_rows, QueryStatistics* to) const {
    const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int r = row + i * kStep;
      const RowBits gradient = load_bits(d_rows + piece_place(r, piece));
      float dot = 0.0f;
#pragma unroll
      for (int e = 0; e < 8; ++e)
        dot = fmaf(element_of<Bf16>(context_[i].value, e), element_of<Bf16>(gradient.value, e), dot);
#pragma unroll
      for (int offset = 1; offset < kPieces; offset *= 2) dot += __shfl_xor_sync(kFullWarp, dot, offset);
      if (piece == 0) to[r] = QueryStatistics{log_sum_exp_[i], dot};
    }
  }

 private:
  static constexpr int kStep = kBlockThreads / kPieces;
  static constexpr int kSteps = kRows / kStep;
  RowBits context_[kSteps];
  float log_sum_exp_[kSteps];
};

/// Decisions for a transposed tile: low halves of even[n] and odd[n] are key g's, high halves key g + 8's, with
/// queries 8 n + 2t and 8 n + 2t + 1.
struct TransposedDecisions {
  uint32_t even[2];
  uint32_t odd[2];

  /// Of the tile as it is not transposed, whose decisions this lane makes.
  __device__ __forceinline__ static int lane() {
    const int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    return (2 * t + g % 2) * 4 + g / 2;
  }
  template <typename Decide>
  __device__ __forceinline__ void make(const Decide& dropout, int query_tile, int key_tile) {
    const int parity = lane_of_thread() / 4 % 2;
    const PhiloxWords words = dropout.words(query_tile, key_tile);
    const unsigned low = 0x5410, high = 0x7632;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const uint32_t mine = __byte_perm(words.word[2 * n], words.word[2 * n + 1], parity == 0 ? low : high);
      const uint32_t sent = __byte_perm(words.word[2 * n], words.word[2 * n + 1], parity == 0 ? high : low);
      const uint32_t received = __shfl_xor_sync(kFullWarp, sent, 4);
      even[n] = parity == 0 ? mine : received;
      odd[n] = parity == 0 ? received : mine;
    }
  }
};

/// 16 kTiles keys of a warp.
template <int kTiles>
struct OwnedKeys {
  uint32_t value[kTiles][4][4];
  float d_key[kTiles][8][4];
  float d_value[kTiles][8][4];

  __device__ __forceinline__ void start(const Bf16* values) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      load_left(value[m], values + m * 16 * kHeadSize);
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        d_key[m][n][0] = d_key[m][n][1] = d_key[m][n][2] = d_key[m][n][3] = 0.0f;
        d_value[m][n][0] = d_value[m][n][1] = d_value[m][n][2] = d_value[m][n][3] = 0.0f;
      }
    }
  }

  /// 16 queries more. `use` gets the gradients of the scores of each 16 keys, as a left operand.
  template <bool kDropout, typename Decide, typename Use>
  __device__ __forceinline__ void absorb(const Bf16* shared, int keys, int queries, int d_rows,
                                         const QueryStatistics* statistics, int first_key, int first_query,
                                         int length, AttentionMask mask, float scale2, float kept_scale,
                                         const Decide& dropout, Use use) {
    const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
    const int along = lane_along(), across = lane_across();
    TransposedDecisions decisions[kTiles];
    if (kDropout) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) decisions[m].make(dropout, first_query / 16, first_key / 16 + m);
    }
    float scores[kTiles][2][4], gradients[kTiles][2][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        scores[m][n][0] = scores[m][n][1] = scores[m][n][2] = scores[m][n][3] = 0.0f;
        gradients[m][n][0] = gradients[m][n][1] = gradients[m][n][2] = gradients[m][n][3] = 0.0f;
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t b[4];
      ldmatrix_x4(b, shared + ((queries + across) ^ (k << 4)));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        uint32_t a[4];
        ldmatrix_x4(a, shared + ((keys + along) ^ (k << 4)) + m * 16 * kHeadSize);
        mma_pair(scores[m][0], scores[m][1], a, b);
      }
      ldmatrix_x4(b, shared + ((d_rows + across) ^ (k << 4)));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) mma_pair(gradients[m][0], gradients[m][1], value[m][k], b);
    }

    const bool edge =
        first_key + 16 * kTiles > length ||
        (mask == AttentionMask::kLeftToRight && first_key + 16 * kTiles > first_query + 1) ||
        (mask == AttentionMask::kRightToLeft && first_key < first_query + 15);
    if (edge) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int query = first_query + 8 * n + 2 * t + e % 2, key = first_key + 16 * m + g + e / 2 * 8;
            if (key >= length || !mask_allows(mask, query, key)) scores[m][n][e] = -INFINITY;
          }
        }
      }
    }
    uint32_t weight[kTiles][4], d_score[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        // {log Σ exp, delta} of two queries.
        const Packed<float, 4> two = load_packed<4>(reinterpret_cast<const float*>(statistics + 8 * n + 2 * t));
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          bool kept = true;
          if (kDropout) {
            const uint32_t word = e % 2 == 0 ? decisions[m].even[n] : decisions[m].odd[n];
            kept = e < 2 ? dropout.keeps_low(word) : dropout.keeps_high(word);
          }
          differentiate<kDropout>(scores[m][n][e], gradients[m][n][e], scale2, two[e % 2 * 2], two[e % 2 * 2 + 1],
                                  kept_scale, kept);
        }
      }
      pack_tile(weight[m], scores[m]);
      pack_tile(d_score[m], gradients[m]);
      use(m, d_score[m]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t b[4];
      ldmatrix_x4_transposed(b, shared + ((d_rows + along) ^ (k << 4)));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) mma_pair(d_value[m][2 * k], d_value[m][2 * k + 1], weight[m], b);
      ldmatrix_x4_transposed(b, shared + ((queries + along) ^ (k << 4)));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) mma_pair(d_key[m][2 * k], d_key[m][2 * k + 1], d_score[m], b);
    }
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// rows of up to 128 tokens

template <int kRows>
constexpr size_t short_backward_bytes() {
  return (3 * kRows * kHeadSize + kRows * kRows) * sizeof(Bf16) + kRows * sizeof(QueryStatistics);
}

template <int kRows, bool kDropout>
__global__ void __launch_bounds__(2 * kRows, kRows == 128 ? 2 : 4)
    attention_short_backward_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> context,
                                    const float* log_sum_exp, RowsOf<Bf16> d_context, RowsOf<Bf16> d_qkv) {
  constexpr int kBlockThreads = 2 * kRows;
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  constexpr int keys = 0, queries = kRows * kHeadSize, d_rows = 2 * queries;
  constexpr int d_scores = 3 * queries;  // [key, query]
  constexpr int values = d_scores;       // before
  QueryStatistics* const statistics = reinterpret_cast<QueryStatistics*>(shared + d_scores + kRows * kRows);


  const AttentionBlock block = attention_block(p, 1);
  const int column = block.head * kHeadSize;
  if (block.length > 0) {
    const Bf16* const from = qkv.row(block.first) + column;
    copy_rows<kRows, kBlockThreads>(shared + queries, from, qkv.stride, block.length);
    copy_rows<kRows, kBlockThreads>(shared + keys, from + p.width, qkv.stride, block.length);
    copy_rows<kRows, kBlockThreads>(shared + values, from + 2 * p.width, qkv.stride, block.length);
    copy_rows<kRows, kBlockThreads>(shared + d_rows, d_context.row(block.first) + column, d_context.stride,
                                    block.length);
    cp_async_commit();
  }
  const int64_t actual = actual_of(p.tokens);
#pragma unroll 1
  for (int third = 0; third < 3; ++third)
    clear_head_beyond<kBlockThreads>(p, d_qkv.data, d_qkv.stride, third * p.width + column, actual, block.row,
                                     p.batch);
  if (block.length <= 0) return;

  const StatisticsOfRows<kRows, kBlockThreads> rows(context.row(block.first) + column, context.stride,
                                                    log_sum_exp + block.first * p.heads + block.head, p.heads,
                                                    block.length);
  const PairDropout<true> dropout(p, block, TransposedDecisions::lane());
  cp_async_wait<0>();
  __syncthreads();
  rows.finish(shared + d_rows, statistics);

  const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
  const int mine = 16 * warp_of_thread();  // keys, then queries
  const bool active = mine < block.length;
  OwnedKeys<1> x;
  x.start(shared + values + mine * kHeadSize);
  __syncthreads();  // statistics are there, values may be overwritten
  if (active) {
    const KeyRange range = queries_of_keys(p.mask, mine, 16, block.length);
#pragma unroll 1
    for (int first_query = range.first; first_query < range.last; first_query += 16) {
      x.template absorb<kDropout>(
          shared, keys + mine * kHeadSize, queries + first_query * kHeadSize, d_rows + first_query * kHeadSize,
          statistics + first_query, mine, first_query, block.length, p.mask, p.scale * kLog2E, p.kept_scale,
          dropout, [&](int, const uint32_t (&d_score)[4]) {
#pragma unroll
            for (int n = 0; n < 2; ++n) {
              const int piece = (first_query / 8 + n) ^ g;
              uint32_t* const place =
                  reinterpret_cast<uint32_t*>(shared + d_scores + (mine + g) * kRows + piece * 8) + t;
              place[0] = d_score[2 * n];
              place[8 * kRows / 2] = d_score[2 * n + 1];
            }
          });
    }
  }
  __syncthreads();  // all of dS is there, queries and dO are no longer read
  if (!active) return;
  // Where the block works is found out again, so that it takes no registers in the loop.
  const AttentionBlock again = attention_block(p, 1);
  Bf16* const to = d_qkv.row(again.first + mine) + again.head * kHeadSize;
  const int count = again.length - mine;
  store_rows(x.d_value[0], p.kept_scale, p.kept_scale, shared + d_rows + mine * kHeadSize,
             to + 2 * p.width, d_qkv.stride, count);
  store_rows(x.d_key[0], p.scale, p.scale, shared + queries + mine * kHeadSize,
             to + p.width, d_qkv.stride, count);

  float d_query[8][4];
#pragma unroll
  for (int n = 0; n < 8; ++n) d_query[n][0] = d_query[n][1] = d_query[n][2] = d_query[n][3] = 0.0f;
  const KeyRange range = keys_of_queries(p.mask, mine, 16, again.length);
  const int along = lane_along();
  const int row = lane / 16 * 8 + lane % 8;
  const Bf16* const left = shared + d_scores + row * kRows + (((mine / 8 + lane / 8 % 2) ^ (lane % 8)) << 3);
#pragma unroll 1
  for (int first_key = range.first; first_key < range.last; first_key += 16) {
    uint32_t a[4];
    ldmatrix_x4_transposed(a, left + first_key * kRows);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t b[4];
      ldmatrix_x4_transposed(b, shared + ((keys + first_key * kHeadSize + along) ^ (k << 4)));
      mma_pair(d_query[2 * k], d_query[2 * k + 1], a, b);
    }
  }
  store_rows(d_query, p.scale, p.scale, shared + queries + mine * kHeadSize, to, d_qkv.stride, count);
}

// ---------------------------------------------------------------------------------------------------------------------
// longer rows

/// Owns queries: d_query, and the statistics for the kernel below.
template <bool kDropout>
__global__ void __launch_bounds__(kThreads, 2)
    attention_long_backward_queries_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> context,
                                           const float* log_sum_exp, RowsOf<Bf16> d_context, RowsOf<Bf16> d_qkv,
                                           QueryStatistics* all_statistics, int tiles) {
  constexpr int kTiles = 2;
  constexpr int kStage = kVisited * kHeadSize;
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  constexpr int queries = 0, d_rows = kOwned * kHeadSize;
  constexpr int keys = 2 * d_rows, values = keys + 2 * kStage;  // two stages each
  QueryStatistics* const statistics = reinterpret_cast<QueryStatistics*>(shared + values + 2 * kStage);

  AttentionBlock block = attention_block(p, tiles);
  if (p.mask == AttentionMask::kLeftToRight) block.tile = tiles - 1 - block.tile;  // those with the most keys first
  const int column = block.head * kHeadSize;
  const int block_query = block.tile * kOwned;
  const int64_t first_token = block.first + block_query;
  const int count = block.length - block_query;
  const Bf16* const from = qkv.row(block.first) + column;
  const auto copy_stage = [&](int first_key) {
    const int stage = first_key / kVisited % 2 * kStage;
    const Bf16* const rows = from + p.width + first_key * qkv.stride;
    copy_rows<kVisited, kThreads>(shared + keys + stage, rows, qkv.stride, block.length - first_key);
    copy_rows<kVisited, kThreads>(shared + values + stage, rows + p.width, qkv.stride, block.length - first_key);
    cp_async_commit();
  };
  const KeyRange range = keys_of_queries(p.mask, block_query, kOwned, block.length);
  int first_key = range.first / kVisited * kVisited;
  const bool idle = block_query >= block.length;
  if (!idle) {
    copy_rows<kOwned, kThreads>(shared + queries, qkv.row(first_token) + column, qkv.stride, count);
    copy_rows<kOwned, kThreads>(shared + d_rows, d_context.row(first_token) + column, d_context.stride, count);
    cp_async_commit();
    copy_stage(first_key);
  }
  clear_head_beyond<kThreads>(p, d_qkv.data, d_qkv.stride, column, actual_of(p.tokens),
                              block.row * tiles + block.tile, p.batch * tiles);
  if (idle) return;
  {
    const StatisticsOfRows<kOwned, kThreads> rows(context.row(first_token) + column, context.stride,
                                                  log_sum_exp + first_token * p.heads + block.head, p.heads,
                                                  count);
    cp_async_wait<1>();
    __syncthreads();
    rows.finish(shared + d_rows, statistics);
  }
  const PairDropout<> dropout(p, block, lane_of_thread());
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < count)
    all_statistics[block.head * p.tokens.capacity + first_token + threadIdx.x] = statistics[threadIdx.x];

  const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
  const int my_row = 16 * kTiles * warp_of_thread();
  const int first_query = block_query + my_row;
  const KeyRange mine = keys_of_queries(p.mask, first_query, 16 * kTiles, block.length);
  const int along = lane_along(), across = lane_across();
  const float scale2 = p.scale * kLog2E;
  uint32_t query[kTiles][4][4], d_row[kTiles][4][4];
  QueryStatistics of_row[kTiles][2];
  float d_query[kTiles][8][4];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    load_left(query[m], shared + queries + (my_row + 16 * m) * kHeadSize);
    load_left(d_row[m], shared + d_rows + (my_row + 16 * m) * kHeadSize);
    of_row[m][0] = statistics[my_row + 16 * m + g];
    of_row[m][1] = statistics[my_row + 16 * m + g + 8];
#pragma unroll
    for (int n = 0; n < 8; ++n) d_query[m][n][0] = d_query[m][n][1] = d_query[m][n][2] = d_query[m][n][3] = 0.0f;
  }
  for (; first_key < range.last; first_key += kVisited) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has come, and everyone has left the other
    if (first_key + kVisited < range.last) copy_stage(first_key + kVisited);
    if (first_query >= block.length) continue;
    const int stage = first_key / kVisited % 2 * kStage;
#pragma unroll 1
    for (int part = 0; part < kVisited; part += 16) {
      const int key_of_part = first_key + part;
      if (key_of_part >= mine.last || key_of_part + 16 <= mine.first) continue;
      const int key_rows = keys + stage + part * kHeadSize;
      const int value_rows = values + stage + part * kHeadSize;
      float scores[kTiles][2][4] = {}, gradients[kTiles][2][4] = {};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        uint32_t b[4];
        ldmatrix_x4(b, shared + ((key_rows + across) ^ (k << 4)));
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(scores[m][0], scores[m][1], query[m][k], b);
        ldmatrix_x4(b, shared + ((value_rows + across) ^ (k << 4)));
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(gradients[m][0], gradients[m][1], d_row[m][k], b);
      }
      const bool edge =
          key_of_part + 16 > block.length ||
          (p.mask == AttentionMask::kLeftToRight && key_of_part + 16 > first_query + 1) ||
          (p.mask == AttentionMask::kRightToLeft && key_of_part < first_query + 16 * kTiles - 1);
      if (edge) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const int q = first_query + 16 * m + g + e / 2 * 8, key = key_of_part + 8 * n + 2 * t + e % 2;
              if (key >= block.length || !mask_allows(p.mask, q, key)) scores[m][n][e] = -INFINITY;
            }
          }
        }
      }
      uint32_t d_score[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        PhiloxWords words;
        if (kDropout) words = dropout.words(first_query / 16 + m, key_of_part / 16);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            bool kept = true;
            if (kDropout) {
              const uint32_t word = words.word[e / 2 * 2 + n];
              kept = e % 2 == 0 ? dropout.keeps_low(word) : dropout.keeps_high(word);
            }
            differentiate<kDropout>(scores[m][n][e], gradients[m][n][e], scale2, of_row[m][e / 2].log_sum_exp,
                                    of_row[m][e / 2].delta, p.kept_scale, kept);
          }
        }
        pack_tile(d_score[m], gradients[m]);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, shared + ((key_rows + along) ^ (k << 4)));
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_pair(d_query[m][2 * k], d_query[m][2 * k + 1], d_score[m], b);
      }
    }
  }
  if (first_query < block.length) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
      store_rows(d_query[m], p.scale, p.scale, shared + queries + (my_row + 16 * m) * kHeadSize,
                 d_qkv.row(block.first + first_query + 16 * m) + column, d_qkv.stride,
                 block.length - first_query - 16 * m);
  }
}

/// Owns keys: d_key and d_value.
template <bool kDropout>
__global__ void __launch_bounds__(kThreads, 2)
    attention_long_backward_keys_kernel(AttentionProblem p, RowsOf<Bf16> qkv, RowsOf<Bf16> d_context,
                                        RowsOf<Bf16> d_qkv, const QueryStatistics* all_statistics, int tiles) {
  constexpr int kTiles = 2;
  constexpr int kStage = kVisited * kHeadSize;
  ELECTRA_DYNAMIC_SHARED(Bf16, shared);
  constexpr int keys = 0, values = kOwned * kHeadSize;
  constexpr int queries = 2 * values, d_rows = queries + 2 * kStage;  // two stages each, and of the statistics
  QueryStatistics* const statistics = reinterpret_cast<QueryStatistics*>(shared + d_rows + 2 * kStage);

  AttentionBlock block = attention_block(p, tiles);
  if (p.mask == AttentionMask::kRightToLeft) block.tile = tiles - 1 - block.tile;  // those with the most queries first
  const int column = block.head * kHeadSize;
  const int block_key = block.tile * kOwned;
  const Bf16* const query_rows = qkv.row(block.first) + column;
  const Bf16* const gradient_rows = d_context.row(block.first) + column;
  const QueryStatistics* const row_statistics =
      all_statistics + block.head * p.tokens.capacity + block.first;
  const auto copy_stage = [&](int first_query) {
    const int stage = first_query / kVisited % 2 * kStage;
    copy_rows<kVisited, kThreads>(shared + queries + stage, query_rows + first_query * qkv.stride, qkv.stride,
                                  block.length - first_query);
    copy_rows<kVisited, kThreads>(shared + d_rows + stage, gradient_rows + first_query * d_context.stride,
                                  d_context.stride, block.length - first_query);
    cp_async_commit();
  };
  // Asked for before a stage is worked on, put in its place afterwards.
  const auto load_statistics = [&](int first_query) {
    const int query = first_query + static_cast<int>(threadIdx.x);
    return threadIdx.x < kVisited && query < block.length ? row_statistics[query]
                                                          : QueryStatistics{INFINITY, 0.0f};
  };
  const auto put_statistics = [&](int first_query, const QueryStatistics& of_query) {
    if (threadIdx.x < kVisited) statistics[first_query / kVisited % 2 * kVisited + threadIdx.x] = of_query;
  };
  const Bf16* const my_rows = query_rows + block_key * qkv.stride;
  const KeyRange range = queries_of_keys(p.mask, block_key, kOwned, block.length);
  int first_query = range.first / kVisited * kVisited;
  const bool idle = block_key >= block.length;
  if (!idle) {
    copy_rows<kOwned, kThreads>(shared + keys, my_rows + p.width, qkv.stride, block.length - block_key);
    copy_rows<kOwned, kThreads>(shared + values, my_rows + 2 * p.width, qkv.stride, block.length - block_key);
    cp_async_commit();
    copy_stage(first_query);
  }
  const int64_t actual = actual_of(p.tokens);
  const int share = block.row * tiles + block.tile, shares = p.batch * tiles;
  clear_head_beyond<kThreads>(p, d_qkv.data, d_qkv.stride, p.width + column, actual, share, shares);
  clear_head_beyond<kThreads>(p, d_qkv.data, d_qkv.stride, 2 * p.width + column, actual, share, shares);
  if (idle) return;
  put_statistics(first_query, load_statistics(first_query));
  const PairDropout<> dropout(p, block, TransposedDecisions::lane());
  cp_async_wait<1>();
  __syncthreads();

  const int my_row = 16 * kTiles * warp_of_thread();
  const int first_key = block_key + my_row;
  const KeyRange mine = queries_of_keys(p.mask, first_key, 16 * kTiles, block.length);
  const float scale2 = p.scale * kLog2E;
  OwnedKeys<kTiles> x;
  x.start(shared + values + my_row * kHeadSize);
  for (; first_query < range.last; first_query += kVisited) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has come, and everyone has left the other
    const bool more = first_query + kVisited < range.last;
    QueryStatistics next{};
    if (more) {
      copy_stage(first_query + kVisited);
      next = load_statistics(first_query + kVisited);
    }
    const int stage = first_query / kVisited % 2;
    if (first_key < block.length) {
#pragma unroll 1
      for (int part = 0; part < kVisited; part += 16) {
        const int query_of_part = first_query + part;
        if (query_of_part >= mine.last || query_of_part + 16 <= mine.first) continue;
        const int rows = (stage * kVisited + part) * kHeadSize;
        x.template absorb<kDropout>(shared, keys + my_row * kHeadSize, queries + rows, d_rows + rows,
                                    statistics + stage * kVisited + part, first_key, query_of_part, block.length,
                                    p.mask, scale2, p.kept_scale, dropout, [](int, const uint32_t (&)[4]) {});
      }
    }
    if (more) put_statistics(first_query + kVisited, next);
  }
  if (first_key < block.length) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      const int row = my_row + 16 * m, count = block.length - block_key - row;
      Bf16* const to = d_qkv.row(block.first + block_key + row) + column;
      store_rows(x.d_key[m], p.scale, p.scale, shared + keys + row * kHeadSize, to + p.width, d_qkv.stride, count);
      store_rows(x.d_value[m], p.kept_scale, p.kept_scale, shared + values + row * kHeadSize, to + 2 * p.width,
                 d_qkv.stride, count);
    }
  }
}

}  // namespace

bool attention_tensor_backward_is_split(const AttentionProblem& p) { return p.pitch > kOwned; }

void attention_tensor_backward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                               const float* log_sum_exp, const Tensor& d_context, const Tensor& d_qkv,
                               QueryStatistics* statistics, cudaStream_t stream) {
  const RowsOf<Bf16> from(qkv), out(context), d_out(d_context), to(d_qkv);
  const bool drops = p.threshold != 0;
  if (!attention_tensor_backward_is_split(p)) {
    const dim3 grid(attention_blocks(p, 1));
    if (p.pitch <= 64)
      launch("attention_short_backward",
             drops ? attention_short_backward_kernel<64, true> : attention_short_backward_kernel<64, false>, grid,
             dim3(128), short_backward_bytes<64>(), stream, p, from, out, log_sum_exp, d_out, to);
    else
      launch("attention_short_backward",
             drops ? attention_short_backward_kernel<128, true> : attention_short_backward_kernel<128, false>, grid,
             dim3(256), short_backward_bytes<128>(), stream, p, from, out, log_sum_exp, d_out, to);
    return;
  }
  const int tiles = static_cast<int>(ceil_div(p.pitch, kOwned));
  const dim3 grid(attention_blocks(p, tiles));
  const size_t bytes = static_cast<size_t>(2 * kOwned + 4 * kVisited) * kHeadSize * sizeof(Bf16) +
                       static_cast<size_t>(kOwned) * sizeof(QueryStatistics);
  launch("attention_long_backward_queries",
         drops ? attention_long_backward_queries_kernel<true> : attention_long_backward_queries_kernel<false>, grid,
         dim3(kThreads), bytes, stream, p, from, out, log_sum_exp, d_out, to, statistics, tiles);
  launch("attention_long_backward_keys",
         drops ? attention_long_backward_keys_kernel<true> : attention_long_backward_keys_kernel<false>, grid,
         dim3(kThreads), bytes, stream, p, from, d_out, to, statistics, tiles);
}

}  // namespace electra::cuda
