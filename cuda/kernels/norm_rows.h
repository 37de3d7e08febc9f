#pragma once
// LayerNorm over rows, forward and backward, as norm.cu and embedding.cu share it.
//
//   forward   x̂ = (s − mean(s)) · rstd, y = x̂ · γ + β
//             with s = residual + dropout(x + bias); for embeddings
//             s = word + type + position and dropout on y
//   backward  g = dy ⊙ γ, d_s = rstd · (g − mean(g) − x̂ · mean(g ⊙ x̂)), dx = dropout(d_s)
//             d_γ = Σ dy ⊙ x̂, d_β = Σ dy, d_bias = Σ dx over tokens
//
// Both are bound by memory: forward reads x and the residual and writes y and x̂ once, backward reads dy and x̂
// and writes d_residual and dx once; 4 · T · h elements either way, and the row stays in registers between
// the passes of the statistics (first the mean, then the squared distances from it; E[x²] − E[x]² would
// cancel). A row belongs to a warp, or to 8 or 16 lanes of one when it is that narrow, so that no lane idles
// and no barrier is needed; every lane holds `kPer` elements in vectors of 16 bytes. One call of Philox
// decides 8 neighbouring elements.
//
// The parameters' gradients are sums over tokens. Backward is one wave of blocks, each with a stretch of
// tokens that follows from shapes alone; its warps keep three sums per column in registers and add them up in
// shared memory in order, the block writes one row of partials, and a second kernel adds the rows in order.
// There are at most 400 of them: 0.8 MB for 16384 x 256, against the row pass's 34 MB, and they never leave
// the L2.
//
// Widths above 1024, or rows that cannot be read 16 bytes at a time, take the plain kernels.

#include <algorithm>
#include <cstdint>

#include "../device_views.h"
#include "../platform/platform.h"
#include "row_vectors.h"

namespace electra::cuda {

constexpr float kNormEpsilon = 1e-12f;  // as in BERT (Devlin et al. 2019)

template <typename T>
struct NormForwardRows {
  Extent tokens;
  int32_t width = 0;
  // Either a stream …
  RowsOf<const T> x;
  const float* bias = nullptr;
  RowsOf<const T> residual;
  // … or the embedding tables.
  const int32_t* ids = nullptr;
  const int32_t* segments = nullptr;
  const int32_t* positions = nullptr;
  const float* word = nullptr;
  const float* token_type = nullptr;
  const float* position = nullptr;

