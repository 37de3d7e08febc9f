// The language-model head: logits = x · tableᵀ + bias and all that is wanted of them: loss, argmax, draws,
// log q, gradients. R = 2,432 rows of V = 30,522 words make 297 MB of f32 logits, so they never exist as a
// whole.
//
// Rows come in chunks of up to 48 MB of logits (384 rows), which the second-level cache mostly holds. A chunk
// is, in this order, a product, with the bias in its epilogue; one kernel for everything that is wanted of
// the rows, gradient included (head_rows.h): 4 V bytes a row in, twice, of which the second time comes from
// the cache whatever the size of the chunk, and 2 V out in bf16; and column sums of the gradient for the bias
// (2 V bytes a row) while it is still warm. A group of chunks ends with dx = d · table and d_table += dᵀ · x.
//
// The gradient d is stored as the products take it. In f32 it replaces the logits. In bf16 it is compacted in
// place: row r's bf16 lie in the first half of row r's f32 (a product does not mind a row stride of 2 ·
// pitch), which keeps the chunk's footprint at 4 V bytes a row instead of 6, and that is what decides whether
// the products that follow find it in the cache. Each d_table product reads and writes 8 V E bytes, though:
// at E = 768 a group of one chunk would move 16 V bytes a row for that alone. So wide tables (E ≥ 512)
// collect the bf16 gradients of five chunks in a buffer of their own (117 MB) before the two products.
//
// For R = 2,432, V = 30,522, E = 128 in bf16: 57 GFLOP of products; logits 0.3 GB out and 0.6 GB in,
// gradients 0.15 GB out and 0.45 GB in, mostly within the cache; 31 MB of d_table in and out for each chunk.

#include <algorithm>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "../scratch.h"
#include "head_rows.h"

