// Corrupting the input: which positions are masked, what replaces them, the fakes of the uniform generator.
// ELECTRA (Clark et al. 2020), section 2.
//
// These kernels move a few bytes for each token (128 x 128 tokens: 0.2 MB) and cost a launch each; what
// matters is that all draws equal the CPU's. A block takes one row of the batch: candidates, positions and
// the grouping of slots stay in shared memory, and only the swaps of the draw without replacement are done
// one after the other. Slots and tokens of a row are neighbours in their streams and rows keep their order,
// so grouping all slots by token is the same as grouping each row's by position: no sort across rows, no
// counters in memory.
//
// The device cannot throw: a row that the host should have refused (slots but no candidate, a given position
// outside the row) takes its first position.

#include <algorithm>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "ranking.h"

namespace electra::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kFillBlocks = 8;  // what lies between actual and capacity, beside the blocks of the rows
constexpr int kSampleThreads = 256;

/// A scalar draw of the corruption: coordinate c has block c / 4, word c % 4, site 0.
__device__ uint32_t draw_word(const StepScalars& scalars, RandomPurpose purpose, uint64_t coordinate) {
  const PhiloxWords words = random_block(scalars.seed, purpose, coordinate >> 2, scalars.step, 0);
  return pick(words.word, static_cast<int>(coordinate & 3));
}

/// The positions of a row that may be masked, in ascending order. Returns how many; all threads must call it.
__device__ int32_t collect_candidates(const MaskTokens& p, const int32_t* ids, int32_t real,
                                      int32_t* candidates) {
  ELECTRA_SHARED(int32_t, in_warp, (kThreads / 32));
  const int32_t thread = static_cast<int32_t>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  int32_t count = 0;
  for (int32_t start = 0; start < real; start += kThreads) {
    const int32_t i = start + thread;
    const int32_t id = i < real ? ids[i] : p.cls_id;
    const bool candidate = i < real && id != p.cls_id && id != p.sep_id && id != p.mask_id;
    const unsigned chosen = __ballot_sync(kFullWarp, candidate);
    if (lane == 0) in_warp[warp] = __popc(chosen);
    __syncthreads();
    int32_t place = count + __popc(chosen & ((1u << lane) - 1));
    for (int32_t w = 0; w < kThreads / 32; ++w) {
      if (w < warp) place += in_warp[w];
      count += in_warp[w];
    }
    if (candidate) candidates[place] = i;
    __syncthreads();
  }
  return count;
}

