// Embeddings: LayerNorm(word + token type + position), then dropout, forward in one pass: every token gathers
// its three rows (f32, mostly from the L2), and y and x̂ are written once.
//
// Backward, with u = T · E elements of an activation:
//
// 1. The row pass of norm_rows.h takes dy back through dropout and LayerNorm to the gradient g of the sum
// (reads 2u, writes u to `scratch`) and leaves partial sums of d_γ and d_β.
//
// 2. d_word[id] += Σ g over the tokens with that id, in token order. The discriminator's ids are made on the
// device, so (id, token) is sorted there (token_sort.h) and the sorted list is cut into stretches of equal
// length, a warp and 128 columns each. A run of equal ids inside a stretch goes to the table at once. One
// that crosses into the next stretch leaves a partial sum on either side, and a second kernel adds those in
// order: [MASK] is an eighth of a generator's input, and no warp may walk it alone. Reads u, reads and writes
// the touched rows of the table.
//
// 3. d_position[p] += Σ g over the rows of the batch that have a position p: a block owns a position (reads
// u), and keeps the sums of the two token types apart on the way; d_token_type adds those over positions in
// order.
//
// All sums have a fixed order; no float atomics. Kernels that do not wait for each other share a launch,
// blocks of the one after blocks of the other: 3 launches sort, then the row pass, the sums by word and by
// position, and what they left over. In bytes: 3u for the row pass, 2u for the sums (from the L2 while
// scratch fits there), 8 bytes a column of the table for each id that occurs, 32 bytes a token for the sort.

#include <algorithm>

#include "../cuda_operators.h"
#include "../scratch.h"
#include "norm_rows.h"
#include "token_sort.h"

namespace electra::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kBatch = 8;  // rows whose loads are in flight together

/// Sorted tokens of a warp of sum_words: a power of two, so that there are at most kMostWordStretches.
constexpr int64_t kShortestWordStretch = 16;
constexpr int64_t kMostWordStretches = 1024;
int64_t word_stretch_of(int64_t tokens) {
  int64_t stretch = kShortestWordStretch;
  while (stretch * kMostWordStretches < tokens) stretch *= 2;
  return stretch;
}
/// Stretches of any number of tokens up to this one.
int64_t most_word_stretches(int64_t tokens) {
  return std::min(kMostWordStretches, ceil_div(std::max<int64_t>(tokens, 0), kShortestWordStretch));
}

/// What backward keeps between its kernels.
struct EmbeddingScratch {
  SortScratch sort;
  float* norm;  ///< [stretches][2][E] d_gamma, d_beta
  float* word;  ///< [word stretches][2][E] the run that comes from the stretch before, the run that goes on
  float* type;  ///< [pitch][2][E] sums of token types 0 and 1
  int32_t* present;  ///< [pitch] bit 0: type 0, bit 1: type 1, bit 2: any other

  EmbeddingScratch(Scratch& scratch, int64_t tokens, int64_t pitch, int64_t width)
      : sort(scratch, tokens),
        norm(scratch.take<float>(most_stretches(tokens) * 2 * width)),
        word(scratch.take<float>(most_word_stretches(tokens) * 2 * width)),
        type(scratch.take<float>(pitch * 2 * width)),
        present(scratch.take<int32_t>(pitch)) {}
};

template <typename T>
struct TableGradients {
  Extent tokens;
  RowsOf<const T> gradient;  ///< of the sum, by token
  int32_t width = 0;
  SortedKeys sorted;
  int32_t stretch = 0;  ///< of the sorted list
  int32_t batch = 0;
  int32_t pitch = 0;
  const int32_t* offsets = nullptr;
  const int32_t* segments = nullptr;
  float* word_partials = nullptr;
  float* type_partials = nullptr;
  int32_t* present = nullptr;
  float* d_word = nullptr;
  float* d_token_type = nullptr;
  float* d_position = nullptr;
  PartialSums norm;
  int32_t word_blocks = 0;  ///< of a launch; those of the other kind follow
};

