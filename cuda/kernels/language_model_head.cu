// The language-model head: logits = x · tableᵀ + bias and all that is wanted of them: loss, argmax, draws, log q,
// gradients. R = 2,432 rows of V = 30,522 words make 297 MB of f32 logits, so they never exist as a whole.
//
// Rows come in chunks of up to 48 MB of logits (384 rows), which the second-level cache mostly holds. A chunk is
//   1. a product, with the bias in its epilogue;
//   2. one kernel, a block for each row: the maximum and the sum of exponentials in one visit (4 V bytes), then in a
//      second visit the draw of the row's (last) slot and the gradient (4 V bytes in, 2 V out in bf16). Between the
//      visits a row lies in the second-level cache whatever the size of the chunk: 400 rows in flight are 48 MB;
//   3. column sums of the gradient for the bias (2 V bytes a row), while it is still warm;
// and a group of chunks ends with dx = d · table and d_table += dᵀ · x.
//
// The gradient d is stored as the products take it. In f32 it replaces the logits. In bf16 it is compacted in place:
// row r's bf16 lie in the first half of row r's f32 (a product does not mind a row stride of 2 · pitch), which keeps
// the chunk's footprint at 4 V bytes a row instead of 6, and that is what decides whether the products that follow
// find it in the cache. Each d_table product reads and writes 8 V E bytes, though: at E = 768 a group of one chunk
// would move 16 V bytes a row for that alone. So wide tables (E ≥ 512) collect the bf16 gradients of five chunks in
// a buffer of their own (117 MB) before the two products.
//
// Draws are Gumbel-max: argmax over v of z[v] + g(u[v]), two logarithms for each word if done plainly. But a word
// can only win if its score passes a threshold that is beaten almost surely: the maximum of the scores is
// log Σ e^z + Gumbel, which is below T = log Σ e^z − 4 with probability e^(−e⁴) = 2e-24. Now z + g(u) ≥ T needs
// 1 − u ≤ e^(z − T), and e^z is at hand for the gradient: one comparison for each word, the logarithms for the 55 or
// so candidates that pass. Injected uniforms, other temperatures and extreme logits take every word exactly.
//
// Expected for R = 2,432, V = 30,522, E = 128 in bf16 on an H100: products 57 GFLOP; 0.6 GB of reads and 0.15 GB of
// writes in (2), mostly within the cache; d_table 31 MB for each chunk.

#include <algorithm>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "../scratch.h"
#include "ranking.h"

