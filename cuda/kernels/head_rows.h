#pragma once
// What becomes of a row of logits: one kernel, a block for each row, and all that language_model_head wants
// of the row. It visits the row twice. The first visit finds the maximum, where it lies, and the sum of
// exponentials (kept below the thread's running maximum, which seldom changes). The second makes the draw of
// the row's last slot and the gradient; further slots take a visit each. A row has 122 KB, so it comes from
// the second-level cache every time: shared memory would hold it, but then one block would have the
// multiprocessor to itself and its barriers would leave memory idle. Three blocks of 384 threads overlap
// instead, each thread with four (two) loads of 16 bytes in flight.
//
// Draws are Gumbel-max: argmax over v of z[v] + g(u[v]), two logarithms for each word if done plainly. But a
// word can only win if its score passes a threshold that is beaten almost surely: the maximum of the scores
// is log Σ e^z + Gumbel, which is below T = log Σ e^z − 4 with probability e^(−e⁴) = 2e-24. Now z + g(u) ≥ T
// needs 1 − u ≤ e^(z − T), and e^z is at hand for the gradient: one comparison for each word, the logarithms
// for the 55 or so candidates that pass. Injected uniforms, other temperatures and extreme logits take every
// word exactly.

#include "../device_views.h"
#include "ranking.h"