/// Adds runs of equal ids: a warp has a stretch of the sorted list and 32 · kVector columns.
template <typename T, int kVector>
__device__ __forceinline__ void sum_words(const TableGradients<T>& p) {
  const SortedKeys& sorted = p.sorted;
  const int32_t stretch = p.stretch;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t s = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t count = actual_of(p.tokens), begin = s * stretch;
  if (begin >= count) return;  // whole warps
  const int64_t end = begin + stretch < count ? begin + stretch : count;
  const int column = (static_cast<int>(blockIdx.y) * 32 + lane) * kVector;
  const bool inside = column < p.width;
  float* partial = p.word_partials + s * 2 * p.width + column;

  bool inherited =
      begin > 0 && sorted.key[begin - 1] == sorted.key[begin];  // the run began before this stretch
  float sum[kVector];
#pragma unroll
  for (int k = 0; k < kVector; ++k) sum[k] = 0;
  bool open = false;  // the last run seen goes on
  for (int64_t base = begin; base < end; base += 32) {
    const int64_t i = base + lane;
    const int32_t key = i < end ? sorted.key[i] : sorted.limit;
    const int32_t place = i < end ? sorted.place[i] : 0;
    const uint32_t run_ends =
        __ballot_sync(kFullWarp, i < end && (i + 1 == count || sorted.key[i + 1] != key));
    const int rows = end - base < 32 ? static_cast<int>(end - base) : 32;
    open = (run_ends >> (rows - 1) & 1u) == 0;
    for (int j = 0; j < rows; j += kBatch) {
      float row[kBatch][kVector], table[kBatch][kVector];
      float* target[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int64_t token = __shfl_sync(kFullWarp, place, j + b);
        const int32_t id = __shfl_sync(kFullWarp, key, j + b);
        target[b] = id < sorted.limit ? p.d_word + static_cast<int64_t>(id) * p.width + column : nullptr;
        if (!inside || j + b >= rows) continue;
        read_row<kVector>(p.gradient.row(token) + column, row[b]);
        if ((run_ends >> (j + b) & 1u) != 0 && target[b] != nullptr) read_row<kVector>(target[b], table[b]);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (!inside || j + b >= rows) continue;
#pragma unroll
        for (int k = 0; k < kVector; ++k) sum[k] += row[b][k];
        if ((run_ends >> (j + b) & 1u) == 0) continue;
        if (inherited) {
          write_row<kVector>(partial, sum);
        } else if (target[b] != nullptr) {
#pragma unroll
          for (int k = 0; k < kVector; ++k) table[b][k] += sum[k];
          write_row<kVector>(target[b], table[b]);
        }
        inherited = false;
#pragma unroll
        for (int k = 0; k < kVector; ++k) sum[k] = 0;
      }
    }
  }
  if (open && inside) write_row<kVector>(inherited ? partial : partial + p.width, sum);
}

/// A block for each stretch and 32 · kVector columns: if a run begins in the stretch and leaves it, adds its
/// parts.
template <typename T, int kVector>
__device__ __forceinline__ void join_words(const TableGradients<T>& p, float* sums) {
  const SortedKeys& sorted = p.sorted;
  const int32_t stretch = p.stretch, width = p.width;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t count = actual_of(p.tokens), s = blockIdx.x;
  const int64_t begin = s * stretch, end = begin + stretch;
  if (end >= count) return;  // the whole block, as below
  const int32_t id = sorted.key[end - 1];
  if (sorted.key[end] != id || id >= sorted.limit) return;
  if (begin > 0 && sorted.key[begin - 1] == id) return;
  // Stretch s + k is reached if it begins with the id.
  const int32_t parts = partition_point(1, static_cast<int32_t>((count - 1) / stretch - s + 1), lane,
                                        [&](int32_t k) { return sorted.key[(s + k) * stretch] == id; });
  const int column = (static_cast<int>(blockIdx.y) * 32 + lane) * kVector;
  const bool inside = column < width;
  const int32_t share = (parts + kWarps - 1) / kWarps;
  const int32_t first = warp * share, last = first + share < parts ? first + share : parts;
  float sum[kVector];
#pragma unroll
  for (int k = 0; k < kVector; ++k) sum[k] = 0;
  for (int32_t i = first; i < last; i += kBatch) {
    float part[kBatch][kVector];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      // The first part went on from stretch s, the others came into theirs.
      if (inside && i + b < last)
        read_row<kVector>(p.word_partials + ((s + i + b) * 2 + (i + b == 0 ? 1 : 0)) * width + column,
                          part[b]);
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      if (!inside || i + b >= last) continue;
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] += part[b][k];
    }
  }
  write_row<kVector>(sums + (warp * 32 + lane) * kVector, sum);
  __syncthreads();
  if (warp != 0 || !inside) return;
  float total[kVector];
  float* target = p.d_word + static_cast<int64_t>(id) * width + column;
  read_row<kVector>(target, total);
