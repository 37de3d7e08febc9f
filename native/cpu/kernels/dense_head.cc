// The element-wise half of the language-model head. A tile of logits is visited right after the product that
// made it, while it lies in the second-level cache; nothing here reads a logit from memory twice.

#include "dense_head.h"

#include "../../philox.h"
#include "math.h"
#include "philox_simd.h"

namespace electra::cpu::ELECTRA_ISA {
namespace {

constexpr int kGroup = 64;  // columns whose noise comes from one call of philox16
constexpr float kInfinity = __builtin_inff();

ELECTRA_VECTOR_INLINE bool any(vi mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#else
#if ELECTRA_PIECE_BYTES == 32
  const vi::Piece all = mask.piece[0] | mask.piece[1];
#else
  const vi::Piece all = (mask.piece[0] | mask.piece[1]) | (mask.piece[2] | mask.piece[3]);
#endif
#if defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(all)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(all)) != 0;
#else
  return (all[0] | all[1] | all[2] | all[3]) != 0;
#endif
#endif
}

/// Lanes 0 … 15.
ELECTRA_VECTOR_INLINE vi lane_numbers() { return vi{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

struct Peak {
  float value;
  int32_t index;
};

/// z = values + bias into `z`, padded with −infinity to a multiple of kGroup; the maximum and its first
/// column.
ELECTRA_VECTOR_INLINE Peak add_bias(const float* values, const float* bias, int64_t columns, float* z) {
  vf best = splat(-kInfinity);
  vi index = vi{};
  vi column = lane_numbers();
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    vf v = load(values + c);
    if (bias != nullptr) v += load(bias + c);
    store(z + c, v);
    index = select(v > best, column, index);
    best = vmax(v, best);  // a NaN is passed over; the sum of exponentials will show it
    column += kLanes;
  }
  if (c < columns) {
    const int n = static_cast<int>(columns - c);
    vf v = load_part(values + c, n);
    if (bias != nullptr) v += load_part(bias + c, n);
    v = select(lane_numbers() < n, v, splat(-kInfinity));
    store(z + c, v);
    index = select(v > best, column, index);
    best = vmax(v, best);
    c += kLanes;
  }
  for (; c % kGroup != 0; c += kLanes) store(z + c, splat(-kInfinity));
  Peak peak{best[0], index[0]};
  for (int i = 1; i < kLanes; ++i)
    if (best[i] > peak.value || (best[i] == peak.value && index[i] < peak.index))
      peak = Peak{best[i], index[i]};
  return peak;
}

/// −log(−log(u + 1e-9) + 1e-9), the reference's Gumbel noise, in f32.
ELECTRA_VECTOR_INLINE vf gumbel(vf u) { return -vlog(-vlog(u + 1e-9f) + 1e-9f); }

/// The uniforms of columns c … c + 63: from the stream, or the recorded ones.
ELECTRA_VECTOR_INLINE void drawn_uniforms(const PhiloxStream& stream, uint64_t block, vf* u) {
  const PhiloxVectors w = philox16(stream, block);
  // Lane i of word w is column 4 i + w.
#if defined(__AVX512F__)
  // Interleave words 0 and 1, 2 and 3, then the pairs.
  constexpr vi low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr vi high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  constexpr vi low_pairs = {0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23};
  constexpr vi high_pairs = {8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31};
  const vu a0 = __builtin_shuffle(w.word[0], w.word[1], low),
           a1 = __builtin_shuffle(w.word[0], w.word[1], high);
  const vu b0 = __builtin_shuffle(w.word[2], w.word[3], low),
           b1 = __builtin_shuffle(w.word[2], w.word[3], high);
  u[0] = uniform_open16(__builtin_shuffle(a0, b0, low_pairs));
  u[1] = uniform_open16(__builtin_shuffle(a0, b0, high_pairs));
  u[2] = uniform_open16(__builtin_shuffle(a1, b1, low_pairs));
  u[3] = uniform_open16(__builtin_shuffle(a1, b1, high_pairs));
#else
  // A 4 x 4 transposition for every four blocks.
  using quad = uint32_t __attribute__((vector_size(16)));
  quad words[4][4], columns[16];
  std::memcpy(words, &w, sizeof(words));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const quad a = __builtin_shufflevector(words[0][i], words[1][i], 0, 4, 1, 5);
    const quad b = __builtin_shufflevector(words[0][i], words[1][i], 2, 6, 3, 7);
    const quad c = __builtin_shufflevector(words[2][i], words[3][i], 0, 4, 1, 5);
    const quad d = __builtin_shufflevector(words[2][i], words[3][i], 2, 6, 3, 7);
    columns[4 * i] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    columns[4 * i + 1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    columns[4 * i + 2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    columns[4 * i + 3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    vu part;
    std::memcpy(&part, columns + 4 * i, sizeof(part));
    u[i] = uniform_open16(part);
  }
#endif
}
ELECTRA_VECTOR_INLINE void given_uniforms(const float* given, int64_t left, vf* u) {
  for (int i = 0; i < 4; ++i) {
    const int64_t n = left - i * kLanes;
    u[i] = n >= kLanes ? load(given + i * kLanes)
           : n > 0     ? load_part(given + i * kLanes, static_cast<int>(n))
                       : vf{};
  }
}

/// The draw of one slot within one tile: the column that maximizes z / temperature + gumbel(u), lowest on
/// ties.
///
/// With E = −log(u), z + gumbel(u) >= θ exactly if E <= e^(z − θ). As E >= 1 − u, a column with 1 − u > e^(z
/// − θ) is below θ without any logarithm; e^(z − maximum) is at hand from the softmax. With θ = log Σ e^z
/// − 2.5 about twelve columns of a tile are left, and in all but one tile of two hundred thousand the winner
/// is among them. They are computed exactly as the formula says, and if none of them reaches θ, so are all,
/// hence the result is the same as without the shortcut. A margin of one percent covers all rounding as long
/// as the logits stay below 10^4; beyond, or with a temperature, nothing is passed over.
struct SlotDraw {
  const float* z;
  const float* exponentials;
  int64_t columns;
  float temperature;
  int64_t target;      // column of this tile that must not win; −1: none
  const float* given;  // recorded uniforms of this tile, or null
  PhiloxStream stream;
  uint64_t block;
  float best = -kInfinity;
  int64_t best_column = 0;
};

ELECTRA_VECTOR_INLINE void uniforms(const SlotDraw& d, int64_t c, vf* u) {
  if (d.given != nullptr)
    given_uniforms(d.given + c, d.columns - c, u);
  else
    drawn_uniforms(d.stream, d.block + static_cast<uint64_t>(c / 4), u);
}

/// Candidates of a tile, in ascending order; room for a whole register beyond the last.
struct Candidates {
  alignas(64) float u[kLogitTileColumns + kLanes];
  alignas(64) int32_t column[kLogitTileColumns + kLanes];
  int count = 0;

  /// Appends the lanes of a mask.
  inline __attribute__((always_inline)) void append(vi mask, vf uniform, int64_t first) {
#if defined(__AVX512F__)
    const __mmask16 bits = _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
    const vi columns = lane_numbers() + static_cast<int32_t>(first);
    store(u + count, reinterpret_cast<vf>(_mm512_maskz_compress_ps(bits, reinterpret_cast<__m512>(uniform))));
    const __m512i packed = _mm512_maskz_compress_epi32(bits, reinterpret_cast<__m512i>(columns));
    std::memcpy(column + count, &packed, sizeof(packed));
    count += __builtin_popcount(bits);
#else
    if (!any(mask)) return;
    float lanes[kLanes], flags[kLanes];
    store(lanes, uniform);
    store(flags, select(mask, splat(1.0f), splat(0.0f)));
    for (int i = 0; i < kLanes; ++i) {
      u[count] = lanes[i];
      column[count] = static_cast<int32_t>(first + i);
      count += flags[i] != 0 ? 1 : 0;
    }
#endif
  }
};

/// Takes sixteen exact values into account; `column` tells which columns they belong to.
ELECTRA_VECTOR_INLINE void take_best(SlotDraw* d, vf y, const int32_t* column) {
  if (!any(y > d->best)) return;
  float lanes[kLanes];
  store(lanes, y);
  for (int i = 0; i < kLanes; ++i) {
    const bool better = lanes[i] > d->best;
    d->best_column = better ? column[i] : d->best_column;
    d->best = better ? lanes[i] : d->best;
  }
}

/// Every column, exactly.
void draw_all(SlotDraw* d) {
  vf u[4];
  int32_t column[kLanes];
  for (int64_t c = 0; c < d->columns; c += kLanes) {
    if (c % kGroup == 0) uniforms(*d, c, u);
    vf y = load(d->z + c);
    if (d->temperature != 1.0f) y = y / splat(d->temperature);
    if (d->target >= c && d->target < c + kLanes)
      y = select(lane_numbers() == static_cast<int32_t>(d->target - c), y - 1000.0f, y);
    for (int i = 0; i < kLanes; ++i) column[i] = static_cast<int32_t>(c + i);
    take_best(d, y + gumbel(u[c % kGroup / kLanes]), column);
  }
}

/// The candidates only; whether that settles it. `total` is the sum of the exponentials.
bool draw_candidates(SlotDraw* d, float maximum, float total) {
  const float rest = d->target >= 0 ? total - d->exponentials[d->target] : total;
  if (d->temperature != 1.0f || !(maximum > -1e4f && maximum < 1e4f) || !(rest >= 1e-3f)) return false;
  const float threshold = maximum + __builtin_logf(rest) - 2.5f;
  const float reach = 12.1825f * 1.01f / rest;  // e^2.5 and the margin
  Candidates chosen;
  vf u[4];
  for (int64_t c = 0; c < d->columns; c += kGroup) {
    uniforms(*d, c, u);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int64_t first = c + i * kLanes;
      chosen.append(load(d->exponentials + first) * reach + 1e-6f >= 1.0f - u[i], u[i], first);
    }
  }
  for (int i = 0; i < chosen.count; i += kLanes) {
    float lanes[kLanes];
    const int n = chosen.count - i < kLanes ? chosen.count - i : kLanes;
    for (int j = 0; j < kLanes; ++j) {
      const int64_t column = chosen.column[i + (j < n ? j : 0)];
      lanes[j] = j < n ? d->z[column] - (column == d->target ? 1000.0f : 0.0f) : -kInfinity;
    }
    const vf y = load(lanes) + gumbel(select(lane_numbers() < n, load(chosen.u + i), splat(0.5f)));
    take_best(d, y, chosen.column + i);
  }
  return d->best >= threshold;
}

void draw_slot(const LogitTile& tile, const GumbelDraws& draws, int64_t slot, const float* exponentials,
               float maximum, float total) {
  SlotDraw d{};
  d.z = tile.scratch;
  d.exponentials = exponentials;
  d.columns = tile.columns;
  d.temperature = draws.temperature;
  d.target = -1;
  if (draws.disallow_correct) {
    const int64_t column = draws.slot_target[slot] - tile.first;
    if (column >= 0 && column < tile.columns) d.target = column;
  }
  if (draws.given_uniform != nullptr) {
    d.given =
        draws.given_uniform + static_cast<int64_t>(draws.slot_local[slot]) * tile.vocabulary + tile.first;
  } else {
    d.stream = philox_stream(draws.seed, RandomPurpose::kGumbel, draws.step, 0);
    d.block = gumbel_block(static_cast<uint32_t>(draws.slot_coordinate[slot]),
                           static_cast<uint32_t>(tile.vocabulary), static_cast<uint32_t>(tile.first));
  }
  d.best = -kInfinity;
  if (!draw_candidates(&d, maximum, total)) {
    d.best = -kInfinity;
    d.best_column = 0;
    draw_all(&d);
  }
  draws.best_value[slot] = d.best;
  draws.best_id[slot] = static_cast<int32_t>(tile.first + d.best_column);
}

}  // namespace

void logit_tile(const LogitTile& tile, const GumbelDraws* draws) {
  const float* bias = tile.bias != nullptr ? tile.bias + tile.first : nullptr;
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* values = tile.values + r * tile.stride;
    const Peak peak = add_bias(values, bias, tile.columns, tile.scratch);
    vf total = {};
    for (int64_t c = 0; c < tile.columns; c += kLanes) {
      const vf e = vexp(load(tile.scratch + c) - peak.value);
      store(values + c, e);
      total += e;
    }
    for (int64_t c = (tile.columns + kLanes - 1) / kLanes * kLanes; c % kGroup != 0; c += kLanes)
      store(values + c, vf{});
    tile.maximum[r] = peak.value;
    tile.exponentials[r] = sum(total);
    tile.best[r] = static_cast<int32_t>(tile.first) + peak.index;
    if (tile.targets != nullptr) {
      const int64_t column = tile.targets[r] - tile.first;
      if (column >= 0 && column < tile.columns) tile.target_logit[r] = tile.scratch[column];
    }
    if (tile.logits != nullptr)
      std::memcpy(tile.logits + r * tile.vocabulary + tile.first, tile.scratch,
                  static_cast<size_t>(tile.columns) * 4);
    if (draws == nullptr) continue;
    if (draws->row_slots == nullptr) {
      const int64_t slot = draws->first_row + r;
      if (slot < draws->slots) draw_slot(tile, *draws, slot, values, peak.value, tile.exponentials[r]);
      continue;
    }
    for (int32_t i = draws->row_slots[r]; i < draws->row_slots[r + 1]; ++i) {
      const int64_t slot = draws->slot_order != nullptr ? draws->slot_order[i] : i;
      if (slot < draws->slots) draw_slot(tile, *draws, slot, values, peak.value, tile.exponentials[r]);
    }
  }
}

void logit_gradient(float* values, int64_t stride, int64_t rows, int64_t first, int64_t columns,
                    const float* factor, const int32_t* targets, const float* onehot, float* sums) {
  const int64_t whole = columns / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r) {
    float* row = values + r * stride;
    const vf f = splat(factor[r]);
    if (sums != nullptr) {
      for (int64_t c = 0; c < whole; c += kLanes) {
        const vf d = load(row + c) * f;
        store(row + c, d);
        store(sums + c, load(sums + c) + d);
      }
    } else {
      for (int64_t c = 0; c < whole; c += kLanes) store(row + c, load(row + c) * f);
    }
    for (int64_t c = whole; c < columns; ++c) {
      row[c] *= factor[r];
      if (sums != nullptr) sums[c] += row[c];
    }
    const int64_t target = targets[r] - first;
    if (target >= 0 && target < columns) {
      row[target] -= onehot[r];
      if (sums != nullptr) sums[target] -= onehot[r];
    }
  }
}

}  // namespace electra::cpu::ELECTRA_ISA
