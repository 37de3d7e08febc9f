// Reference: moving rows, corrupting the input.

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

int64_t row_begin(const Rows& rows, int64_t token) { return rows.offsets[rows.token_row[token]]; }
int64_t row_end(const Rows& rows, int64_t token) { return rows.offsets[rows.token_row[token] + 1]; }

uint32_t scalar_draw(const StepScalars& scalars, RandomPurpose purpose, uint64_t coordinate) {
  return random_block(scalars.seed, purpose, coordinate / 4, scalars.step, 0).word[coordinate % 4];
}

}  // namespace

double gumbel_noise(float u) {
  return -std::log(-std::log(static_cast<double>(u + 1e-9f)) + static_cast<double>(1e-9f));
}

void ReferenceOperators::gather_rows(const GatherRows& p) {
  const MatrixView x = memory_.matrix(p.x), y = memory_.matrix(p.y);
  for (int64_t i = 0; i < count_of(p.count); ++i) {
    for (int64_t c = 0; c < p.y.cols; ++c) y.set(i, c, p.index[i] < 0 ? 0 : x.at(p.index[i], c));
  }
  clear_beyond(y, p.count, p.y.cols);
}

void ReferenceOperators::scatter_add_rows(const ScatterAddRows& p) {
  const MatrixView dy = memory_.matrix(p.dy), dx = memory_.matrix(p.dx);
  for (int64_t t = 0; p.into == Into::kWrite && t < p.target.capacity; ++t) {
    for (int64_t c = 0; c < p.dx.cols; ++c) dx.set(t, c, 0);
  }
  for (int64_t i = 0; i < count_of(p.count); ++i) {
    for (int64_t c = 0; p.index[i] >= 0 && c < p.dx.cols; ++c) dx.add(p.index[i], c, dy.at(i, c));
  }
}

void ReferenceOperators::tower_concat(const TowerConcat& p) {
  const int64_t width = p.left_to_right.cols;
  const MatrixView left = memory_.matrix(p.left_to_right), right = memory_.matrix(p.right_to_left);
  const MatrixView y = memory_.matrix(p.y);
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    const int64_t before = t == row_begin(p.rows, t) ? row_end(p.rows, t) - 1 : t - 1;
    const int64_t after = t + 1 == row_end(p.rows, t) ? row_begin(p.rows, t) : t + 1;
    for (int64_t c = 0; c < width; ++c) {
      y.set(t, c, left.at(before, c));
      y.set(t, width + c, right.at(after, c));
    }
  }
  clear_beyond(y, p.rows.tokens, 2 * width);
}

void ReferenceOperators::tower_concat_backward(const TowerConcatBackward& p) {
  const int64_t width = p.d_left_to_right.cols;
  const MatrixView dy = memory_.matrix(p.dy);
  const MatrixView left = memory_.matrix(p.d_left_to_right), right = memory_.matrix(p.d_right_to_left);
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    const int64_t before = t == row_begin(p.rows, t) ? row_end(p.rows, t) - 1 : t - 1;
    const int64_t after = t + 1 == row_end(p.rows, t) ? row_begin(p.rows, t) : t + 1;
    for (int64_t c = 0; c < width; ++c) {
      left.set(before, c, dy.at(t, c));
      right.set(after, c, dy.at(t, width + c));
    }
  }
  clear_beyond(left, p.rows.tokens, width);
  clear_beyond(right, p.rows.tokens, width);
}

void ReferenceOperators::add_rows(const AddRows& p) {
  const MatrixView x = memory_.matrix(p.x), y = memory_.matrix(p.y);
  for (int64_t t = 0; t < count_of(p.tokens); ++t) {
    for (int64_t c = 0; c < p.x.cols; ++c) y.add(t, c, x.at(t, c));
  }
}