#pragma unroll
  for (int k = 0; k < kVector; ++k) sum[k] = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
#pragma unroll
    for (int k = 0; k < kVector; ++k) sum[k] += sums[(w * 32 + lane) * kVector + k];
  }
#pragma unroll
  for (int k = 0; k < kVector; ++k) total[k] += sum[k];
  write_row<kVector>(target, total);
}

constexpr int kPositionSums = 3;  // of types 0, 1, any other

/// A block owns a position and 32 · kVector columns; its warps take equal parts of the batch's rows. `sums`
/// is [kWarps] [kPositionSums][32 · kVector].
template <typename T, int kVector>
__device__ __forceinline__ void sum_positions(const TableGradients<T>& p, int32_t position, float* sums) {
  constexpr int kColumns = 32 * kVector, kSums = kPositionSums;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int column = (static_cast<int>(blockIdx.y) * 32 + lane) * kVector;
  const bool inside = column < p.width;
  const int32_t share = (p.batch + kWarps - 1) / kWarps;
  const int32_t first = warp * share, last = first + share < p.batch ? first + share : p.batch;

  float sum[kSums][kVector];
#pragma unroll
  for (int n = 0; n < kSums; ++n) {
#pragma unroll
    for (int k = 0; k < kVector; ++k) sum[n][k] = 0;
  }
  int seen = 0;
  for (int32_t base = first; base < last; base += 32) {
    int32_t token = -1, kind = 0;
    if (base + lane < last) {
      const int32_t start = p.offsets[base + lane];
      if (position < p.offsets[base + lane + 1] - start) {
        token = start + position;
        const int32_t segment = p.segments[token];
        kind = segment == 0 ? 0 : segment == 1 ? 1 : 2;
        seen |= 1 << kind;
      }
    }
    for (int j = 0; j < 32 && base + j < last; j += kBatch) {
      float row[kBatch][kVector];
      int kinds[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int64_t t = __shfl_sync(kFullWarp, token, j + b);
        kinds[b] = __shfl_sync(kFullWarp, kind, j + b);
        if (t >= 0 && inside) {
          read_row<kVector>(p.gradient.row(t) + column, row[b]);
        } else {
#pragma unroll
          for (int k = 0; k < kVector; ++k) row[b][k] = 0;
        }
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
#pragma unroll
        for (int n = 0; n < kSums; ++n) {
#pragma unroll
          for (int k = 0; k < kVector; ++k) sum[n][k] += kinds[b] == n ? row[b][k] : 0.0f;
        }
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kSums; ++n)
    write_row<kVector>(sums + (warp * kSums + n) * kColumns + lane * kVector, sum[n]);
  const int any = (__syncthreads_or(seen & 1) ? 1 : 0) | (__syncthreads_or(seen & 2) ? 2 : 0) |
                  (__syncthreads_or(seen & 4) ? 4 : 0);
  if (threadIdx.x == 0 && blockIdx.y == 0) p.present[position] = any;
  const int mine = static_cast<int>(blockIdx.y) * kColumns + static_cast<int>(threadIdx.x);
  if (static_cast<int>(threadIdx.x) >= kColumns || mine >= p.width) return;
  float total[kSums];
#pragma unroll
  for (int n = 0; n < kSums; ++n) {
    total[n] = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total[n] += sums[(w * kSums + n) * kColumns + threadIdx.x];
  }
  if (any != 0)
    p.d_position[static_cast<int64_t>(position) * p.width + mine] += total[0] + total[1] + total[2];
  float* type = p.type_partials + static_cast<int64_t>(position) * 2 * p.width + mine;
  type[0] = total[0];
  type[p.width] = total[1];
}

/// d_token_type in 32 columns, from the positions. Types beyond the first two have no partials: BERT has two,
/// and who has more pays for it here, where a thread then walks all tokens for its column.
template <typename T>
__device__ __forceinline__ void add_token_types(const TableGradients<T>& p, int64_t tile, float* parts) {
  const int64_t columns = 2 * static_cast<int64_t>(p.width);
  int seen = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < p.pitch; i += kThreads) seen |= p.present[i];
  const bool has_second = __syncthreads_or(seen & 2) != 0, has_more = __syncthreads_or(seen & 4) != 0;
  const float total = sum_in_block<kThreads>(p.type_partials, p.pitch, columns, tile, parts);
  const int64_t column = tile * 32 + threadIdx.x;
  if (threadIdx.x >= 32 || column >= columns) return;
  // With a single type the table ends after it.
  if (column < p.width || has_second) p.d_token_type[column] += total;
  if (!has_more || column >= p.width) return;
  const int64_t count = actual_of(p.tokens);
  for (int64_t t = 0; t < count; ++t) {
    const int32_t segment = p.segments[t];
    if (segment >= 2)
      p.d_token_type[static_cast<int64_t>(segment) * p.width + column] += to_float(p.gradient.row(t)[column]);
  }
}

/// Blocks of kWarps stretches, then blocks of a position; blockIdx.y counts the columns' tiles.
template <typename T, int kVector>
__global__ void __launch_bounds__(kThreads, 2) sum_tables(TableGradients<T> p) {
  ELECTRA_SHARED(float, sums, kWarps * kPositionSums * 32 * kVector);
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  if (block < p.word_blocks)
    sum_words<T, kVector>(p);
  else
    sum_positions<T, kVector>(p, block - p.word_blocks, sums);
}

/// Blocks of a stretch and a tile of columns, then (in the first row of blocks) those of 32 columns of
/// d_gamma and d_beta, then those of d_token_type.
template <typename T, int kVector>
__global__ void __launch_bounds__(kThreads) finish_tables(TableGradients<T> p) {
  ELECTRA_SHARED(float, sums, kThreads* kVector);
  const int32_t block = static_cast<int32_t>(blockIdx.x) - p.word_blocks;
  if (block < 0) {
    join_words<T, kVector>(p, sums);
    return;
  }
  if (blockIdx.y > 0) return;
  const int32_t tiles = (2 * p.width + 31) / 32;
  if (block < tiles)
    add_partial_sums<kThreads>(p.norm, block, sums);
  else
    add_token_types(p, block - tiles, sums);
}

template <typename T, int kVector>
void launch_table_sums(const EmbeddingBackward& p, const SortedKeys& sorted, const EmbeddingScratch& scratch,
                       cudaStream_t stream) {
  const int64_t capacity = p.rows.tokens.capacity, width = p.dy.cols, stretch = word_stretch_of(capacity);
  const int64_t stretches = ceil_div(capacity, stretch);
  const unsigned tiles = static_cast<unsigned>(ceil_div(width, 32 * kVector));
  TableGradients<T> tables;
  tables.tokens = p.rows.tokens;
  tables.gradient = RowsOf<const T>(p.scratch);
  tables.width = static_cast<int32_t>(width);
  tables.sorted = sorted;
  tables.stretch = static_cast<int32_t>(stretch);
  tables.batch = p.rows.batch;
  tables.pitch = p.rows.pitch;
  tables.offsets = p.rows.offsets;
  tables.segments = p.segments;
  tables.word_partials = scratch.word;
  tables.type_partials = scratch.type;
  tables.present = scratch.present;
  tables.d_word = p.d_word;
  tables.d_token_type = p.d_token_type;
  tables.d_position = p.d_position;
  tables.norm.rows = static_cast<int32_t>(ceil_div(capacity, stretch_of(capacity, width)));
  tables.norm.width = tables.width;
  tables.norm.sums = 2;
  tables.norm.partials = scratch.norm;
  tables.norm.target[0] = p.d_gamma;
  tables.norm.target[1] = p.d_beta;
  tables.word_blocks = static_cast<int32_t>(ceil_div(stretches, kWarps));
  launch("embedding_sums", sum_tables<T, kVector>,
         dim3(static_cast<unsigned>(tables.word_blocks + tables.pitch), tiles), dim3(kThreads), 0, stream,
         tables);
  tables.word_blocks = static_cast<int32_t>(stretches);
  launch("embedding_finish", finish_tables<T, kVector>,
         dim3(static_cast<unsigned>(stretches + 2 * ceil_div(2 * width, 32)), tiles), dim3(kThreads), 0,
         stream, tables);
}

}  // namespace