/// How many of `count` ascending values are below `limit`.
__device__ int32_t count_below(const int32_t* ascending, int32_t count, int32_t limit) {
  int32_t low = 0, high = count;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (ascending[middle] < limit)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Beyond the actual extents: a legal id, token and coordinate, so that whoever reads them stays in bounds.
__device__ void fill_beyond(const MaskTokens& p, int64_t thread, int64_t threads) {
  const int64_t tokens = actual_of(p.rows.tokens), slots = actual_of(p.slots);
  for (int64_t t = tokens + thread; t < p.rows.tokens.capacity; t += threads) p.masked_ids[t] = 0;
  for (int64_t s = slots + thread; s < p.slots.capacity; s += threads) {
    p.slot_token[s] = 0;
    p.slot_target[s] = 0;
    p.slot_coordinate[s] = 0;
    p.slot_local[s] = 0;
  }
  if (p.token_slots == nullptr) return;
  for (int64_t t = tokens + thread; t <= p.rows.tokens.capacity; t += threads)
    p.token_slots[t] = static_cast<int32_t>(slots);
}

// Slot j of a row draws word(row · N + j) and takes candidate uniform_index(word, count) of the row's
// candidates in order of position. Without replacement the same words drive the first steps of a Fisher-Yates
// shuffle: slot j swaps candidate j with candidate j + uniform_index(word, count − j) and takes what is then
// at j; slots beyond the number of candidates, which cannot be distinct, fall back to an independent draw.
__global__ void __launch_bounds__(kThreads) mask_tokens_kernel(MaskTokens p) {
  ELECTRA_DYNAMIC_SHARED(int32_t, memory);
  const int32_t b = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x);
  if (b >= p.rows.batch) {
    fill_beyond(p, int64_t{b - p.rows.batch} * kThreads + thread, kFillBlocks * kThreads);
    return;
  }
  int32_t* candidates = memory;                    // [pitch]
  int32_t* positions = candidates + p.rows.pitch;  // [N] of the slots
  int32_t* ordered = positions + p.slots_per_row;  // [N] the same, ascending; before that the swaps' partners

  const int32_t first = p.rows.offsets[b], length = p.rows.offsets[b + 1] - first;
  const int32_t first_slot = p.slot_offsets[b];
  const int32_t count = min(p.slot_offsets[b + 1] - first_slot, p.slots_per_row);
  const int32_t* ids = p.ids + first;
  for (int32_t i = thread; i < length; i += kThreads) p.masked_ids[first + i] = ids[i];
  if (count <= 0 || length <= 0) {
    if (p.token_slots != nullptr)
      for (int32_t i = thread; i < length; i += kThreads) p.token_slots[first + i] = first_slot;
    return;
  }

  const uint64_t coordinates =
      slot_coordinate(static_cast<uint32_t>(p.rows.global_row[b]), static_cast<uint32_t>(p.slots_per_row), 0);
  const int32_t locals = b * p.slots_per_row;
  if (p.given_positions != nullptr) {
    for (int32_t j = thread; j < count; j += kThreads) {
      const int32_t position = p.given_positions[locals + j];
      positions[j] = position >= 0 && position < length ? position : 0;
    }
  } else {
    const int32_t found = collect_candidates(p, ids, min(length, p.rows.valid[b]), candidates);
    const int32_t distinct = p.without_replacement ? min(count, found) : 0;
    for (int32_t j = thread; j < distinct; j += kThreads) {
      const uint32_t word =
          draw_word(*p.scalars, RandomPurpose::kMaskPositions, coordinates + static_cast<uint32_t>(j));
      ordered[j] = j + static_cast<int32_t>(uniform_index(word, static_cast<uint32_t>(found - j)));
    }
    __syncthreads();
    if (thread == 0) {
      for (int32_t j = 0; j < distinct; ++j) {
        const int32_t other = ordered[j], position = candidates[other];
        candidates[other] = candidates[j];
        candidates[j] = position;
        positions[j] = position;
      }
    }
    __syncthreads();
    for (int32_t j = distinct + thread; j < count; j += kThreads) {
      const uint32_t word =
          draw_word(*p.scalars, RandomPurpose::kMaskPositions, coordinates + static_cast<uint32_t>(j));
      positions[j] = found > 0 ? candidates[uniform_index(word, static_cast<uint32_t>(found))] : 0;
    }
  }
  __syncthreads();

  for (int32_t j = thread; j < count; j += kThreads) {
    const int32_t position = positions[j], s = first_slot + j;
    const uint64_t coordinate = coordinates + static_cast<uint32_t>(j);
    const float u = p.given_replace_uniform != nullptr
                        ? p.given_replace_uniform[locals + j]
                        : uniform_open(draw_word(*p.scalars, RandomPurpose::kMaskReplacement, coordinate));
    // Position 0 is never written (scatter_update of the reference). Slots that share a position write the
    // same id.
    if (u < p.mask_probability && position != 0) p.masked_ids[first + position] = p.mask_id;
    p.slot_token[s] = first + position;
    p.slot_target[s] = ids[position];
    p.slot_coordinate[s] = static_cast<int32_t>(coordinate);
    p.slot_local[s] = locals + j;
  }

  if (p.token_slots == nullptr) return;
  for (int32_t j = thread; j < count; j += kThreads) {
    int32_t place = 0;
    for (int32_t i = 0; i < count; ++i)
      place += positions[i] < positions[j] || (positions[i] == positions[j] && i < j) ? 1 : 0;
    ordered[place] = positions[j];
    if (p.slot_order != nullptr) p.slot_order[first_slot + place] = first_slot + j;
  }
  __syncthreads();
  for (int32_t i = thread; i < length; i += kThreads)
    p.token_slots[first + i] = first_slot + count_below(ordered, count, i);
}

/// The first slot of a position adds up all slots that share it.
__global__ void __launch_bounds__(kThreads) replace_tokens_kernel(ReplaceTokens p) {
  const int32_t b = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x);
  if (b >= p.rows.batch) {
    for (int64_t t = actual_of(p.rows.tokens) + int64_t{b - p.rows.batch} * kThreads + thread;
         t < p.rows.tokens.capacity; t += kFillBlocks * kThreads) {
      p.replaced_ids[t] = 0;
      p.labels[t] = 0;
    }
    return;
  }
  const int32_t first = p.rows.offsets[b], last = p.rows.offsets[b + 1];
  for (int32_t t = first + thread; t < last; t += kThreads) {
    p.replaced_ids[t] = p.ids[t];
    p.labels[t] = 0;
  }
  __syncthreads();
  const int32_t first_slot = p.slot_offsets[b], last_slot = p.slot_offsets[b + 1];
  for (int32_t s = first_slot + thread; s < last_slot; s += kThreads) {
    const int32_t token = p.slot_token[s];
    if (token <= first || token >= last) continue;  // position 0 stays as it is
    int64_t sum = 0;
    int32_t count = 0;
    bool leads = true;
    for (int32_t i = first_slot; i < last_slot; ++i) {
      if (p.slot_token[i] != token) continue;
      leads = leads && i >= s;
      sum += p.sampled[i];
      ++count;
    }
    if (!leads) continue;
    // Ids are not negative, so the integer division is the floor.
    const int32_t written = static_cast<int32_t>(sum / count);
    p.replaced_ids[token] = written;
    p.labels[token] = p.label_every_slot || written != p.ids[token] ? 1.0f : 0.0f;
  }
}