  TokenDropout dropout;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  RowsOf<T> y;
  RowsOf<T> normalized;
  float* rstd = nullptr;
};

template <typename T>
struct NormBackwardRows {
  Extent tokens;
  int32_t width = 0;
  int32_t stretch = 0;  ///< tokens of a block
  RowsOf<const T> dy;
  TokenDropout dropout;  ///< of dy for embeddings, else of dx
  const float* gamma = nullptr;
  RowsOf<const T> normalized;
  const float* rstd = nullptr;
  RowsOf<T> d_sum;  ///< may be dy
  bool add = false;
  bool clear_beyond = false;  ///< zeros in d_sum beyond the actual extent
  RowsOf<T> dx;               ///< may be empty
  int32_t sums = 2;           ///< rows of partials: d_gamma, d_beta and, if 3, d_bias
  float* partials = nullptr;  ///< [blocks][sums][width]
};

// ---------------------------------------------------------------------------------------------------------------------
// Stretches of tokens and their sums

/// Rows wider than this need so many registers that a block of norm_backward is smaller.
constexpr int64_t kNarrowWidth = 512;
/// Blocks of one wave on the 132 multiprocessors of an H100: two of 256 threads or three of 128.
constexpr int64_t kNarrowBlocks = 2 * 132, kWideBlocks = 3 * 132;
constexpr int64_t kStretchUnit = 32;  ///< a multiple of the rows that a block works on at once

/// Tokens whose sum is one row of partials.
inline int64_t stretch_of(int64_t tokens, int64_t width) {
  const int64_t blocks = width <= kNarrowWidth ? kNarrowBlocks : kWideBlocks;
  return std::max<int64_t>(1, ceil_div(ceil_div(tokens, blocks), kStretchUnit)) * kStretchUnit;
}
/// Stretches of any number of tokens up to this one, of any width.
inline int64_t most_stretches(int64_t tokens) {
  return std::min(kWideBlocks, ceil_div(std::max<int64_t>(tokens, 0), kStretchUnit));
}

/// Rows of partials, to be added to up to three targets of `width` columns each.
struct PartialSums {
  int32_t rows = 0;
  int32_t width = 0;
  int32_t sums = 0;
  const float* partials = nullptr;  ///< [rows][sums][width]
  float* target[3] = {};
};

constexpr int kSumThreads = 1024;
constexpr int kSumBatch = 16;  // loads in flight: of 32 warps and at most 400 rows, all of a warp's

/// The sum over rows of a matrix in column `tile` · 32 + lane, for all of a block: each warp adds an equal
/// part of the rows, then the parts are added in order. Valid in warp 0. `parts` is [kThreads] of shared
/// memory.
template <int kThreads>
__device__ __forceinline__ float sum_in_block(const float* matrix, int64_t rows, int64_t columns,
                                              int64_t tile, float* parts) {
  constexpr int kWarps = kThreads / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t column = tile * 32 + lane;
  const int64_t part = (rows + kWarps - 1) / kWarps;
  const int64_t first = warp * part, last = first + part < rows ? first + part : rows;
  float total = 0;
  for (int64_t r = first; r < last; r += kSumBatch) {
    float v[kSumBatch];
#pragma unroll
    for (int i = 0; i < kSumBatch; ++i)
      v[i] = column < columns && r + i < last ? matrix[(r + i) * columns + column] : 0.0f;
#pragma unroll
    for (int i = 0; i < kSumBatch; ++i) total += v[i];
  }
  parts[threadIdx.x] = total;
  __syncthreads();
  total = 0;
  if (warp == 0) {
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += parts[w * 32 + lane];
  }
  return total;
}

/// A block for every 32 columns of the partials.
template <int kThreads>
__device__ __forceinline__ void add_partial_sums(const PartialSums& p, int64_t tile, float* parts) {
  const int64_t columns = static_cast<int64_t>(p.sums) * p.width;
  const int64_t column = tile * 32 + threadIdx.x;
  float* target = nullptr;
  float before = 0;
  if (threadIdx.x < 32 && column < columns) {
    const int which = static_cast<int>(column / p.width);
    target = which == 0 ? p.target[0] : which == 1 ? p.target[1] : p.target[2];
    target += column - static_cast<int64_t>(which) * p.width;
    before = *target;  // now, that it comes with the partials
  }
  const float total = sum_in_block<kThreads>(p.partials, p.rows, columns, tile, parts);
  if (target != nullptr) *target = before + total;
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) add_norm_partials(PartialSums p) {
  ELECTRA_SHARED(float, parts, kThreads);
  add_partial_sums<kThreads>(p, blockIdx.x, parts);
}

// ---------------------------------------------------------------------------------------------------------------------
// Forward

/// Over each group of kLanes neighbouring lanes, to all of them.
template <int kLanes>
__device__ __forceinline__ float sum_over_lanes(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kFullWarp, value, distance);
  return value;
}

/// One row: kLanes lanes with kPer elements each. Rows beyond the actual extent are worked on like the
/// others, whatever they hold, and stored as zeros: so no load waits for the extent, and all lanes take part
/// in the sums.
template <typename T, bool kEmbedding, int kLanes, int kPer>
__global__ void __launch_bounds__(256) norm_forward(NormForwardRows<T> p) {
  constexpr int kVector = kRowVector<T>, kSteps = kPer / kVector;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kLanes) + threadIdx.x / kLanes;
  const bool exists = t < p.tokens.capacity;
  bool counts = false;

  float v[kPer];