namespace electra::cuda {
namespace {

constexpr int64_t kChunkFloats = int64_t{12} << 20;  // of logits: 48 MB
constexpr int64_t kLeastChunkRows = 64;
constexpr int64_t kGroupChunks = 5;
constexpr int64_t kWideTable = 512;
constexpr int kThreads = 384;  // three blocks on a multiprocessor
constexpr int kFirstVisit = 4;   // vectors of four words that a thread has in flight
constexpr int kSecondVisit = 2;
constexpr int kBiasColumns = 128;
constexpr int kBiasRows = 8;
constexpr int kSumThreads = 1024;

// A word is a candidate if e^(z − maximum) · reach >= 1 − u; e⁴ with a margin for rounding.
constexpr float kReach = 54.5982f * 1.01f;
constexpr float kReachMargin = 1e-6f;

/// A chunk of rows and what becomes of them.
struct Chunk {
  int64_t first = 0;            ///< its first row
  float* logits = nullptr;      ///< [rows, pitch]
  int64_t pitch = 0;            ///< a multiple of 64
  void* gradient = nullptr;     ///< [rows, gradient_pitch], null: none wanted
  int64_t gradient_pitch = 0;
  bool compacts = false;        ///< the gradient shrinks into the memory of the logits
  float* row_nll = nullptr;     ///< [R] for the sums, or null
  float* row_correct = nullptr;
};

/// One slot's draw.
struct Draw {
  bool exact = false;            ///< every word, not only candidates
  float reach = 0;               ///< kReach / Σ exponentials of the words that may be drawn
  float temperature = 1;
  int32_t forbidden = -1;        ///< the word that may not be drawn, or −1
  const float* given = nullptr;  ///< [V] injected uniforms
  uint64_t block = 0;            ///< else the first block of the slot's stream
  uint64_t seed = 0;
  uint32_t step = 0;
};

/// Logits of words v … v + 3 of a row; −infinity beyond the vocabulary.
__device__ __forceinline__ void load_words(const float* row, int32_t v, int32_t vocabulary, float (&z)[4]) {
  const Packed<float, 4> words = load_packed<4>(row + v);
#pragma unroll
  for (int j = 0; j < 4; ++j) z[j] = v + j < vocabulary ? words[j] : -INFINITY;
}

/// Takes words v … v + 3 into account for a draw. `e` holds e^(z − maximum of the row).
__device__ __forceinline__ void draw_words(const Draw& draw, int32_t v, int32_t vocabulary, const float (&z)[4],
                                           const float (&e)[4], float* best, int32_t* best_word) {
  float u[4];
  if (draw.given != nullptr) {
#pragma unroll
    for (int j = 0; j < 4; ++j) u[j] = v + j < vocabulary ? draw.given[v + j] : 0.5f;
  } else {
    const PhiloxWords words = random_block(draw.seed, RandomPurpose::kGumbel,
                                           draw.block + static_cast<uint32_t>(v) / 4, draw.step, 0);
#pragma unroll
    for (int j = 0; j < 4; ++j) u[j] = uniform_open(words.word[j]);
  }
  unsigned candidates = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j)
    candidates |= (draw.exact || e[j] * draw.reach + kReachMargin >= 1.0f - u[j] ? 1u : 0u) << j;
  while (candidates != 0) {
    const int j = __ffs(static_cast<int>(candidates)) - 1;
    candidates &= candidates - 1;
    float score = pick(z, j);
    if (draw.temperature != 1.0f) score = score / draw.temperature;
    if (v + j == draw.forbidden) score -= 1000.0f;
    score += gumbel(pick(u, j));
    if (score > *best) {
      *best = score;
      *best_word = v + j;
    }
  }
}

/// The second visit to a row: a draw, the gradient e · factor − onehot, or both. Returns the thread's best word.
template <typename T, bool kDraws, bool kWrites>
__device__ unsigned long long visit_row(const float* row, T* gradient, bool compacts, int32_t vocabulary,
                                        float maximum, const Draw& draw, float factor, int32_t target,
                                        float onehot) {
  constexpr int32_t kStep = kThreads * 4;
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  float best = -INFINITY;
  int32_t best_word = 0;
  if (kWrites) __syncthreads();  // until here single logits of the row were looked up
  for (int32_t start = 0; start < vocabulary; start += kStep * kSecondVisit) {
    float z[kSecondVisit][4];
#pragma unroll
    for (int k = 0; k < kSecondVisit; ++k) {
      const int32_t v = start + k * kStep + thread * 4;
      if (v < vocabulary) load_words(row, v, vocabulary, z[k]);
    }
    // Compacting, words [a, b) overwrite the logits of [a / 2, b / 2): all threads must have read theirs.
    if (kWrites && compacts) __syncthreads();
#pragma unroll
    for (int k = 0; k < kSecondVisit; ++k) {
      const int32_t v = start + k * kStep + thread * 4;
      if (v >= vocabulary) continue;
      float e[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) e[j] = __expf(z[k][j] - maximum);
      if (kDraws) draw_words(draw, v, vocabulary, z[k], e, &best, &best_word);
      if constexpr (kWrites) {
        Packed<T, 4> d;
#pragma unroll
        for (int j = 0; j < 4; ++j) d[j] = from_float<T>(e[j] * factor - (v + j == target ? onehot : 0.0f));
        store_packed<4>(gradient + v, d);
      }
    }
  }
  return ranked(best, best_word);
}

template <typename T>
__device__ void clear_gradient(T* gradient, int32_t vocabulary) {
  Packed<T, 4> zeros;
#pragma unroll
  for (int j = 0; j < 4; ++j) zeros[j] = from_float<T>(0.0f);
  for (int32_t v = static_cast<int32_t>(threadIdx.x) * 4; v < vocabulary; v += kThreads * 4)
    store_packed<4>(gradient + v, zeros);
}

/// A row that does not count.
template <typename T>
__device__ void clear_row(const LanguageModelHead& p, const Chunk& c, int64_t row, T* gradient,
                          int32_t vocabulary) {
  if (c.gradient != nullptr) clear_gradient(gradient, vocabulary);
  if (p.logits != nullptr)
    for (int32_t v = static_cast<int32_t>(threadIdx.x); v < vocabulary; v += kThreads)
      p.logits[row * vocabulary + v] = 0;
  if (threadIdx.x != 0) return;
  if (p.nll != nullptr) p.nll[row] = 0;
  if (p.predictions != nullptr) p.predictions[row] = 0;
  if (p.log_sum_exp != nullptr) p.log_sum_exp[row] = 0;
  if (p.log_q != nullptr) p.log_q[row] = 0;
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 3) head_rows_kernel(LanguageModelHead p, Chunk c) {
  const int64_t index = blockIdx.x, row = c.first + index;
  const int32_t vocabulary = static_cast<int32_t>(p.table.rows);
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  float* z = c.logits + index * c.pitch;
  T* gradient = static_cast<T*>(c.gradient) + (c.gradient != nullptr ? index * c.gradient_pitch : 0);
  if (row >= actual_of(p.rows)) {
    clear_row(p, c, row, gradient, vocabulary);
    return;
  }

  const float weight = p.weights != nullptr ? p.weights[row] : 1.0f;
  int32_t target = -1;
  float target_logit = 0;
  if (p.targets != nullptr) {
    target = p.targets[row];
    if (target >= 0 && target < vocabulary)
      target_logit = z[target];
    else if (weight != 0)
      target_logit = NAN;  // a target outside the vocabulary shows in the loss
  }

  // The first visit: the thread's maximum, where it lies, and the sum of exponentials below it.
  float maximum = -INFINITY, total = 0;
  int32_t argmax = 0;
  for (int32_t start = thread * 4; start < vocabulary; start += kThreads * 4 * kFirstVisit) {
    float words[kFirstVisit][4];
#pragma unroll
    for (int k = 0; k < kFirstVisit; ++k) {
      const int32_t v = start + k * kThreads * 4;
      if (v < vocabulary) load_words(z, v, vocabulary, words[k]);
    }
#pragma unroll
    for (int k = 0; k < kFirstVisit; ++k) {
      const int32_t v = start + k * kThreads * 4;
      if (v >= vocabulary) continue;
      const float(&w)[4] = words[k];
      if (p.logits != nullptr) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (v + j < vocabulary) p.logits[row * vocabulary + v + j] = w[j];
      }
      const float largest = fmaxf(fmaxf(w[0], w[1]), fmaxf(w[2], w[3]));
      if (largest > maximum) {
        total *= __expf(maximum - largest);
        maximum = largest;
        argmax = v + (w[0] == largest ? 0 : w[1] == largest ? 1 : w[2] == largest ? 2 : 3);
      }
      total += (__expf(w[0] - maximum) + __expf(w[1] - maximum)) + (__expf(w[2] - maximum) + __expf(w[3] - maximum));
    }
  }
  const unsigned long long peak = block_best<kThreads>(ranked(maximum, argmax));
  const float top = value_of(peak);
  const double sum = block_sum<kThreads>(static_cast<double>(total * __expf(maximum - top)));