// Drawn, not injected: id = uniform_index(word, V) with the word of the slot's coordinate. disallow_correct
// draws from the V − 1 other ids, which is the same distribution as lowering the target's logit by 1000.
__global__ void __launch_bounds__(kSampleThreads) sample_uniform_kernel(SampleUniform p) {
  const int64_t s = static_cast<int64_t>(blockIdx.x) * kSampleThreads + threadIdx.x;
  if (s >= p.slots.capacity) return;
  if (s >= actual_of(p.slots)) {
    p.sampled[s] = 0;
    return;
  }
  const uint32_t vocabulary = static_cast<uint32_t>(p.vocabulary);
  const uint32_t word =
      draw_word(*p.scalars, RandomPurpose::kUniformSample, static_cast<uint32_t>(p.slot_coordinate[s]));
  if (p.disallow_correct) {
    const uint32_t id = uniform_index(word, vocabulary - 1);
    p.sampled[s] = static_cast<int32_t>(id + (id >= static_cast<uint32_t>(p.slot_target[s]) ? 1 : 0));
  } else {
    p.sampled[s] = static_cast<int32_t>(uniform_index(word, vocabulary));
  }
}

/// Injected uniforms: the Gumbel argmax, a block for each slot.
__global__ void __launch_bounds__(kSampleThreads) sample_given_kernel(SampleUniform p) {
  const int64_t s = blockIdx.x;
  if (s >= actual_of(p.slots)) {
    if (threadIdx.x == 0) p.sampled[s] = 0;
    return;
  }
  const float* u = p.given_uniform + static_cast<int64_t>(p.slot_local[s]) * p.vocabulary;
  float best = -INFINITY;
  int32_t id = 0;
  for (int32_t v = static_cast<int32_t>(threadIdx.x); v < p.vocabulary; v += kSampleThreads) {
    const float score = (p.disallow_correct && v == p.slot_target[s] ? -1000.0f : 0.0f) + gumbel(u[v]);
    if (score > best) {
      best = score;
      id = v;
    }
  }
  const unsigned long long winner = block_best<kSampleThreads>(ranked(best, id));
  if (threadIdx.x == 0) p.sampled[s] = index_of(winner);
}

}  // namespace

size_t corruption_workspace(const Capacity&) { return 0; }

void CudaOperators::mask_tokens(const MaskTokens& p) {
  ELECTRA_CHECK_SHAPE(p.slots.capacity == 0 ||
                          (p.given_positions != nullptr && p.given_replace_uniform != nullptr) ||
                          p.scalars != nullptr,
                      "mask_tokens: drawing needs the step's scalars");
  ELECTRA_CHECK_SHAPE(p.token_slots == nullptr || p.slot_order != nullptr || p.slots.capacity == 0,
                      "mask_tokens: slots grouped by token need a place for their order");
  const size_t shared =
      (static_cast<size_t>(p.rows.pitch) + 2 * static_cast<size_t>(p.slots_per_row)) * sizeof(int32_t);
  ELECTRA_CHECK_SHAPE(shared <= size_t{96} << 10,
                      "mask_tokens: rows of %d tokens with %d slots do not fit in a block's memory",
                      p.rows.pitch, p.slots_per_row);
  launch("mask_tokens", mask_tokens_kernel, static_cast<unsigned>(p.rows.batch + kFillBlocks), kThreads,
         shared, stream(), p);
}

void CudaOperators::replace_tokens(const ReplaceTokens& p) {
  launch("replace_tokens", replace_tokens_kernel, static_cast<unsigned>(p.rows.batch + kFillBlocks), kThreads,
         0, stream(), p);
}

void CudaOperators::sample_uniform(const SampleUniform& p) {
  const bool any = p.slots.capacity > 0;
  ELECTRA_CHECK_SHAPE(!any || p.vocabulary > (p.disallow_correct ? 1 : 0),
                      "sample_uniform: a vocabulary of %d leaves nothing to sample", p.vocabulary);
  ELECTRA_CHECK_SHAPE(!any || p.given_uniform != nullptr || p.scalars != nullptr,
                      "sample_uniform: drawing needs the step's scalars");
  ELECTRA_CHECK_SHAPE(!p.disallow_correct || p.slot_target != nullptr,
                      "sample_uniform: disallow_correct needs the slots' targets");
  if (p.given_uniform != nullptr)
    launch("sample_given", sample_given_kernel, static_cast<unsigned>(p.slots.capacity), kSampleThreads, 0,
           stream(), p);
  else
    launch("sample_uniform", sample_uniform_kernel,
           static_cast<unsigned>(ceil_div(p.slots.capacity, kSampleThreads)), kSampleThreads, 0, stream(), p);
}

}  // namespace electra::cuda
