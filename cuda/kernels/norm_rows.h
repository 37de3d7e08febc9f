#pragma once
// LayerNorm over rows, forward and backward, as norm.cu and embedding.cu share it.
//
//   forward   x̂ = (s − mean(s)) · rstd, y = x̂ · γ + β, with s = residual + dropout(x + bias) or, for embeddings,
//             s = word + type + position and dropout on y
//   backward  g = dy ⊙ γ, d_s = rstd · (g − mean(g) − x̂ · mean(g ⊙ x̂)), dx = dropout(d_s),
//             d_γ = Σ dy ⊙ x̂, d_β = Σ dy, d_bias = Σ dx over tokens
//
// Both are bound by memory: forward reads x and the residual and writes y and x̂ once, backward reads dy and x̂ and
// writes d_residual and dx once; 4 · T · h elements either way, and the row stays in registers between the passes
// of the statistics (first the mean, then the squared distances from it; E[x²] − E[x]² would cancel). A row belongs
// to a warp, or to 8 or 16 lanes of one when it is that narrow, so that no lane idles and no barrier is needed;
// every lane holds `kPer` elements in vectors of 16 bytes. One call of Philox decides 8 neighbouring elements.
//
// The parameters' gradients are sums over tokens. A block walks a stretch of tokens that follows from the capacity
// alone, its warps keep three sums per column in registers and add them up in shared memory in order; the block
// writes one row of partials, and a second kernel adds those rows in order. A stretch is at least 32 tokens, so the
// partials are at most 3 · 4 / 32 bytes an element against the 4 · 2 of the row pass, and they stay in the L2.
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

constexpr int64_t kShortestStretch = 32;
constexpr int64_t kMostStretches = 1024;

/// Tokens whose sum is one partial: a power of two, so that there are at most kMostStretches.
inline int64_t stretch_of(int64_t tokens) {
  int64_t stretch = kShortestStretch;
  while (stretch * kMostStretches < tokens) stretch *= 2;
  return stretch;
}
/// Stretches of any number of tokens up to this one.
inline int64_t most_stretches(int64_t tokens) {
  return std::min(kMostStretches, ceil_div(std::max<int64_t>(tokens, 0), kShortestStretch));
}

/// Sums over rows of partials, added to up to three targets of `width` columns each.
struct PartialSums {
  Extent tokens;  ///< partials of stretches that begin beyond the actual extent are not read
  int32_t stretch = 1;
  int32_t width = 0;
  int32_t sums = 0;
  const float* partials = nullptr;
  float* target[3] = {};
};

constexpr int kSumWarps = 32;
constexpr int kSumThreads = 32 * kSumWarps;

/// Adds the rows first … last − 1 of a matrix at `column`, in order, eight loads at a time.
__device__ __forceinline__ float sum_of_rows(const float* column, int64_t first, int64_t last, int64_t stride) {
  float total = 0;
  int64_t r = first;
  for (; r + 8 <= last; r += 8) {
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = column[(r + i) * stride];
#pragma unroll
    for (int i = 0; i < 8; ++i) total += v[i];
  }
  for (; r < last; ++r) total += column[r * stride];
  return total;
}

/// The sum over rows of a matrix in column blockIdx.x · 32 + lane, for all of a block of 32 warps: each warp adds an
/// equal part of the rows, then the parts are added in order. Valid in warp 0. `parts` is [32 · 32] of shared memory.
__device__ __forceinline__ float sum_in_block(const float* matrix, int64_t rows, int64_t columns, float* parts) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const int64_t part = (rows + kSumWarps - 1) / kSumWarps;
  const int64_t first = warp * part, last = first + part < rows ? first + part : rows;
  parts[threadIdx.x] = column < columns ? sum_of_rows(matrix + column, first, last, columns) : 0.0f;
  __syncthreads();
  float total = 0;
  if (warp == 0) {
#pragma unroll
    for (int w = 0; w < kSumWarps; ++w) total += parts[w * 32 + lane];
  }
  return total;
}