  double log_sum = 0;
  if (thread == 0) {
    log_sum = static_cast<double>(top) + log(sum);
    const int32_t prediction = index_of(peak);
    if (p.predictions != nullptr) p.predictions[row] = prediction;
    if (p.log_sum_exp != nullptr) p.log_sum_exp[row] = static_cast<float>(log_sum);
    if (p.targets != nullptr) {
      const float nll = static_cast<float>(log_sum - static_cast<double>(target_logit));
      if (p.nll != nullptr) p.nll[row] = nll;
      if (c.row_nll != nullptr) {
        c.row_nll[row] = nll;
        c.row_correct[row] = prediction == target ? 1.0f : 0.0f;
      }
    }
  }

  const float onehot = c.gradient != nullptr ? weight * *p.scale : 0.0f;
  const float factor = onehot / static_cast<float>(sum);
  bool writes = c.gradient != nullptr;
  int64_t drawn_sum = 0;
  int32_t drawn = 0;
  const int64_t slots = actual_of(p.slots);
  const int64_t first_slot = p.row_slots != nullptr ? p.row_slots[row] : row;
  const int64_t last_slot = p.row_slots != nullptr ? p.row_slots[row + 1] : row + 1;
  Draw draw;
  for (int64_t i = first_slot; i < last_slot; ++i) {
    const int64_t slot = p.row_slots != nullptr && p.slot_order != nullptr ? p.slot_order[i] : i;
    if (slot < 0 || slot >= slots) continue;
    ++drawn;
    if (!p.sample) {
      if (p.sampled != nullptr) drawn_sum += p.sampled[slot];
      continue;
    }
    float rest = static_cast<float>(sum);
    draw.forbidden = -1;
    if (p.disallow_correct) {
      draw.forbidden = p.slot_target[slot];
      if (draw.forbidden >= 0 && draw.forbidden < vocabulary) rest -= __expf(z[draw.forbidden] - top);
    }
    draw.temperature = p.temperature;
    draw.exact = p.given_uniform != nullptr || p.temperature != 1.0f || !(fabsf(top) < 1e4f) || !(rest >= 1e-3f);
    draw.reach = kReach / rest;
    if (p.given_uniform != nullptr) {
      draw.given = p.given_uniform + static_cast<int64_t>(p.slot_local[slot]) * vocabulary;
    } else {
      draw.seed = p.scalars->seed;
      draw.step = p.scalars->step;
      draw.block = gumbel_block(static_cast<uint32_t>(p.slot_coordinate[slot]), static_cast<uint32_t>(vocabulary), 0);
    }
    // The last draw and the gradient share a visit, unless a logit is looked up after the draws.
    unsigned long long best;
    if (writes && onehot != 0 && p.log_q == nullptr && i + 1 == last_slot) {
      best = visit_row<T, true, true>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
      writes = false;
    } else {
      best = visit_row<T, true, false>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
    }
    const int32_t word = index_of(block_best<kThreads>(best));
    if (thread == 0) p.sampled[slot] = word;
    drawn_sum += word;
  }