#pragma unroll
  for (int i = 0; i < kPer; ++i) v[i] = 0;
  DropoutStream dropout(p.dropout);
  if (kEmbedding) {
    counts = t < actual_of(p.tokens);  // beyond it, ids are no ids
    if (counts) {
      const float* word = p.word + static_cast<int64_t>(p.ids[t]) * p.width;
      const float* token_type = p.token_type + static_cast<int64_t>(p.segments[t]) * p.width;
      const float* position = p.position + static_cast<int64_t>(p.positions[t]) * p.width;
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const int column = (s * kLanes + lane) * kVector;
        if (column >= p.width) continue;
        float* here = v + s * kVector;
        float a[kVector], b[kVector];
        read_row<kVector>(word + column, here);
        read_row<kVector>(token_type + column, a);
        read_row<kVector>(position + column, b);
#pragma unroll
        for (int i = 0; i < kVector; ++i) here[i] = here[i] + a[i] + b[i];
      }
      dropout.start(t, static_cast<uint32_t>(p.width));
    }
  } else if (exists) {
    // All loads of the row first: they are what the kernel waits for. x is a product that nobody reads again.
    RowBits x[kSteps], residual[kSteps];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      x[s] = load_bits_streaming(p.x.row(t) + column);
      if (p.residual) residual[s] = load_bits(p.residual.row(t) + column);
    }
    counts = t < actual_of(p.tokens);
    if (counts) dropout.start(t, static_cast<uint32_t>(p.width));
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      float* here = v + s * kVector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) here[i] = element_of<T>(x[s].value, i);
      if (p.bias != nullptr) {
        float bias[kVector];
        read_row<kVector>(p.bias + column, bias);
#pragma unroll
        for (int i = 0; i < kVector; ++i) here[i] += bias[i];
      }
      if (dropout.drops()) dropout.apply<kVector>(column, here);
      if (p.residual) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) here[i] += element_of<T>(residual[s].value, i);
      }
    }
  }

  const float inverse_width = 1.0f / static_cast<float>(p.width);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPer; ++i) sum += v[i];
  const float mean = sum_over_lanes<kLanes>(sum) * inverse_width;
  float squares = 0;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    if ((s * kLanes + lane) * kVector >= p.width) continue;
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float d = v[s * kVector + i] - mean;
      squares += d * d;
    }
  }
  const float rstd = 1.0f / sqrtf(sum_over_lanes<kLanes>(squares) * inverse_width + kNormEpsilon);

  if (!exists) return;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int column = (s * kLanes + lane) * kVector;
    if (column >= p.width) continue;
    float* here = v + s * kVector;
    float gamma[kVector], beta[kVector];
    read_row<kVector>(p.gamma + column, gamma);
    read_row<kVector>(p.beta + column, beta);
#pragma unroll
    for (int i = 0; i < kVector; ++i) here[i] = counts ? (here[i] - mean) * rstd : 0.0f;
    // Backward is far away; y is read next.
    if (p.normalized) write_row_streaming(p.normalized.row(t) + column, here);
#pragma unroll
    for (int i = 0; i < kVector; ++i) here[i] = counts ? here[i] * gamma[i] + beta[i] : 0.0f;
    if (kEmbedding && dropout.drops()) dropout.apply<kVector>(column, here);
    write_row<kVector>(p.y.row(t) + column, here);
  }
  if (p.rstd != nullptr && lane == 0) p.rstd[t] = counts ? rstd : 0.0f;
}