/// Launched with 32 warps for every 32 columns of the partials.
__device__ __forceinline__ void add_partial_sums(const PartialSums& p, float* parts) {
  const int64_t columns = static_cast<int64_t>(p.sums) * p.width;
  const int64_t rows = (actual_of(p.tokens) + p.stretch - 1) / p.stretch;
  const float total = sum_in_block(p.partials, rows, columns, parts);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + threadIdx.x;
  if (threadIdx.x >= 32 || column >= columns) return;
  const int which = static_cast<int>(column / p.width);
  float* target = which == 0 ? p.target[0] : which == 1 ? p.target[1] : p.target[2];
  target[column - static_cast<int64_t>(which) * p.width] += total;
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) add_partials(PartialSums p) {
  ELECTRA_SHARED(float, parts, kThreads);
  add_partial_sums(p, parts);
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

/// One row: kLanes lanes with kPer elements each.
template <typename T, bool kEmbedding, int kLanes, int kPer>
__global__ void __launch_bounds__(256) norm_forward(NormForwardRows<T> p) {
  constexpr int kVector = kRowVector<T>, kSteps = kPer / kVector;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kLanes) + threadIdx.x / kLanes;
  const int64_t actual = actual_of(p.tokens);
  const bool counts = t < actual;  // lanes of rows that do not count still take part in the sums

  float v[kPer];
#pragma unroll
  for (int i = 0; i < kPer; ++i) v[i] = 0;
  DropoutStream dropout;
  if (counts && kEmbedding) {
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
    dropout = DropoutStream(p.dropout, t, static_cast<uint32_t>(p.width));
  } else if (counts) {
    // All loads of the row first: they are what the kernel waits for.
    Packed<T, kVector> x[kSteps], residual[kSteps];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      x[s] = load_packed<kVector>(p.x.row(t) + column);
      if (p.residual) residual[s] = load_packed<kVector>(p.residual.row(t) + column);
    }
    dropout = DropoutStream(p.dropout, t, static_cast<uint32_t>(p.width));
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      float* here = v + s * kVector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) here[i] = to_float(x[s][i]);
      if (p.bias != nullptr) {
        float bias[kVector];
        read_row<kVector>(p.bias + column, bias);
#pragma unroll
        for (int i = 0; i < kVector; ++i) here[i] += bias[i];
      }
      if (dropout.drops()) dropout.apply<kVector>(column, here);
      if (p.residual) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) here[i] += to_float(residual[s][i]);
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

  if (t >= p.tokens.capacity) return;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int column = (s * kLanes + lane) * kVector;
    if (column >= p.width) continue;
    float* here = v + s * kVector;
    if (counts) {
      float gamma[kVector], beta[kVector];
      read_row<kVector>(p.gamma + column, gamma);
      read_row<kVector>(p.beta + column, beta);
#pragma unroll
      for (int i = 0; i < kVector; ++i) here[i] = (here[i] - mean) * rstd;
      if (p.normalized) write_row<kVector>(p.normalized.row(t) + column, here);
#pragma unroll
      for (int i = 0; i < kVector; ++i) here[i] = here[i] * gamma[i] + beta[i];
      if (kEmbedding && dropout.drops()) dropout.apply<kVector>(column, here);
    } else if (p.normalized) {
      write_row<kVector>(p.normalized.row(t) + column, here);  // zeros
    }
    write_row<kVector>(p.y.row(t) + column, here);
  }
  if (p.rstd != nullptr && lane == 0) p.rstd[t] = counts ? rstd : 0.0f;
}

/// Any width and any alignment: a warp walks its row three times, element by element. y may be the residual, for
/// the same lane reads and writes an element.
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

/// Few threads a block: a warp then walks at least 8 rows, over which its sums and its first loads pay, and the sums
/// of wide rows need up to 220 registers.
constexpr int kBackwardThreads = 128;