size_t embedding_workspace(const Capacity& capacity) {
  Scratch scratch;
  EmbeddingScratch pieces(scratch, capacity.tokens, capacity.pitch, capacity.max_width);
  return scratch.size();
}

void CudaOperators::embedding_forward(const EmbeddingForward& p) {
  const char* name = "embedding_forward";
  const int64_t capacity = p.rows.tokens.capacity, width = p.y.cols;
  check_matrix(p.y, capacity, width, compute(), name, "y");
  if (p.normalized) check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  const TokenDropout dropout = token_dropout(p.dropout, p.rows, name);
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormForwardRows<T> rows;
    rows.tokens = p.rows.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.ids = p.ids;
    rows.segments = p.segments;
    rows.positions = p.rows.token_position;
    rows.word = p.word;
    rows.token_type = p.token_type;
    rows.position = p.position;
    rows.dropout = dropout;
    rows.gamma = p.gamma;
    rows.beta = p.beta;
    rows.y = RowsOf<T>(p.y);
    rows.normalized = RowsOf<T>(p.normalized);
    rows.rstd = p.rstd;
    const bool aligned = rows_are_aligned(p.y, kRowVector<T>) &&
                         rows_are_aligned(p.normalized, kRowVector<T>) && parameter_is_aligned(p.word) &&
                         parameter_is_aligned(p.token_type) && parameter_is_aligned(p.position) &&
                         parameter_is_aligned(p.gamma) && parameter_is_aligned(p.beta);
    launch_norm_forward<true>(rows, aligned, stream());
  });
}