void ReferenceOperators::mask_tokens(const MaskTokens& p) {
  for (int64_t t = 0; t < p.rows.tokens.capacity; ++t)
    p.masked_ids[t] = t < count_of(p.rows.tokens) ? p.ids[t] : 0;
  for (int64_t s = count_of(p.slots); s < p.slots.capacity; ++s) {
    p.slot_token[s] = p.slot_target[s] = p.slot_coordinate[s] = p.slot_local[s] = 0;
  }
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int32_t first = p.rows.offsets[b];
    std::vector<int32_t> candidates;
    for (int32_t i = 0; i < p.rows.valid[b]; ++i) {
      const int32_t id = p.ids[first + i];
      if (id != p.cls_id && id != p.sep_id && id != p.mask_id) candidates.push_back(i);
    }
    const uint32_t found = static_cast<uint32_t>(candidates.size());
    for (int32_t s = p.slot_offsets[b]; s < p.slot_offsets[b + 1]; ++s) {
      const uint32_t j = static_cast<uint32_t>(s - p.slot_offsets[b]);
      const uint64_t coordinate = static_cast<uint64_t>(p.rows.global_row[b]) * p.slots_per_row + j;
      const int32_t local = b * p.slots_per_row + static_cast<int32_t>(j);
      int32_t position;
      if (p.given_positions != nullptr) {
        position = p.given_positions[local];
      } else {
        const uint32_t word = scalar_draw(*p.scalars, RandomPurpose::kMaskPositions, coordinate);
        if (p.without_replacement && j < found) {
          // Step j of a Fisher-Yates shuffle of the candidates.
          std::swap(candidates[j], candidates[j + uniform_index(word, found - j)]);
          position = candidates[j];
        } else {
          position = candidates[uniform_index(word, found)];
        }
      }
      const float u =
          p.given_replace_uniform != nullptr
              ? p.given_replace_uniform[local]
              : uniform_open(scalar_draw(*p.scalars, RandomPurpose::kMaskReplacement, coordinate));
      p.slot_token[s] = first + position;
      p.slot_target[s] = p.ids[first + position];
      p.slot_coordinate[s] = static_cast<int32_t>(coordinate);
      p.slot_local[s] = local;
      if (position > 0 && u < p.mask_probability) p.masked_ids[first + position] = p.mask_id;
    }
  }
  if (p.token_slots == nullptr) return;
  int32_t grouped = 0;
  for (int32_t t = 0; t < p.rows.tokens.capacity; ++t) {
    p.token_slots[t] = grouped;
    if (t >= count_of(p.rows.tokens)) continue;
    for (int32_t s = 0; s < count_of(p.slots); ++s)
      if (p.slot_token[s] == t) p.slot_order[grouped++] = s;
  }
  p.token_slots[p.rows.tokens.capacity] = grouped;
}

void ReferenceOperators::replace_tokens(const ReplaceTokens& p) {
  const View labels = memory_.view(p.labels);
  for (int64_t t = 0; t < p.rows.tokens.capacity; ++t) {
    p.replaced_ids[t] = t < count_of(p.rows.tokens) ? p.ids[t] : 0;
    labels.set(t, 0);
  }
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    std::map<int32_t, std::vector<int32_t>> writes;
    for (int32_t s = p.slot_offsets[b]; s < p.slot_offsets[b + 1]; ++s)
      writes[p.slot_token[s]].push_back(p.sampled[s]);
    for (const auto& [token, ids] : writes) {
      if (token == p.rows.offsets[b]) continue;
      double sum = 0;
      for (const int32_t id : ids) sum += id;
      p.replaced_ids[token] = static_cast<int32_t>(std::floor(sum / static_cast<double>(ids.size())));
      labels.set(token, p.label_every_slot || p.replaced_ids[token] != p.ids[token] ? 1 : 0);
    }
  }
}

void ReferenceOperators::sample_uniform(const SampleUniform& p) {
  for (int64_t s = 0; s < p.slots.capacity; ++s) {
    p.sampled[s] = 0;
    if (s >= count_of(p.slots)) continue;
    if (p.given_uniform != nullptr) {
      double best = -std::numeric_limits<double>::infinity();
      for (int32_t v = 0; v < p.vocabulary; ++v) {
        const double score =
            gumbel_noise(p.given_uniform[static_cast<int64_t>(p.slot_local[s]) * p.vocabulary + v]) -
            (p.disallow_correct && v == p.slot_target[s] ? 1000 : 0);
        if (score > best) {
          best = score;
          p.sampled[s] = v;
        }
      }
      continue;
    }
    const uint32_t word =
        scalar_draw(*p.scalars, RandomPurpose::kUniformSample, static_cast<uint64_t>(p.slot_coordinate[s]));
    const uint32_t choices = static_cast<uint32_t>(p.vocabulary) - (p.disallow_correct ? 1 : 0);
    p.sampled[s] = static_cast<int32_t>(uniform_index(word, choices));
    if (p.disallow_correct && p.sampled[s] >= p.slot_target[s]) ++p.sampled[s];
  }
}

}  // namespace electra::test
