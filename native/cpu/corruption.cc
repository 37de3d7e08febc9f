// Corrupting the input: choosing positions, masking, replacing, the fakes of the uniform generator.
// ELECTRA (Clark et al. 2020), section 2. Rows are independent; a task takes a fixed number of them.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kRowsPerTask = 16;
constexpr int64_t kSlotsPerTask = 256;

int64_t tasks_for(int64_t count, int64_t per_task) { return (count + per_task - 1) / per_task; }

/// A scalar draw of the corruption: coordinate c has block c / 4, word c % 4, site 0.
uint32_t draw_word(const StepScalars& scalars, RandomPurpose purpose, uint64_t coordinate) {
  return random_block(scalars.seed, purpose, coordinate >> 2, scalars.step, 0).word[coordinate & 3];
}

/// gumbel = −log(−log(u + 1e-9) + 1e-9), in f32 as the reference computes it.
float gumbel(float u) { return -std::log(-std::log(u + 1e-9f) + 1e-9f); }

/// The worker's integer workspace for one row: ids of candidates, or counts of slots per position.
int32_t* as_integers(float* memory) { return static_cast<int32_t*>(static_cast<void*>(memory)); }
int64_t* as_long_integers(float* memory) { return static_cast<int64_t*>(static_cast<void*>(memory)); }

int64_t row_length(const Rows& rows, int32_t b, int64_t tokens, const char* operation) {
  const int64_t length = static_cast<int64_t>(rows.offsets[b + 1]) - rows.offsets[b];
  ELECTRA_CHECK_SHAPE(
      rows.offsets[b] >= 0 && length >= 0 && length <= rows.pitch && rows.offsets[b + 1] <= tokens,
      "%s: row %d has tokens %d..%d, of %lld, and at most %d may belong to a row", operation, b,
      rows.offsets[b], rows.offsets[b + 1], static_cast<long long>(tokens), rows.pitch);
  return length;
}

/// Slots of row b; checks that they lie within the extent and, where the pitch is known, fit in it.
int64_t slot_count(const int32_t* offsets, int32_t b, int64_t slots, int64_t most, const char* operation) {
  const int64_t count = static_cast<int64_t>(offsets[b + 1]) - offsets[b];
  ELECTRA_CHECK_SHAPE(offsets[b] >= 0 && count >= 0 && offsets[b + 1] <= slots && count <= most,
                      "%s: row %d has slots %d..%d, of %lld, and at most %lld may belong to a row", operation,
                      b, offsets[b], offsets[b + 1], static_cast<long long>(slots),
                      static_cast<long long>(most));
  return count;
}

/// Counting sort of the slots by token, stable: slots of token t end up at slot_order[token_slots[t]] ….
void group_slots(const MaskTokens& p, int64_t slots) {
  const int64_t tokens = p.rows.tokens.capacity;
  std::memset(p.token_slots, 0, static_cast<size_t>(tokens + 1) * sizeof(int32_t));
  for (int64_t s = 0; s < slots; ++s) ++p.token_slots[p.slot_token[s] + 1];
  for (int64_t t = 0; t < tokens; ++t) p.token_slots[t + 1] += p.token_slots[t];
  // Filling moves each start to its end, which is the next token's start; shifting back by one restores them.
  for (int64_t s = 0; s < slots; ++s)
    p.slot_order[p.token_slots[p.slot_token[s]]++] = static_cast<int32_t>(s);
  for (int64_t t = tokens; t > 0; --t) p.token_slots[t] = p.token_slots[t - 1];
  p.token_slots[0] = 0;
}

}  // namespace

WorkspaceNeeds corruption_needs(const Capacity& capacity) {
  // replace_tokens: a 64-bit sum and a 32-bit count per position; mask_tokens: a 32-bit candidate per
  // position.
  WorkspaceNeeds needs;
  needs.worker_floats = static_cast<size_t>(capacity.pitch) * 3;
  return needs;
}