void CudaOperators::embedding_backward(const EmbeddingBackward& p) {
  const char* name = "embedding_backward";
  const int64_t capacity = p.rows.tokens.capacity, width = p.dy.cols;
  check_matrix(p.dy, capacity, width, compute(), name, "dy");
  check_matrix(p.normalized, capacity, width, compute(), name, "normalized");
  check_matrix(p.scratch, capacity, width, compute(), name, "scratch");
  if (capacity == 0 || width == 0) return;
  const TokenDropout dropout = token_dropout(p.dropout, p.rows, name);
  const int64_t stretch = stretch_of(capacity, width);
  Scratch measure;
  EmbeddingScratch measured(measure, capacity, p.rows.pitch, width);
  Scratch memory(workspace(measure.size()));
  const EmbeddingScratch scratch(memory, capacity, p.rows.pitch, width);
  const SortedKeys sorted = sort_keys(p.ids, p.rows.tokens, capacity_.vocabulary, scratch.sort, stream());
  with_type(compute(), [&](auto type) {
    using T = decltype(type);
    NormBackwardRows<T> rows;
    rows.tokens = p.rows.tokens;
    rows.width = static_cast<int32_t>(width);
    rows.stretch = static_cast<int32_t>(stretch);
    rows.dy = RowsOf<const T>(p.dy);
    rows.dropout = dropout;
    rows.gamma = p.gamma;
    rows.normalized = RowsOf<const T>(p.normalized);
    rows.rstd = p.rstd;
    rows.d_sum = RowsOf<T>(p.scratch);
    rows.partials = scratch.norm;
    const bool aligned = rows_are_aligned(p.dy, kRowVector<T>) &&
                         rows_are_aligned(p.normalized, kRowVector<T>) &&
                         rows_are_aligned(p.scratch, kRowVector<T>) && parameter_is_aligned(p.gamma);
    launch_norm_backward<true>(rows, aligned, stream());
    if (rows_are_aligned(p.scratch, 4) && parameter_is_aligned(p.d_word))
      launch_table_sums<T, 4>(p, sorted, scratch, stream());
    else
      launch_table_sums<T, 1>(p, sorted, scratch, stream());
  });
}

}  // namespace electra::cuda