  if (p.log_q != nullptr && thread == 0) {
    const bool keeps = p.sampled == nullptr || drawn == 0 || (p.row_keeps_id != nullptr && p.row_keeps_id[row] != 0);
    // Ids are not negative, so the integer division is the floor.
    const int64_t id = !keeps ? drawn_sum / drawn : p.row_ids != nullptr ? p.row_ids[row] : -1;
    p.log_q[row] = id >= 0 && id < vocabulary
                       ? static_cast<float>(static_cast<double>(z[id]) - log_sum)
                       : 0.0f;
  }
  if (!writes) return;
  if (onehot != 0) {
    visit_row<T, false, true>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
  } else {
    __syncthreads();
    clear_gradient(gradient, vocabulary);
  }
}

/// d_bias += column sums of the chunk's gradient. A block owns 128 columns over all rows of the chunk, warp w takes
/// rows w, w + 8, …, and the eight sums are added in order: no partial results in memory, and an order that depends
/// on shapes alone.
template <typename T>
__global__ void __launch_bounds__(32 * kBiasRows) head_bias_kernel(Extent rows, int64_t first, int64_t count,
                                                                   const T* gradient, int64_t pitch,
                                                                   int32_t vocabulary, float* d_bias) {
  ELECTRA_SHARED(float, sums, kBiasRows * kBiasColumns);
  const int64_t left = actual_of(rows) - first, last = left < count ? left : count;
  const int32_t column = static_cast<int32_t>(blockIdx.x) * kBiasColumns + static_cast<int32_t>(threadIdx.x) * 4;
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

/// The sums of a step, by one block: thread t adds rows t, t + 1024, … in double. Also clears the slots that do not
/// count.
__global__ void __launch_bounds__(kSumThreads) head_sums_kernel(LanguageModelHead p, const float* row_nll,
                                                                const float* row_correct) {
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
    for (int64_t s = threadIdx.x; s < slots; s += kSumThreads) sampled += p.sampled[s] == p.slot_target[s] ? 1 : 0;
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
  ELECTRA_CHECK_SHAPE(
      vocabulary > 0 && vocabulary < (int64_t{1} << 30) && width > 0 && p.table.master != nullptr &&
          p.table.stride >= width,
      "language_model_head: table is [%lld, %lld] with stride %lld", static_cast<long long>(vocabulary),
      static_cast<long long>(width), static_cast<long long>(p.table.stride));
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
Matrix row_range(const Tensor& t, int64_t first, int64_t count) {
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

  Chunk chunk;
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
      logits.a = row_range(p.x, start, count);
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
        chunk.gradient =
            gradients + static_cast<size_t>((start - group) * chunk.gradient_pitch) * element;
      with_type(compute(), [&](auto type) {
        using T = decltype(type);
        launch("head_rows", head_rows_kernel<T>, static_cast<unsigned>(count), kThreads, 0, stream(), p, chunk);
        if (backward && p.d_bias != nullptr)
          launch("head_bias", head_bias_kernel<T>, static_cast<unsigned>(ceil_div(vocabulary, kBiasColumns)),
                 dim3(32, kBiasRows), 0, stream(), p.rows, start, count, static_cast<const T*>(chunk.gradient),
                 chunk.gradient_pitch, static_cast<int32_t>(vocabulary), p.d_bias);
      });
    }
    if (!backward) continue;
    const Matrix gradient{gradients, group_count, vocabulary, chunk.gradient_pitch, compute()};
    Product data;
    data.a = gradient;
    data.b = table;
    data.d = row_range(p.dx, group, group_count);
    data.add = p.into == Into::kAdd;
    gemm_->multiply(data);
    if (p.d_table == nullptr) continue;
    Product weight;
    weight.a = gradient;
    weight.transpose_a = true;
    weight.b = row_range(p.x, group, group_count);
    weight.d = Matrix{p.d_table, vocabulary, width, p.table.stride, DType::kFloat32};
    weight.add = true;
    gemm_->multiply(weight);
  }
  if (p.sums != nullptr || p.sample)
    launch("head_sums", head_sums_kernel, 1, kSumThreads, 0, stream(), p, memory.row_nll, memory.row_correct);
}

}  // namespace electra::cuda