// Slot j of a row draws word(row · N + j) and takes candidate uniform_index(word, count) of the row's
// candidates in order of position. Without replacement the same words drive the first steps of a Fisher-Yates
// shuffle: slot j swaps candidate j with candidate j + uniform_index(word, count − j) and takes what is then
// at j; slots beyond the number of candidates, which cannot be distinct, fall back to an independent draw.
void CpuOperators::mask_tokens(const MaskTokens& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "mask_tokens");
  const int64_t slots = actual_rows(p.slots, "mask_tokens");
  const int32_t batch = p.rows.batch;
  ELECTRA_CHECK_SHAPE(slots == 0 || (p.given_positions != nullptr && p.given_replace_uniform != nullptr) ||
                          p.scalars != nullptr,
                      "mask_tokens: drawing needs the step's scalars");

  pool_.run(tasks_for(batch, kRowsPerTask), [&](int64_t task, int worker) {
    int32_t* candidates = as_integers(worker_scratch(worker, static_cast<size_t>(p.rows.pitch) * 3));
    const int32_t last = static_cast<int32_t>(std::min<int64_t>(batch, (task + 1) * kRowsPerTask));
    for (int32_t b = static_cast<int32_t>(task * kRowsPerTask); b < last; ++b) {
      const int64_t length = row_length(p.rows, b, tokens, "mask_tokens");
      const int64_t count = slot_count(p.slot_offsets, b, slots, p.slots_per_row, "mask_tokens");
      const int32_t first = p.rows.offsets[b];
      const int32_t* ids = p.ids + first;
      int32_t* masked = p.masked_ids + first;
      std::memmove(masked, ids, static_cast<size_t>(length) * sizeof(int32_t));
      if (count == 0) continue;

      uint32_t candidate_count = 0;
      if (p.given_positions == nullptr) {
        const int64_t real = std::min<int64_t>(length, p.rows.valid[b]);
        for (int64_t i = 0; i < real; ++i) {
          if (ids[i] != p.cls_id && ids[i] != p.sep_id && ids[i] != p.mask_id) {
            candidates[candidate_count++] = static_cast<int32_t>(i);
          }
        }
        ELECTRA_CHECK_SHAPE(candidate_count > 0,
                            "mask_tokens: row %d has %lld slots but no token that may be masked", b,
                            static_cast<long long>(count));
      }

      for (uint32_t j = 0; j < static_cast<uint32_t>(count); ++j) {
        const int64_t s = p.slot_offsets[b] + static_cast<int64_t>(j);
        const int64_t local = static_cast<int64_t>(b) * p.slots_per_row + j;
        const uint64_t coordinate = slot_coordinate(static_cast<uint32_t>(p.rows.global_row[b]),
                                                    static_cast<uint32_t>(p.slots_per_row), j);
        int32_t position = 0;
        if (p.given_positions != nullptr) {
          position = p.given_positions[local];
          ELECTRA_CHECK_SHAPE(
              position >= 0 && position < length,
              "mask_tokens: the given position %d of row %d, slot %u is outside its %lld tokens", position, b,
              j, static_cast<long long>(length));
        } else {
          const uint32_t word = draw_word(*p.scalars, RandomPurpose::kMaskPositions, coordinate);
          if (p.without_replacement && j < candidate_count) {
            const uint32_t other = j + uniform_index(word, candidate_count - j);
            std::swap(candidates[j], candidates[other]);
            position = candidates[j];
          } else {
            position = candidates[uniform_index(word, candidate_count)];
          }
        }
        const float u =
            p.given_replace_uniform != nullptr
                ? p.given_replace_uniform[local]
                : uniform_open(draw_word(*p.scalars, RandomPurpose::kMaskReplacement, coordinate));
        // Position 0 is never written (scatter_update of the reference).
        if (u < p.mask_probability && position != 0) masked[position] = p.mask_id;
        p.slot_token[s] = first + position;
        p.slot_target[s] = ids[position];
        p.slot_coordinate[s] = static_cast<int32_t>(coordinate);
        p.slot_local[s] = static_cast<int32_t>(local);
      }
    }
  });

  // Beyond the actual extents: a legal id, token and coordinate, so that whoever reads them stays in bounds.
  for (int64_t t = tokens; t < p.rows.tokens.capacity; ++t) p.masked_ids[t] = 0;
  for (int64_t s = slots; s < p.slots.capacity; ++s) {
    p.slot_token[s] = 0;
    p.slot_target[s] = 0;
    p.slot_coordinate[s] = 0;
    p.slot_local[s] = 0;
  }
  if (p.token_slots != nullptr) group_slots(p, slots);
}

