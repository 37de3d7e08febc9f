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

#include <type_traits>

#include "attention.h"
#include "row_vectors.h"

namespace electra::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSide = 16;                // threads along either side of a tile
constexpr float kMaskAddend = -10000.0f;  // of a masked score, as in BERT's code

/// Shapes for heads of up to kDim columns.
template <int kDim>
struct Shape {
  static constexpr int kTile = kDim <= 64 ? 64 : 32;
  static constexpr int kStride = kDim + 4;    // of rows of a head in shared memory
  static constexpr int kWeights = kTile + 4;  // of rows of weights
  static constexpr int kRows = kTile / kSide;
  static constexpr int kColumns = kDim / kSide;
  static constexpr int kHeadFloats = kTile * kStride;
  static constexpr int kWeightFloats = kTile * kWeights;
  static constexpr int kBlocks = kDim <= 128 ? 2 : 1;  // on a multiprocessor
  static constexpr int kSubTiles = kTile / 16;
  static constexpr int kKeepBytes = kSubTiles * kSubTiles * 32;
};

__device__ __forceinline__ int thread_row() { return static_cast<int>(threadIdx.x) / kSide; }
__device__ __forceinline__ int thread_column() { return static_cast<int>(threadIdx.x) % kSide; }

/// Rows of one head that lie in global memory.
template <typename T>
struct HeadRows {
  T* data;
  int64_t stride;
  int head_size;
  bool vectors;  // four elements can be read in one access

  __device__ __forceinline__ HeadRows(const RowsOf<T>& rows, int64_t first, int64_t column, int size, bool aligned)
      : data(rows.row(first) + column), stride(rows.stride), head_size(size), vectors(aligned) {}
};

/// Fills a tile from row `first` on; rows at or beyond `last` and columns beyond the head are zeros.
template <int kDim, typename T>
__device__ __forceinline__ void load_tile(float* to, const HeadRows<T>& from, int first, int last) {
  using S = Shape<kDim>;
  for (int i = static_cast<int>(threadIdx.x); i < S::kTile * kDim / 4; i += kThreads) {
    const int r = i / (kDim / 4), d = i % (kDim / 4) * 4;
    Packed<float, 4> values;
#pragma unroll
    for (int e = 0; e < 4; ++e) values[e] = 0.0f;
    if (first + r < last) {
      const T* place = from.data + (first + r) * from.stride + d;
      if (from.vectors) {
        if (d < from.head_size) {
          const Packed<T, 4> packed = load_packed<4>(place);
#pragma unroll
          for (int e = 0; e < 4; ++e) values[e] = to_float(packed[e]);
        }
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (d + e < from.head_size) values[e] = to_float(place[e]);
      }
    }
    store_packed(to + r * S::kStride + d, values);
  }
}

/// Column of a head that a thread's sum `c` belongs to: neighbouring threads own neighbouring vectors.
template <int kDim>
__device__ __forceinline__ int column_of(int c) {
  constexpr int kVector = Shape<kDim>::kColumns < 4 ? Shape<kDim>::kColumns : 4;
  return c / kVector * (kSide * kVector) + thread_column() * kVector + c % kVector;
}

/// products[i][j] = a[row + 16 i] · b[column + 16 j] over the head.
template <int kDim>
__device__ __forceinline__ void dot_rows(const float* a, const float* b,
                                         float (&products)[Shape<kDim>::kRows][Shape<kDim>::kRows]) {
  using S = Shape<kDim>;
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < S::kRows; ++j) products[i][j] = 0.0f;
  }
  const float* left = a + thread_row() * S::kStride;
  const float* right = b + thread_column() * S::kStride;
#pragma unroll 1
  for (int d = 0; d < kDim; d += 4) {
    Packed<float, 4> x[S::kRows];
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) x[i] = load_packed<4>(left + i * kSide * S::kStride + d);
#pragma unroll
    for (int j = 0; j < S::kRows; ++j) {
      const Packed<float, 4> y = load_packed<4>(right + j * kSide * S::kStride + d);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
#pragma unroll
        for (int i = 0; i < S::kRows; ++i) products[i][j] = fmaf(x[i][e], y[e], products[i][j]);
      }
    }
  }
}

/// sums[i][c] += Σ over k of weights[row + 16 i][k] · x[k][column_of(c)].
template <int kDim>
__device__ __forceinline__ void add_weighted_rows(const float* weights, const float* x,
                                                  float (&sums)[Shape<kDim>::kRows][Shape<kDim>::kColumns]) {
  using S = Shape<kDim>;
  constexpr int kVector = S::kColumns < 4 ? S::kColumns : 4;
  const float* left = weights + thread_row() * S::kWeights;
#pragma unroll 1
  for (int k = 0; k < S::kTile; k += 4) {
    Packed<float, 4> w[S::kRows];
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) w[i] = load_packed<4>(left + i * kSide * S::kWeights + k);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
#pragma unroll
      for (int c = 0; c < S::kColumns; c += kVector) {
        const Packed<float, kVector> y = load_packed<kVector>(x + (k + e) * S::kStride + column_of<kDim>(c));
#pragma unroll
        for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) sums[i][c + v] = fmaf(w[i][e], y[v], sums[i][c + v]);
        }
      }
    }
  }
}