/// Any width and any alignment: a warp walks its row three times, element by element. y may be the residual,
/// for the same lane reads and writes an element.
template <typename T, bool kEmbedding>
__global__ void __launch_bounds__(256) norm_forward_plain(NormForwardRows<T> p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (t >= p.tokens.capacity) return;  // whole warps
  if (t >= actual_of(p.tokens)) {
    for (int column = lane; column < p.width; column += 32) {
      p.y.row(t)[column] = from_float<T>(0.0f);
      if (p.normalized) p.normalized.row(t)[column] = from_float<T>(0.0f);
    }
    if (p.rstd != nullptr && lane == 0) p.rstd[t] = 0.0f;
    return;
  }
  const DropoutStream dropout(p.dropout, t, static_cast<uint32_t>(p.width));
  const float *word = nullptr, *token_type = nullptr, *position = nullptr;
  if (kEmbedding) {
    word = p.word + static_cast<int64_t>(p.ids[t]) * p.width;
    token_type = p.token_type + static_cast<int64_t>(p.segments[t]) * p.width;
    position = p.position + static_cast<int64_t>(p.positions[t]) * p.width;
  }
  const auto element = [&](int column) {
    if (kEmbedding) return word[column] + token_type[column] + position[column];
    float v = to_float(p.x.row(t)[column]);
    if (p.bias != nullptr) v += p.bias[column];
    if (dropout.drops()) v *= dropout.factor(column);
    if (p.residual) v += to_float(p.residual.row(t)[column]);
    return v;
  };
  const float inverse_width = 1.0f / static_cast<float>(p.width);
  float sum = 0;
  for (int column = lane; column < p.width; column += 32) sum += element(column);
  const float mean = sum_over_lanes<32>(sum) * inverse_width;
  float squares = 0;
  for (int column = lane; column < p.width; column += 32) {
    const float d = element(column) - mean;
    squares += d * d;
  }
  const float rstd = 1.0f / sqrtf(sum_over_lanes<32>(squares) * inverse_width + kNormEpsilon);
  for (int column = lane; column < p.width; column += 32) {
    const float n = (element(column) - mean) * rstd;
    if (p.normalized) p.normalized.row(t)[column] = from_float<T>(n);
    float y = n * p.gamma[column] + p.beta[column];
    if (kEmbedding && dropout.drops()) y *= dropout.factor(column);
    p.y.row(t)[column] = from_float<T>(y);
  }
  if (p.rstd != nullptr && lane == 0) p.rstd[t] = rstd;
}

// ---------------------------------------------------------------------------------------------------------------------
// Backward

/// Threads of a block of norm_backward and blocks of a multiprocessor; the sums in registers limit them. In
/// bf16 there are 16 warps for narrow rows, 12 for 768 columns and 8 for 1024, with the loads of two rows
/// each.
template <int kPer>
constexpr int kBackwardThreads = kPer <= 16 ? 256 : 128;
template <typename T, int kPer>
constexpr int kBackwardBlocks = sizeof(T) == 2 ? (kPer == 24 ? 3 : 2) : (kPer == 16 ? 1 : 2);