void CpuOperators::replace_tokens(const ReplaceTokens& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "replace_tokens");
  const int64_t slots = actual_rows(p.slots, "replace_tokens");
  const int32_t batch = p.rows.batch;
  const int64_t pitch = p.rows.pitch;

  pool_.run(tasks_for(batch, kRowsPerTask), [&](int64_t task, int worker) {
    float* memory = worker_scratch(worker, static_cast<size_t>(pitch) * 3);
    int64_t* sums = as_long_integers(memory);
    int32_t* counts = as_integers(memory + 2 * pitch);
    const int32_t last = static_cast<int32_t>(std::min<int64_t>(batch, (task + 1) * kRowsPerTask));
    for (int32_t b = static_cast<int32_t>(task * kRowsPerTask); b < last; ++b) {
      const int64_t length = row_length(p.rows, b, tokens, "replace_tokens");
      const int64_t count = slot_count(p.slot_offsets, b, slots, slots, "replace_tokens");
      const int32_t first = p.rows.offsets[b];
      for (int64_t i = 0; i < length; ++i) {
        sums[i] = 0;
        counts[i] = 0;
      }
      for (int64_t j = 0; j < count; ++j) {
        const int64_t s = p.slot_offsets[b] + j;
        const int64_t position = static_cast<int64_t>(p.slot_token[s]) - first;
        ELECTRA_CHECK_SHAPE(position >= 0 && position < length,
                            "replace_tokens: slot %lld points at token %d, outside its row %d",
                            static_cast<long long>(s), p.slot_token[s], b);
        sums[position] += p.sampled[s];
        ++counts[position];
      }
      for (int64_t i = 0; i < length; ++i) {
        const int32_t id = p.ids[first + i];
        const bool writes = i != 0 && counts[i] > 0;
        // Ids are not negative, so the integer division is the floor.
        const int32_t written = writes ? static_cast<int32_t>(sums[i] / counts[i]) : id;
        p.replaced_ids[first + i] = written;
        p.labels[first + i] = writes && (p.label_every_slot || written != id) ? 1.0f : 0.0f;
      }
    }
  });

  for (int64_t t = tokens; t < p.rows.tokens.capacity; ++t) {
    p.replaced_ids[t] = 0;
    p.labels[t] = 0;
  }
}

// Drawn, not injected: id = uniform_index(word, V) with the word of the slot's coordinate. disallow_correct
// draws from the V − 1 other ids, which is the same distribution as lowering the target's logit by 1000.
void CpuOperators::sample_uniform(const SampleUniform& p) {
  const int64_t slots = actual_rows(p.slots, "sample_uniform");
  ELECTRA_CHECK_SHAPE(slots == 0 || p.vocabulary > (p.disallow_correct ? 1 : 0),
                      "sample_uniform: a vocabulary of %d leaves nothing to sample", p.vocabulary);
  ELECTRA_CHECK_SHAPE(slots == 0 || p.given_uniform != nullptr || p.scalars != nullptr,
                      "sample_uniform: drawing needs the step's scalars");
  ELECTRA_CHECK_SHAPE(!p.disallow_correct || p.slot_target != nullptr,
                      "sample_uniform: disallow_correct needs the slots' targets");
  const uint32_t vocabulary = static_cast<uint32_t>(p.vocabulary);

  pool_.run(tasks_for(slots, kSlotsPerTask), [&](int64_t task, int) {
    const int64_t last = std::min(slots, (task + 1) * kSlotsPerTask);
    for (int64_t s = task * kSlotsPerTask; s < last; ++s) {
      if (p.given_uniform != nullptr) {
        const float* u = p.given_uniform + static_cast<int64_t>(p.slot_local[s]) * p.vocabulary;
        int32_t best = 0;
        float best_score = -INFINITY;
        for (int32_t v = 0; v < p.vocabulary; ++v) {
          const float score = (p.disallow_correct && v == p.slot_target[s] ? -1000.0f : 0.0f) + gumbel(u[v]);
          if (score > best_score) {
            best_score = score;
            best = v;
          }
        }
        p.sampled[s] = best;
        continue;
      }
      const uint32_t word =
          draw_word(*p.scalars, RandomPurpose::kUniformSample, static_cast<uint32_t>(p.slot_coordinate[s]));
      if (p.disallow_correct) {
        const uint32_t id = uniform_index(word, vocabulary - 1);
        p.sampled[s] = static_cast<int32_t>(id + (id >= static_cast<uint32_t>(p.slot_target[s]) ? 1 : 0));
      } else {
        p.sampled[s] = static_cast<int32_t>(uniform_index(word, vocabulary));
      }
    }
  });
  for (int64_t s = slots; s < p.slots.capacity; ++s) p.sampled[s] = 0;
}

}  // namespace electra::cpu