namespace electra::cuda::head {

constexpr int kThreads = 384;   // three blocks on a multiprocessor
constexpr int kFirstVisit = 4;  // vectors of four words that a thread has in flight
constexpr int kSecondVisit = 2;
// A word is a candidate if e^(z − maximum) · reach >= 1 − u: e⁴, and margins for rounding.
constexpr float kReach = 54.5982f * 1.01f;
constexpr float kReachMargin = 1e-6f;

/// A chunk of rows and what becomes of them.
struct Chunk {
  int64_t first = 0;         ///< its first row
  float* logits = nullptr;   ///< [rows, pitch]
  int64_t pitch = 0;         ///< a multiple of 64
  void* gradient = nullptr;  ///< [rows, gradient_pitch], null: none wanted
  int64_t gradient_pitch = 0;
  bool compacts = false;     ///< the gradient shrinks into the memory of the logits
  float* row_nll = nullptr;  ///< [R] for the sums, or null
  float* row_correct = nullptr;
};

/// One slot's draw. A word is a candidate if e^(z − maximum) · reach + (1 + u) >= threshold.
struct Draw {
  float reach = 0;  ///< kReach / Σ exponentials of the words that may be drawn; 0: all are candidates
  float threshold = -1;
  float temperature = 1;
  int32_t forbidden = -1;        ///< the word that may not be drawn, or −1
  const float* given = nullptr;  ///< [V] injected uniforms
  uint64_t block = 0;            ///< else the first block of the slot's stream
  uint64_t seed = 0;
  uint32_t step = 0;
};

/// eˣ for x <= 0: by the special-function unit in bf16, with full accuracy in f32.
template <typename T>
__device__ __forceinline__ float exponential(float x) {
  return sizeof(T) == 4 ? expf(x) : __expf(x);
}

/// Takes words v … v + 3 into account for a draw. `e` holds e^(z − maximum of the row).
__device__ __forceinline__ void draw_words(const Draw& draw, int32_t v, int32_t vocabulary,
                                           const float (&z)[4], const float (&e)[4], float* best,
                                           int32_t* best_word) {
  uint32_t bits[4];  // random words, or injected uniforms
  if (draw.given != nullptr) {
#pragma unroll
    for (int j = 0; j < 4; ++j) bits[j] = __float_as_uint(v + j < vocabulary ? draw.given[v + j] : 0.5f);
  } else {
    const PhiloxWords words = random_block(draw.seed, RandomPurpose::kGumbel,
                                           draw.block + static_cast<uint32_t>(v) / 4, draw.step, 0);
#pragma unroll
    for (int j = 0; j < 4; ++j) bits[j] = words.word[j];
  }
  // The 23 bits of a uniform as the fraction of a float in [1, 2): 1 + u − 2^-24, without a conversion.
  bool reached[4];
#pragma unroll
  for (int j = 0; j < 4; ++j)
    reached[j] = fmaf(e[j], draw.reach, __uint_as_float(0x3F800000u | bits[j] >> 9)) >= draw.threshold;
  if (!(reached[0] || reached[1] || reached[2] || reached[3])) return;
  unsigned candidates =
      (reached[0] ? 1u : 0u) | (reached[1] ? 2u : 0u) | (reached[2] ? 4u : 0u) | (reached[3] ? 8u : 0u);
  do {
    const int j = __ffs(static_cast<int>(candidates)) - 1;
    candidates &= candidates - 1;
    const uint32_t word = pick(bits, j);
    float score = pick(z, j);
    if (draw.temperature != 1.0f) score = score / draw.temperature;
    if (v + j == draw.forbidden) score -= 1000.0f;
    score += gumbel(draw.given != nullptr ? __uint_as_float(word) : uniform_open(word));
    if (score > *best) {
      *best = score;
      *best_word = v + j;
    }
  } while (candidates != 0);
}

/// The second visit to a row: a draw, the gradient e · factor − onehot, or both. Returns the thread's best
/// word.
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
    Packed<float, 4> z[kSecondVisit];
#pragma unroll
    for (int k = 0; k < kSecondVisit; ++k) {
      const int32_t v = start + k * kStep + thread * 4;
      if (v < vocabulary) z[k] = load_packed<4>(row + v);
    }
    // Compacting, words [a, b) overwrite the logits of [a / 2, b / 2): all threads must have read theirs.
    if (kWrites && compacts) __syncthreads();
#pragma unroll
    for (int k = 0; k < kSecondVisit; ++k) {
      const int32_t v = start + k * kStep + thread * 4;
      if (v >= vocabulary) continue;
      float e[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) e[j] = exponential<T>(z[k][j] - maximum);
      if (kDraws) draw_words(draw, v, vocabulary, z[k].value, e, &best, &best_word);
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
__global__ void __launch_bounds__(kThreads, 3) rows_kernel(LanguageModelHead p, Chunk c) {
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

  // The last vector of four may end beyond the vocabulary: what no product wrote counts as −infinity.
  if (thread < 4 && vocabulary % 4 != 0 && thread >= vocabulary % 4)
    z[vocabulary / 4 * 4 + thread] = -INFINITY;
  __syncthreads();

  // The first visit: the thread's maximum, where it lies, and the sum of exponentials below it.
  float maximum = -INFINITY, total = 0;
  int32_t argmax = 0;
  for (int32_t start = thread * 4; start < vocabulary; start += kThreads * 4 * kFirstVisit) {
    Packed<float, 4> words[kFirstVisit];
#pragma unroll
    for (int k = 0; k < kFirstVisit; ++k) {
      const int32_t v = start + k * kThreads * 4;
      if (v < vocabulary) words[k] = load_packed<4>(z + v);
    }
#pragma unroll
    for (int k = 0; k < kFirstVisit; ++k) {
      const int32_t v = start + k * kThreads * 4;
      if (v >= vocabulary) continue;
      const Packed<float, 4>& w = words[k];
      if (p.logits != nullptr) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (v + j < vocabulary) p.logits[row * vocabulary + v + j] = w[j];
      }
      const float largest = fmaxf(fmaxf(w[0], w[1]), fmaxf(w[2], w[3]));
      if (largest > maximum) {
        total *= exponential<T>(maximum - largest);
        maximum = largest;
        argmax = v + (w[0] == largest ? 0 : w[1] == largest ? 1 : w[2] == largest ? 2 : 3);
      }
      total += (exponential<T>(w[0] - maximum) + exponential<T>(w[1] - maximum)) +
               (exponential<T>(w[2] - maximum) + exponential<T>(w[3] - maximum));
    }
  }
  const unsigned long long peak = block_best<kThreads>(ranked(maximum, argmax));
  const float top = value_of(peak);
  const double sum = block_sum<kThreads>(static_cast<double>(total * exponential<T>(maximum - top)));

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
      if (draw.forbidden >= 0 && draw.forbidden < vocabulary) rest -= exponential<T>(z[draw.forbidden] - top);
    }
    draw.temperature = p.temperature;
    const bool exact =
        p.given_uniform != nullptr || p.temperature != 1.0f || !(fabsf(top) < 1e4f) || !(rest >= 1e-3f);
    draw.reach = exact ? 0.0f : kReach / rest;
    draw.threshold = exact ? -1.0f : 2.0f - kReachMargin;
    if (p.given_uniform != nullptr) {
      draw.given = p.given_uniform + static_cast<int64_t>(p.slot_local[slot]) * vocabulary;
    } else {
      draw.seed = p.scalars->seed;
      draw.step = p.scalars->step;
      draw.block =
          gumbel_block(static_cast<uint32_t>(p.slot_coordinate[slot]), static_cast<uint32_t>(vocabulary), 0);
    }
    // The last draw and the gradient share a visit, unless a logit is looked up after the draws.
    unsigned long long best;
    if (writes && onehot != 0 && p.log_q == nullptr && i + 1 == last_slot) {
      best = visit_row<T, true, true>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
      writes = false;
    } else {
      best =
          visit_row<T, true, false>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
    }
    const int32_t word = index_of(block_best<kThreads>(best));
    if (thread == 0) p.sampled[slot] = word;
    drawn_sum += word;
  }

  if (p.log_q != nullptr && thread == 0) {
    const bool keeps =
        p.sampled == nullptr || drawn == 0 || (p.row_keeps_id != nullptr && p.row_keeps_id[row] != 0);
    // Ids are not negative, so the integer division is the floor.
    const int64_t id = !keeps ? drawn_sum / drawn : p.row_ids != nullptr ? p.row_ids[row] : -1;
    p.log_q[row] =
        id >= 0 && id < vocabulary ? static_cast<float>(static_cast<double>(z[id]) - log_sum) : 0.0f;
  }
  if (!writes) return;
  if (onehot != 0) {
    visit_row<T, false, true>(z, gradient, c.compacts, vocabulary, top, draw, factor, target, onehot);
  } else {
    __syncthreads();
    clear_gradient(gradient, vocabulary);
  }
}

}  // namespace electra::cuda::head