namespace electra::cuda {
namespace {

constexpr int64_t kChunkFloats = int64_t{12} << 20;  // of logits: 48 MB
constexpr int64_t kLeastChunkRows = 64;
constexpr int64_t kGroupChunks = 5;
constexpr int64_t kWideTable = 512;
constexpr int kBiasColumns = 128;
constexpr int kBiasRows = 8;
constexpr int kSumThreads = 1024;

/// d_bias += column sums of the chunk's gradient. A block owns 128 columns over all rows of the chunk, warp w
/// takes rows w, w + 8, …, and the eight sums are added in order: no partial results in memory, and an order
/// that depends on shapes alone.
template <typename T>
__global__ void __launch_bounds__(32 * kBiasRows)
    head_bias_kernel(Extent rows, int64_t first, int64_t count, const T* gradient, int64_t pitch,
                     int32_t vocabulary, float* d_bias) {
  ELECTRA_SHARED(float, sums, (kBiasRows * kBiasColumns));
  const int64_t left = actual_of(rows) - first, last = left < count ? left : count;
  const int32_t column =
      static_cast<int32_t>(blockIdx.x) * kBiasColumns + static_cast<int32_t>(threadIdx.x) * 4;
  float total[4] = {0, 0, 0, 0};
  if (column < vocabulary) {
#pragma unroll 8
    for (int64_t r = threadIdx.y; r < last; r += kBiasRows) {
      const Packed<T, 4> d = load_packed<4>(gradient + r * pitch + column);
#pragma unroll
      for (int j = 0; j < 4; ++j) total[j] += to_float(d[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) sums[threadIdx.y * kBiasColumns + threadIdx.x * 4 + j] = total[j];
  __syncthreads();
  const int32_t thread = static_cast<int32_t>(threadIdx.y * 32 + threadIdx.x);
  const int32_t mine = static_cast<int32_t>(blockIdx.x) * kBiasColumns + thread;
  if (thread >= kBiasColumns || mine >= vocabulary) return;
  float sum = sums[thread];
#pragma unroll
  for (int r = 1; r < kBiasRows; ++r) sum += sums[r * kBiasColumns + thread];
  d_bias[mine] += sum;
}

/// The sums of a step, by one block: thread t adds rows t, t + 1024, … in double. Also clears the slots that
/// do not count.
__global__ void __launch_bounds__(kSumThreads)
    head_sums_kernel(LanguageModelHead p, const float* row_nll, const float* row_correct) {
  const int64_t rows = actual_of(p.rows), slots = actual_of(p.slots);
  if (p.sample)
    for (int64_t s = slots + threadIdx.x; s < p.slots.capacity; s += kSumThreads) p.sampled[s] = 0;
  if (p.sums == nullptr) return;
  double loss = 0, weight = 0, correct = 0, sampled = 0;
  if (p.targets != nullptr) {
    for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) {
      const double w = p.weights != nullptr ? static_cast<double>(p.weights[r]) : 1.0;
      if (w == 0) continue;
      weight += w;
      loss += w * static_cast<double>(row_nll[r]);
      correct += w * static_cast<double>(row_correct[r]);
    }
    loss = block_sum<kSumThreads>(loss);
    weight = block_sum<kSumThreads>(weight);
    correct = block_sum<kSumThreads>(correct);
  }
  const bool counts_samples = p.sampled != nullptr && p.slot_target != nullptr;
  if (counts_samples) {
    for (int64_t s = threadIdx.x; s < slots; s += kSumThreads)
      sampled += p.sampled[s] == p.slot_target[s] ? 1 : 0;
    sampled = block_sum<kSumThreads>(sampled);
  }
  if (threadIdx.x != 0) return;
  p.sums->loss += loss;
  p.sums->weight += weight;
  p.sums->correct += correct;
  if (!counts_samples) return;
  p.sums->sampled_correct += sampled;
  p.sums->slots += static_cast<double>(slots);
}

// ---------------------------------------------------------------------------------------------------------------------

int64_t pitch_of(int64_t vocabulary) { return ceil_div(vocabulary, 64) * 64; }

/// Rows of a chunk: whole tiles of the products where there is room for them.
int64_t chunk_rows(int64_t vocabulary) {
  const int64_t rows = kChunkFloats / pitch_of(vocabulary);
  return rows >= 128 ? rows / 128 * 128 : std::max(rows, kLeastChunkRows);
}

struct Memory {
  float* logits;
  __nv_bfloat16* gradients;  ///< of a group of chunks; null where the gradient takes the place of the logits
  float* row_nll;
  float* row_correct;
};

/// The bounds grow with rows and vocabulary, so that a reservation also holds for smaller shapes.
Memory lay_out(Scratch& scratch, int64_t rows, int64_t vocabulary, bool grouped) {
  const int64_t pitch = pitch_of(vocabulary);
  const int64_t logits = std::min(rows * pitch, std::max(kChunkFloats, kLeastChunkRows * pitch));
  Memory memory;
  memory.logits = scratch.take<float>(logits);
  memory.gradients =
      grouped ? scratch.take<__nv_bfloat16>(std::min(rows * pitch, kGroupChunks * logits)) : nullptr;
  memory.row_nll = scratch.take<float>(rows);
  memory.row_correct = scratch.take<float>(rows);
  return memory;
}

void check(const LanguageModelHead& p, DType compute) {
  const int64_t rows = p.rows.capacity, vocabulary = p.table.rows, width = p.table.cols;
  ELECTRA_CHECK_SHAPE(vocabulary > 0 && vocabulary < (int64_t{1} << 30) && width > 0 &&
                          p.table.master != nullptr && p.table.stride >= width,
                      "language_model_head: table is [%lld, %lld] with stride %lld",
                      static_cast<long long>(vocabulary), static_cast<long long>(width),
                      static_cast<long long>(p.table.stride));
  check_matrix(p.x, rows, width, compute, "language_model_head", "x");
  if (p.dx) check_matrix(p.dx, rows, width, compute, "language_model_head", "dx");
  ELECTRA_CHECK_SHAPE(!p.dx || (p.targets != nullptr && p.scale != nullptr),
                      "language_model_head: a gradient needs targets and their scale");
  ELECTRA_CHECK_SHAPE(
      !p.sample || (p.sampled != nullptr &&
                    (p.given_uniform != nullptr ? p.slot_local != nullptr
                                                : p.scalars != nullptr && p.slot_coordinate != nullptr)),
      "language_model_head: draws need a place for the samples and coordinates or recorded uniforms");
  ELECTRA_CHECK_SHAPE(!(p.sample && p.disallow_correct) || p.slot_target != nullptr,
                      "language_model_head: disallow_correct needs the slots' targets");
  ELECTRA_CHECK_SHAPE(!p.sample || p.temperature > 0, "language_model_head: temperature %g is not positive",
                      static_cast<double>(p.temperature));
  ELECTRA_CHECK_SHAPE(p.row_slots != nullptr || !p.sample || p.slots.capacity <= rows,
                      "language_model_head: %lld slots, but %lld rows and no row_slots",
                      static_cast<long long>(p.slots.capacity), static_cast<long long>(rows));
}

/// Rows first … first + count − 1 of an activation.
Matrix rows_of(const Tensor& t, int64_t first, int64_t count) {
  Matrix m = matrix_of(t);
  m.data = static_cast<char*>(t.data) + first * t.stride * (t.dtype == DType::kFloat32 ? 4 : 2);
  m.rows = count;
  return m;
}

}  // namespace

size_t language_model_workspace(const Capacity& capacity) {
  Scratch scratch;
  lay_out(scratch, std::max<int64_t>(0, capacity.lm_rows), std::max<int32_t>(1, capacity.vocabulary),
          capacity.max_width >= kWideTable);
  return scratch.size();
}

void CudaOperators::language_model_head(const LanguageModelHead& p) {
  check(p, compute());
  const int64_t rows = p.rows.capacity, vocabulary = p.table.rows, width = p.table.cols;
  const bool backward = static_cast<bool>(p.dx);
  const bool grouped = backward && compute() == DType::kBFloat16 && width >= kWideTable;
  Scratch sizes;
  lay_out(sizes, rows, vocabulary, grouped);
  Scratch scratch(workspace(sizes.size()));
  const Memory memory = lay_out(scratch, rows, vocabulary, grouped);
  const Matrix table = weight_matrix(p.table);
  const int64_t chunk_limit = chunk_rows(vocabulary);
  const int64_t group_limit = chunk_limit * (grouped ? kGroupChunks : 1);

  head::Chunk chunk;
  chunk.logits = memory.logits;
  chunk.pitch = pitch_of(vocabulary);
  if (p.sums != nullptr && p.targets != nullptr) {
    chunk.row_nll = memory.row_nll;
    chunk.row_correct = memory.row_correct;
  }
  chunk.compacts = backward && !grouped && compute() == DType::kBFloat16;
  chunk.gradient_pitch = chunk.compacts ? 2 * chunk.pitch : chunk.pitch;
  const size_t element = compute() == DType::kFloat32 ? 4 : 2;
  char* gradients = !backward ? nullptr
                    : grouped ? static_cast<char*>(static_cast<void*>(memory.gradients))
                              : static_cast<char*>(static_cast<void*>(memory.logits));

  for (int64_t group = 0; group < rows; group += group_limit) {
    const int64_t group_count = std::min(group_limit, rows - group);
    for (int64_t start = group; start < group + group_count; start += chunk_limit) {
      const int64_t count = std::min(chunk_limit, group + group_count - start);
      Product logits;
      logits.a = rows_of(p.x, start, count);
      logits.b = table;
      logits.transpose_b = true;
      logits.d = Matrix{memory.logits, count, vocabulary, chunk.pitch, DType::kFloat32};
      if (p.bias != nullptr) {
        logits.epilogue = Epilogue::kBias;
        logits.bias = p.bias;
      }
      gemm_->multiply(logits);

      chunk.first = start;
      if (backward)
        chunk.gradient = gradients + static_cast<size_t>((start - group) * chunk.gradient_pitch) * element;
      with_type(compute(), [&](auto type) {
        using T = decltype(type);
        launch("head_rows", head::rows_kernel<T>, static_cast<unsigned>(count), head::kThreads, 0, stream(),
               p, chunk);
        if (backward && p.d_bias != nullptr)
          launch("head_bias", head_bias_kernel<T>, static_cast<unsigned>(ceil_div(vocabulary, kBiasColumns)),
                 dim3(32, kBiasRows), 0, stream(), p.rows, start, count,
                 static_cast<const T*>(chunk.gradient), chunk.gradient_pitch,
                 static_cast<int32_t>(vocabulary), p.d_bias);
      });
    }
    if (!backward) continue;
    const Matrix gradient{gradients, group_count, vocabulary, chunk.gradient_pitch, compute()};
    Product data;
    data.a = gradient;
    data.b = table;
    data.d = rows_of(p.dx, group, group_count);
    data.add = p.into == Into::kAdd;
    gemm_->multiply(data);
    if (p.d_table == nullptr) continue;
    Product weight;
    weight.a = gradient;
    weight.transpose_a = true;
    weight.b = rows_of(p.x, group, group_count);
    weight.d = Matrix{p.d_table, vocabulary, width, p.table.stride, DType::kFloat32};
    weight.add = true;
    gemm_->multiply(weight);
  }
  if (p.sums != nullptr || p.sample)
    launch("head_sums", head_sums_kernel, 1, kSumThreads, 0, stream(), p, memory.row_nll, memory.row_correct);
}

}  // namespace electra::cuda