/// A block walks its stretch. The loads of the next row are issued before the current one is worked on, where
/// registers allow; rows stay packed, and are unpacked for each of the two passes.
template <typename T, bool kEmbedding, int kLanes, int kPer>
__global__ void __launch_bounds__(kBackwardThreads<kPer>, (kBackwardBlocks<T, kPer>))
    norm_backward(NormBackwardRows<T> p) {
  constexpr int kVector = kRowVector<T>, kSteps = kPer / kVector;
  constexpr int kGroups = kBackwardThreads<kPer> / kLanes;
  constexpr bool kAhead = kPer * sizeof(T) <= 64;
  constexpr bool kKeepsGamma = kPer == 8;
  ELECTRA_DYNAMIC_SHARED(float, shared);  // [sums][kGroups][width]
  const int lane = static_cast<int>(threadIdx.x) % kLanes, group = static_cast<int>(threadIdx.x) / kLanes;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * p.stretch;
  const float inverse_width = 1.0f / static_cast<float>(p.width);

  float d_gamma[kPer], d_beta[kPer], d_bias[kPer];
#pragma unroll
  for (int i = 0; i < kPer; ++i) d_gamma[i] = d_beta[i] = d_bias[i] = 0;
  float kept_gamma[kKeepsGamma ? kPer : 1];
  if constexpr (kKeepsGamma) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column < p.width) read_row<kVector>(p.gamma + column, kept_gamma + s * kVector);
    }
  }
  const auto gamma_of = [&](int s, int column, float* gamma) {
    if constexpr (kKeepsGamma) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) gamma[i] = kept_gamma[s * kVector + i];
    } else {
      read_row<kVector>(p.gamma + column, gamma);
    }
  };

  RowBits dy[kSteps], normalized[kSteps], next_dy[kSteps], next_normalized[kSteps];
  const auto load = [&](int64_t t, RowBits* to_dy, RowBits* to_normalized) {
    if (t >= p.tokens.capacity) return;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      to_dy[s] = load_bits(p.dy.row(t) + column);
      to_normalized[s] = load_bits_streaming(p.normalized.row(t) + column);
    }
  };
  if (kAhead) load(first + group, next_dy, next_normalized);
  const int64_t actual = actual_of(p.tokens);
  DropoutStream dropout(p.dropout);

  // A stretch is a multiple of the groups, so all groups of a warp go round equally often.
  for (int r = group; r < p.stretch; r += kGroups) {
    const int64_t t = first + r;
    const bool counts = t < actual;
    if (kAhead) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) dy[s] = next_dy[s], normalized[s] = next_normalized[s];
      if (r + kGroups < p.stretch) load(t + kGroups, next_dy, next_normalized);
    } else {
      load(t, dy, normalized);
    }
    if (!counts) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) dy[s] = normalized[s] = RowBits{};
    }
    float rstd = 0;
    if (counts) {
      rstd = p.rstd[t];
      dropout.start(t, static_cast<uint32_t>(p.width));
    }
    uint32_t kept[kSteps] = {};  // of dy
    const auto dy_at = [&](int s, int i) {
      const float value = element_of<T>(dy[s].value, i);
      if (!kEmbedding || !dropout.drops()) return value;
      return (kept[s] >> i & 1u) != 0 ? value * dropout.scale() : 0.0f;
    };

    float sum_g = 0, sum_gn = 0;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      if (kEmbedding && dropout.drops()) kept[s] = dropout.kept<kVector>(column);
      float gamma[kVector];
      gamma_of(s, column, gamma);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float d = dy_at(s, i), n = element_of<T>(normalized[s].value, i), g = d * gamma[i];
        d_gamma[s * kVector + i] += d * n;
        d_beta[s * kVector + i] += d;
        sum_g += g;
        sum_gn += g * n;
      }
    }
    const float mean = sum_over_lanes<kLanes>(sum_g) * inverse_width;
    const float slope = sum_over_lanes<kLanes>(sum_gn) * inverse_width;

    if (t >= p.tokens.capacity) continue;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      float gamma[kVector], d[kVector];
      gamma_of(s, column, gamma);
#pragma unroll
      for (int i = 0; i < kVector; ++i)
        d[i] = (dy_at(s, i) * gamma[i] - mean - element_of<T>(normalized[s].value, i) * slope) * rstd;
      T* target = p.d_sum.row(t) + column;
      if (!p.add) {
        if (counts || p.clear_beyond) write_row<kVector>(target, d);
      } else if (counts) {
        float total[kVector];
        read_row<kVector>(target, total);
#pragma unroll
        for (int i = 0; i < kVector; ++i) total[i] += d[i];
        write_row<kVector>(target, total);
      }
      if (kEmbedding || !p.dx) continue;
      if (dropout.drops()) dropout.apply<kVector>(column, d);
      write_row<kVector>(p.dx.row(t) + column, d);