/// Writes sums times factor[i] to the rows before `last`.
template <int kDim, typename T>
__device__ __forceinline__ void store_sums(const float (&sums)[Shape<kDim>::kRows][Shape<kDim>::kColumns],
                                           const float (&factor)[Shape<kDim>::kRows], const HeadRows<T>& to,
                                           int first, int last) {
  using S = Shape<kDim>;
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
    const int r = first + thread_row() + kSide * i;
    if (r >= last) continue;
#pragma unroll
    for (int c = 0; c < S::kColumns; ++c) {
      const int d = column_of<kDim>(c);
      if (d < to.head_size) to.data[r * to.stride + d] = from_float<T>(sums[i][c] * factor[i]);
    }
  }
}

/// The decisions of a tile, a bit for each pair: byte 32 · (16 x 16 tile) + lane, bit = decision.
template <int kDim>
__device__ __forceinline__ void make_keep_bits(const PairDropout<>& dropout, int first_query, int first_key,
                                               uint8_t* bits) {
  using S = Shape<kDim>;
  for (int i = static_cast<int>(threadIdx.x); i < S::kKeepBytes; i += kThreads) {
    const int sub = i / 32;
    const PhiloxWords words =
        dropout.words(first_query / 16 + sub / S::kSubTiles, first_key / 16 + sub % S::kSubTiles);
    uint32_t byte = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      byte |= dropout.keeps_low(words.word[w]) ? 1u << (2 * w) : 0u;
      byte |= dropout.keeps_high(words.word[w]) ? 2u << (2 * w) : 0u;
    }
    bits[i] = static_cast<uint8_t>(byte);
  }
}
/// A thread's pairs: one place in every tile of 16 x 16.
class KeepBits {
 public:
  __device__ __forceinline__ KeepBits(const uint8_t* bits, int query, int key)
      : at_(bits + query % 8 * 4 + key % 8 / 2), decision_(query / 8 * 4 + key / 8 * 2 + key % 2) {}
  template <int kDim>
  __device__ __forceinline__ bool kept(int query_tile, int key_tile) const {
    return (at_[32 * (query_tile * Shape<kDim>::kSubTiles + key_tile)] >> decision_ & 1) != 0;
  }

 private:
  const uint8_t* at_;
  int decision_;
};

/// Scores from products: scaled, masked.
struct Scores {
  AttentionMask mask;
  bool keep_padding;
  int length;
  int real;  // keys before it are tokens
  float scale;

  __device__ __forceinline__ Scores(const AttentionProblem& p, const AttentionBlock& block)
      : mask(p.mask), keep_padding(p.keep_padding), length(block.length), real(block.length), scale(p.scale) {
    if (p.keep_padding) real = min(block.length, p.valid[block.row]);
  }
  __device__ __forceinline__ float score(float product, int query, int key) const {
    const bool seen = key < real && mask_allows(mask, query, key);
    const float scaled = product * scale;
    if (seen) return scaled;
    // Rounded to f32 as BERT's code rounds it: a query that sees nothing has only such scores.
    return keep_padding && key < length ? __fadd_rn(scaled, kMaskAddend) : -INFINITY;
  }
  /// Keys with any weight for the queries from `first`. With kept padding, one that sees nothing may be among them.
  __device__ __forceinline__ KeyRange keys(int first, int count) const {
    return keep_padding ? KeyRange{0, length} : keys_of_queries(mask, first, count, length);
  }
  __device__ __forceinline__ KeyRange queries(int first, int count) const {
    return keep_padding ? KeyRange{0, length} : queries_of_keys(mask, first, count, length);
  }
};

/// Over the 16 threads of a row.
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullWarp, x, offset);
  return x;
}
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, offset));
  return x;
}

/// A block's share of the tokens beyond the extent.
template <typename T>
__device__ __forceinline__ void clear_beyond(const AttentionProblem& p, const RowsOf<T>& rows, int64_t column,
                                             const AttentionBlock& block, int tiles) {
  const int64_t shares = static_cast<int64_t>(p.batch) * tiles;
  for (int64_t t = actual_of(p.tokens) + static_cast<int64_t>(block.row) * tiles + block.tile;
       t < p.tokens.capacity; t += shares) {
    for (int d = static_cast<int>(threadIdx.x); d < p.head_size; d += kThreads)
      rows.row(t)[column + d] = from_float<T>(0.0f);
  }
}

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

// ---------------------------------------------------------------------------------------------------------------------
// kernels

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

// ---------------------------------------------------------------------------------------------------------------------
// launchers

/// Calls body(T{}, std::integral_constant<int, kDim>{}) with the smallest kDim that holds a head.
template <typename Body>
void with_shape(DType dtype, int head_size, Body body) {
  with_type(dtype, [&](auto type) {
    if (head_size <= 16)
      body(type, std::integral_constant<int, 16>{});
    else if (head_size <= 32)
      body(type, std::integral_constant<int, 32>{});
    else if (head_size <= 64)
      body(type, std::integral_constant<int, 64>{});
    else if (head_size <= 128)
      body(type, std::integral_constant<int, 128>{});
    else
      body(type, std::integral_constant<int, 256>{});
  });
}

template <int kDim>
size_t shared_bytes(int head_tiles, int weight_tiles) {
  using S = Shape<kDim>;
  return static_cast<size_t>(head_tiles * S::kHeadFloats + weight_tiles * S::kWeightFloats) * sizeof(float) +
         S::kTile * sizeof(QueryStatistics) + S::kKeepBytes;
}

bool four_at_a_time(const AttentionProblem& p, std::initializer_list<Tensor> tensors) {
  if (p.head_size % 4 != 0) return false;
  for (const Tensor& t : tensors)
    if (!rows_are_aligned(t, 4)) return false;
  return true;
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