/// A block walks its stretch; a row's loads are issued while the row before it is being worked on, where registers
/// allow.
template <typename T, bool kEmbedding, int kLanes, int kPer>
__global__ void __launch_bounds__(kBackwardThreads) norm_backward(NormBackwardRows<T> p) {
  constexpr int kVector = kRowVector<T>, kSteps = kPer / kVector;
  constexpr int kGroups = kBackwardThreads / kLanes;
  constexpr bool kAhead = kPer <= 16;
  ELECTRA_DYNAMIC_SHARED(float, shared);  // [kGroups][width]
  const int lane = static_cast<int>(threadIdx.x) % kLanes, group = static_cast<int>(threadIdx.x) / kLanes;
  const int64_t actual = actual_of(p.tokens);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * p.stretch;
  const float inverse_width = 1.0f / static_cast<float>(p.width);

  float d_gamma[kPer], d_beta[kPer], d_bias[kPer];
#pragma unroll
  for (int i = 0; i < kPer; ++i) d_gamma[i] = d_beta[i] = d_bias[i] = 0;

  Packed<T, kVector> dy_ahead[kSteps], normalized_ahead[kSteps];
  const auto load = [&](int64_t t) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (t < actual && column < p.width) {
        dy_ahead[s] = load_packed<kVector>(p.dy.row(t) + column);
        normalized_ahead[s] = load_packed<kVector>(p.normalized.row(t) + column);
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i) dy_ahead[s][i] = normalized_ahead[s][i] = from_float<T>(0.0f);
      }
    }
  };
  if (kAhead) load(first + group);
  // A stretch is a multiple of the groups, so all groups of a warp go round equally often.
  for (int r = group; r < p.stretch; r += kGroups) {
    const int64_t t = first + r;
    const bool counts = t < actual;
    if (!kAhead) load(t);
    float g[kPer], n[kPer];
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      g[i] = to_float(dy_ahead[i / kVector][i % kVector]);
      n[i] = to_float(normalized_ahead[i / kVector][i % kVector]);
    }
    if (kAhead && r + kGroups < p.stretch) load(t + kGroups);
    DropoutStream dropout;
    if (counts) dropout = DropoutStream(p.dropout, t, static_cast<uint32_t>(p.width));

    float sum_g = 0, sum_gn = 0;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      float* here = g + s * kVector;
      if (kEmbedding && dropout.drops()) dropout.apply<kVector>(column, here);
      float gamma[kVector];
      read_row<kVector>(p.gamma + column, gamma);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const int e = s * kVector + i;
        d_gamma[e] += here[i] * n[e];
        d_beta[e] += here[i];
        here[i] *= gamma[i];
        sum_g += here[i];
        sum_gn += here[i] * n[e];
      }
    }
    const float mean = sum_over_lanes<kLanes>(sum_g) * inverse_width;
    const float slope = sum_over_lanes<kLanes>(sum_gn) * inverse_width;
    const float rstd = counts ? p.rstd[t] : 0.0f;

    if (t >= p.tokens.capacity) continue;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      float* d = g + s * kVector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) d[i] = (d[i] - mean - n[s * kVector + i] * slope) * rstd;
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

  const auto flush = [&](const float* sums, int which) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (s * kLanes + lane) * kVector;
      if (column >= p.width) continue;
      write_row<kVector>(shared + group * p.width + column, sums + s * kVector);
    }
    __syncthreads();
    float* partial = p.partials + (static_cast<int64_t>(blockIdx.x) * p.sums + which) * p.width;
    for (int column = static_cast<int>(threadIdx.x); column < p.width; column += static_cast<int>(blockDim.x)) {
      float total = 0;
#pragma unroll
      for (int k = 0; k < kGroups; ++k) total += shared[k * p.width + column];
      partial[column] = total;
    }
    __syncthreads();
  };
  flush(d_gamma, 0);
  flush(d_beta, 1);
  if (!kEmbedding && p.sums > 2) flush(d_bias, 2);
}

/// Any width and any alignment. First the warps find the two means of every row of the stretch, then each thread
/// owns columns and walks the rows in order.
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
    for (int column = static_cast<int>(threadIdx.x); column < p.width; column += static_cast<int>(blockDim.x)) {
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
    launch(name, norm_forward<T, kEmbedding, Shape::kLanes, Shape::kPer>, dim3(blocks), dim3(256), 0, stream, rows);
  });
  if (done) return;
  launch(name, norm_forward_plain<T, kEmbedding>, dim3(static_cast<unsigned>(ceil_div(capacity, 8))), dim3(256), 0,
         stream, rows);
}

/// Leaves a row of partials for every stretch of tokens.
template <bool kEmbedding, typename T>
void launch_norm_backward(const NormBackwardRows<T>& rows, bool aligned, cudaStream_t stream) {
  const int64_t capacity = rows.tokens.capacity;
  if (capacity == 0 || rows.width == 0) return;
  const char* name = kEmbedding ? "embedding_norm_backward" : "norm_backward";
  const unsigned blocks = static_cast<unsigned>(ceil_div(capacity, rows.stretch));
  const bool done = aligned && with_row_shape(rows.width, [&](auto shape) {
    using Shape = decltype(shape);
    const size_t bytes = static_cast<size_t>(kBackwardThreads / Shape::kLanes) * rows.width * sizeof(float);
    launch(name, norm_backward<T, kEmbedding, Shape::kLanes, Shape::kPer>, dim3(blocks), dim3(kBackwardThreads),
           bytes, stream, rows);
  });
  if (done) return;
  launch(name, norm_backward_plain<T, kEmbedding>, dim3(blocks), dim3(256), 0, stream, rows);
}

inline void launch_add_partials(const PartialSums& sums, cudaStream_t stream) {
  const int64_t columns = static_cast<int64_t>(sums.sums) * sums.width;
  if (columns == 0 || sums.tokens.capacity == 0) return;
  launch("add_partials", add_partials<kSumThreads>, dim3(static_cast<unsigned>(ceil_div(columns, 32))),
         dim3(kSumThreads), 0, stream, sums);
}

inline bool parameter_is_aligned(const float* parameter) {
  return reinterpret_cast<uintptr_t>(parameter) % 16 == 0;
}

}  // namespace electra::cuda