#pragma unroll
      for (int i = 0; i < kVector; ++i) d_bias[s * kVector + i] += d[i];
    }
  }

  const auto keep = [&](const float* sums, int which) {
    float* mine = shared + (which * kGroups + group) * p.width;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column < p.width) write_row<kVector>(mine + column, sums + s * kVector);
    }
  };
  keep(d_gamma, 0);
  keep(d_beta, 1);
  if (!kEmbedding && p.sums > 2) keep(d_bias, 2);
  __syncthreads();
  float* partial = p.partials + static_cast<int64_t>(blockIdx.x) * p.sums * p.width;
  for (int which = 0; which < p.sums; ++which) {
    for (int column = static_cast<int>(threadIdx.x); column < p.width; column += kBackwardThreads<kPer>) {
      float total = 0;
#pragma unroll
      for (int k = 0; k < kGroups; ++k) total += shared[(which * kGroups + k) * p.width + column];
      partial[which * p.width + column] = total;
    }
  }
}

/// Any width and any alignment. First the warps find the two means of every row of the stretch, then each
/// thread owns columns and walks the rows in order.
constexpr int kPlainRows = 64;

template <typename T, bool kEmbedding>
__global__ void __launch_bounds__(256) norm_backward_plain(NormBackwardRows<T> p) {
  ELECTRA_SHARED(float, means, kPlainRows);
  ELECTRA_SHARED(float, slopes, kPlainRows);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int64_t actual = actual_of(p.tokens);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * p.stretch;
  const int64_t end = begin + p.stretch < p.tokens.capacity ? begin + p.stretch : p.tokens.capacity;
  const float inverse_width = 1.0f / static_cast<float>(p.width);
  const uint32_t width = static_cast<uint32_t>(p.width);
  float* partial = p.partials + static_cast<int64_t>(blockIdx.x) * p.sums * p.width;

  for (int64_t first = begin; first < end; first += kPlainRows) {
    const int64_t last = first + kPlainRows < end ? first + kPlainRows : end;
    for (int64_t t = first + warp; t < last; t += warps) {
      float sum_g = 0, sum_gn = 0;
      if (t < actual) {
        const DropoutStream dropout(p.dropout, t, width);
        for (int column = lane; column < p.width; column += 32) {
          float g = to_float(p.dy.row(t)[column]);
          if (kEmbedding && dropout.drops()) g *= dropout.factor(column);
          g *= p.gamma[column];
          sum_g += g;
          sum_gn += g * to_float(p.normalized.row(t)[column]);
        }
      }
      sum_g = sum_over_lanes<32>(sum_g);
      sum_gn = sum_over_lanes<32>(sum_gn);
      if (lane == 0) {
        means[t - first] = sum_g * inverse_width;
        slopes[t - first] = sum_gn * inverse_width;
      }
    }
    __syncthreads();
    for (int column = static_cast<int>(threadIdx.x); column < p.width;
         column += static_cast<int>(blockDim.x)) {
      const float gamma = p.gamma[column];
      float d_gamma = 0, d_beta = 0, d_bias = 0;
      for (int64_t t = first; t < last; ++t) {
        T* target = p.d_sum.row(t) + column;
        if (t >= actual) {
          if (p.clear_beyond) *target = from_float<T>(0.0f);
          if (p.dx) p.dx.row(t)[column] = from_float<T>(0.0f);
          continue;
        }
        const float factor =
            p.dropout.threshold > 0 ? DropoutStream(p.dropout, t, width).factor(column) : 1.0f;
        float g = to_float(p.dy.row(t)[column]);
        if (kEmbedding) g *= factor;
        const float n = to_float(p.normalized.row(t)[column]);
        d_gamma += g * n;
        d_beta += g;
        const float d = (g * gamma - means[t - first] - n * slopes[t - first]) * p.rstd[t];
        *target = from_float<T>(p.add ? to_float(*target) + d : d);
        if (kEmbedding || !p.dx) continue;
        const float dx = d * factor;
        p.dx.row(t)[column] = from_float<T>(dx);
        d_bias += dx;
      }
      const bool fresh = first == begin;
      const auto store = [&](int which, float value) {
        float* sum = partial + static_cast<int64_t>(which) * p.width + column;
        *sum = fresh ? value : *sum + value;
      };
      store(0, d_gamma);
      store(1, d_beta);
      if (p.sums > 2) store(2, d_bias);
    }
    __syncthreads();
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Launchers

template <int kLanesOfRow, int kPerLane>
struct RowShape {
  static constexpr int kLanes = kLanesOfRow, kPer = kPerLane;
};

/// Calls body(RowShape) with the smallest shape that holds a row; false if none does.
template <typename Body>
bool with_row_shape(int64_t width, Body body) {
  if (width <= 64)
    body(RowShape<8, 8>{});
  else if (width <= 128)
    body(RowShape<16, 8>{});
  else if (width <= 256)
    body(RowShape<32, 8>{});
  else if (width <= 512)
    body(RowShape<32, 16>{});
  else if (width <= 768)
    body(RowShape<32, 24>{});
  else if (width <= 1024)
    body(RowShape<32, 32>{});
  else
    return false;
  return true;
}

/// `aligned`: every row of every matrix and every parameter can be read 16 bytes at a time.
template <bool kEmbedding, typename T>
void launch_norm_forward(const NormForwardRows<T>& rows, bool aligned, cudaStream_t stream) {
  const int64_t capacity = rows.tokens.capacity;
  if (capacity == 0 || rows.width == 0) return;
  const char* name = kEmbedding ? "embedding_forward" : "norm_forward";
  const bool done = aligned && with_row_shape(rows.width, [&](auto shape) {
                      using Shape = decltype(shape);
                      const unsigned blocks = static_cast<unsigned>(ceil_div(capacity, 256 / Shape::kLanes));
                      launch(name, norm_forward<T, kEmbedding, Shape::kLanes, Shape::kPer>, dim3(blocks),
                             dim3(256), 0, stream, rows);
                    });
  if (done) return;
  launch(name, norm_forward_plain<T, kEmbedding>, dim3(static_cast<unsigned>(ceil_div(capacity, 8))),
         dim3(256), 0, stream, rows);
}

/// Leaves a row of partials for every stretch of tokens; stretches beyond the actual extent leave zeros.
template <bool kEmbedding, typename T>
void launch_norm_backward(const NormBackwardRows<T>& rows, bool aligned, cudaStream_t stream) {
  const int64_t capacity = rows.tokens.capacity;
  if (capacity == 0 || rows.width == 0) return;
  const char* name = kEmbedding ? "embedding_norm_backward" : "norm_backward";
  const unsigned blocks = static_cast<unsigned>(ceil_div(capacity, rows.stretch));
  const bool done = aligned && with_row_shape(rows.width, [&](auto shape) {
                      using Shape = decltype(shape);
                      constexpr int kThreads = kBackwardThreads<Shape::kPer>;
                      const size_t bytes = static_cast<size_t>(rows.sums) * (kThreads / Shape::kLanes) *
                                           rows.width * sizeof(float);
                      launch(name, norm_backward<T, kEmbedding, Shape::kLanes, Shape::kPer>, dim3(blocks),
                             dim3(kThreads), bytes, stream, rows);
                    });
  if (done) return;
  launch(name, norm_backward_plain<T, kEmbedding>, dim3(blocks), dim3(256), 0, stream, rows);
}

inline void launch_add_partials(const PartialSums& sums, cudaStream_t stream) {
  const int64_t columns = static_cast<int64_t>(sums.sums) * sums.width;
  if (columns == 0 || sums.rows == 0) return;
  launch("norm_partials", add_norm_partials<kSumThreads>, dim3(static_cast<unsigned>(ceil_div(columns, 32))),
         dim3(kSumThreads), 0, stream, sums);
}

inline bool parameter_is_aligned(const float* parameter) {
  return reinterpret_cast<uintptr_t>(parameter) % 16 == 0;
}

}  // namespace electra::cuda
