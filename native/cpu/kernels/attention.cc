// Attention of one head over one row. Keys are packed transposed, so that sixteen scores of a query are one vector;
// a block of queries then has its whole tile of scores [32, keys] in the cache: no running maximum, no rescaling. The
// backward pass recomputes the tile from log Σ exp (Dao et al. 2022, FlashAttention, section 3.1) and adds the gradients
// of keys and values query block by query block, in order.

#include "attention.h"

#include "../simd.h"
#include "keep_mask.h"
#include "math.h"

namespace electra::cpu::ELECTRA_ISA {
namespace {

#define ELECTRA_INLINE __attribute__((always_inline)) inline

// A product's register tile: rows times vectors of sixteen, by the number of registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
constexpr int kTileVectors = 1;
#else
constexpr int kTileRows = 2;
constexpr int kTileVectors = 1;
#endif
constexpr int64_t kPanel = kTileVectors * kLanes;

constexpr float kMaskAddend = -10000.0f;  // of a masked score, as in BERT's code
constexpr float kLowest = -3e38f;         // of a score that is not there; its exponential is 0

/// One operand whose element (i, k) lies at data[i · row + k · column]; it is read element by element.
struct Left {
  const float* data;
  int64_t row;
  int64_t column;
};

/// c[kRows, 16 · kVectors] = (add ? c : 0) + a · b over `depth`, with b's rows `b_stride` apart.
template <int kRows, int kVectors>
__attribute__((noinline)) void product_tile(int64_t depth, Left a, const float* b, int64_t b_stride, float* c,
                                            int64_t c_stride, bool add) {
  vf sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = add ? load(c + r * c_stride + v * kLanes) : vf{};
  }
  const float* left = a.data;
  for (int64_t k = 0; k < depth; ++k) {
    vf right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const vf x = splat(left[r * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += x * right[v];
    }
    left += a.column;
    b += b_stride;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c + r * c_stride + v * kLanes, sums[r][v]);
  }
}

template <int kVectors>
void product_rows(int64_t rows, int64_t depth, Left a, const float* b, int64_t b_stride, float* c, int64_t c_stride,
                  bool add) {
  // Tiles of nearly equal height: 32 rows are 6 6 5 5 5 5, not five sixes and a two.
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t tile = 0, r = 0; tile < tiles; ++tile) {
    const int64_t height = rows / tiles + (tile < rows % tiles ? 1 : 0);
    const Left mine{a.data + r * a.row, a.row, a.column};
    float* out = c + r * c_stride;
    switch (height) {
      case 1: product_tile<1, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
      case 2: product_tile<2, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
#if defined(__AVX2__)
      case 3: product_tile<3, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
      case 4: product_tile<4, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
      case 5: product_tile<5, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
      default: product_tile<6, kVectors>(depth, mine, b, b_stride, out, c_stride, add); break;
#endif
    }
    r += height;
  }
}

/// c[rows, columns] = (add ? c : 0) + a · b. `columns` is a multiple of 16. Panel p of b starts at b + p · panel_stride.
void product(int64_t rows, int64_t columns, int64_t depth, Left a, const float* b, int64_t b_stride,
             int64_t panel_stride, float* c, int64_t c_stride, bool add) {
  for (int64_t j = 0; j < columns; j += kPanel, b += panel_stride) {
    const int64_t vectors = (columns - j < kPanel ? columns - j : kPanel) / kLanes;
    switch (vectors) {
      case 1: product_rows<1>(rows, depth, a, b, b_stride, c + j, c_stride, add); break;
#if defined(__AVX512F__)
      case 2: product_rows<2>(rows, depth, a, b, b_stride, c + j, c_stride, add); break;
      case 3: product_rows<3>(rows, depth, a, b, b_stride, c + j, c_stride, add); break;
      default: product_rows<4>(rows, depth, a, b, b_stride, c + j, c_stride, add); break;
#endif
    }
  }
}

ELECTRA_INLINE int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/// Copies [rows, width] to rows `padded` apart, times `factor`, with zeros behind.
void pack(const float* from, int64_t stride, int64_t rows, int64_t width, int64_t padded, float factor, float* to) {
  for (int64_t r = 0; r < rows; ++r, from += stride, to += padded) {
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) store(to + c, load(from + c) * factor);
    if (c < padded) store(to + c, load_part(from + c, static_cast<int>(width - c)) * factor);
  }
}

/// The inverse of pack.
void unpack(const float* from, int64_t padded, int64_t rows, int64_t width, float factor, float* to, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r, from += padded, to += stride) {
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) store(to + c, load(from + c) * factor);
    if (c < width) store_part(to + c, load(from + c) * factor, static_cast<int>(width - c));
  }
}

/// Transposes [keys, width] into panels of kPanel keys: element (d, j) at panel(j) + d · kPanel + j mod kPanel; zeros
/// for the keys that fill up the last vector.
void pack_transposed(const float* from, int64_t stride, int64_t keys, int64_t width, float* to) {
  using quad = float __attribute__((vector_size(16)));
  const int64_t padded = round_up(keys, kLanes);
  for (int64_t j = 0; j < padded; j += 4) {
    float* out = to + j / kPanel * kPanel * width + j % kPanel;
    const float* in = from + j * stride;
    int64_t d = 0;
    if (j + 4 <= keys) {
      for (; d + 4 <= width; d += 4) {
        quad a, b, c, e;
        std::memcpy(&a, in + d, 16);
        std::memcpy(&b, in + stride + d, 16);
        std::memcpy(&c, in + 2 * stride + d, 16);
        std::memcpy(&e, in + 3 * stride + d, 16);
        const quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const quad ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const quad ce0 = __builtin_shufflevector(c, e, 0, 4, 1, 5);
        const quad ce1 = __builtin_shufflevector(c, e, 2, 6, 3, 7);
        const quad r0 = __builtin_shufflevector(ab0, ce0, 0, 1, 4, 5);
        const quad r1 = __builtin_shufflevector(ab0, ce0, 2, 3, 6, 7);
        const quad r2 = __builtin_shufflevector(ab1, ce1, 0, 1, 4, 5);
        const quad r3 = __builtin_shufflevector(ab1, ce1, 2, 3, 6, 7);
        std::memcpy(out + d * kPanel, &r0, 16);
        std::memcpy(out + (d + 1) * kPanel, &r1, 16);
        std::memcpy(out + (d + 2) * kPanel, &r2, 16);
        std::memcpy(out + (d + 3) * kPanel, &r3, 16);
      }
    }
    for (; d < width; ++d) {
      for (int64_t i = 0; i < 4; ++i) out[d * kPanel + i] = j + i < keys ? in[i * stride + d] : 0.0f;
    }
  }
}

/// Half-open range of keys.
struct Keys {
  int64_t first;
  int64_t last;
  bool empty() const { return first >= last; }
};

/// What query i may see; nothing at all is possible for a right-to-left query in the padding.
ELECTRA_INLINE Keys visible_keys(const AttentionHead& h, int64_t i) {
  Keys keys{0, h.visible};
  if (h.mask == AttentionMask::kLeftToRight && i + 1 < keys.last) keys.last = i + 1;
  if (h.mask == AttentionMask::kRightToLeft) keys.first = i;
  return keys;
}

/// The keys that the queries first … last − 1 give any weight to. A masked key beside a visible one has weight
/// exp(−10000 + …) = 0, so it may be left out; a query that sees nothing attends to all keys.
Keys block_keys(const AttentionHead& h, int64_t first, int64_t last) {
  const Keys a = visible_keys(h, first);
  const Keys b = visible_keys(h, last - 1);
  if (a.empty() || b.empty()) return Keys{0, h.tokens};
  return Keys{a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
}

/// Bit l: position j + l is in [first, last).
ELECTRA_INLINE uint32_t range_bits(int64_t j, int64_t first, int64_t last) {
  const int64_t low = first - j < 0 ? 0 : first - j > 16 ? 16 : first - j;
  const int64_t high = last - j < 0 ? 0 : last - j > 16 ? 16 : last - j;
  return ((1u << high) - 1u) & ~((1u << low) - 1u);
}

/// Makes the scores of query i final: masked ones are lowered, those that are not there cannot win.
ELECTRA_INLINE void mask_scores(const AttentionHead& h, int64_t i, const Keys& keys, float* scores) {
  const Keys seen = visible_keys(h, i);
  if (seen.empty()) {
    for (int64_t j = keys.first; j < keys.last; j += kLanes) {
      const uint32_t real = range_bits(j, 0, h.tokens);
      const vf s = load(scores + j) + kMaskAddend;
      store(scores + j, keep_lanes(s, real) + keep_lanes(splat(kLowest), ~real & 0xFFFFu));
    }
    return;
  }
  for (int64_t j = keys.first; j < keys.last; j += kLanes) {
    if (j >= seen.first && j + kLanes <= seen.last) {  // all sixteen are seen: go on at the end of the range
      j = seen.last / kLanes * kLanes - kLanes;
      continue;
    }
    const uint32_t bits = range_bits(j, seen.first, seen.last);
    store(scores + j, keep_lanes(load(scores + j), bits) + keep_lanes(splat(kLowest), ~bits & 0xFFFFu));
  }
}

ELECTRA_INLINE float row_maximum(const float* scores, const Keys& keys) {
  vf top = splat(kLowest);
  for (int64_t j = keys.first; j < keys.last; j += kLanes) top = max(top, load(scores + j));
  return max_lane(top);
}

/// Picks out of four bytes the two bits at `place` of each, in order.
ELECTRA_INLINE uint32_t gather_pairs(uint32_t bytes, int place) {
#if defined(__BMI2__)
  return _pext_u32(bytes, 0x03030303u << place);
#else
  uint32_t x = (bytes >> place) & 0x03030303u;
  x = (x | (x >> 6)) & 0x000F000Fu;
  return (x | (x >> 12)) & 0xFFu;
#endif
}

/// Dropout decisions of queries first … last − 1 (first a multiple of 16) for the keys, sixteen to a word:
/// bits[(i − first) · words + j / 16]. The order inside a block is that of philox.h, attention_element.
void keep_tiles(const AttentionHead& h, int64_t first, int64_t last, const Keys& keys, int64_t words, uint16_t* bits) {
  const PhiloxStream stream = philox_stream(h.seed, RandomPurpose::kDropout, h.step, h.site);
  for (int64_t i = first; i < last; i += 16) {
    for (int64_t j = keys.first / 16; j * 16 < keys.last; ++j) {
      const uint64_t tile =
          h.first_tile + static_cast<uint64_t>(i / 16) * h.tiles + static_cast<uint64_t>(j);
      uint8_t bytes[32];
      philox_keep_bytes(philox16(stream, tile * 32), h.threshold, bytes);
      philox_keep_bytes(philox16(stream, tile * 32 + 16), h.threshold, bytes + 16);
      uint16_t* out = bits + (i - first) * words + j;
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        uint32_t four;
        std::memcpy(&four, bytes + 4 * g, 4);
        out[g * words] = static_cast<uint16_t>(gather_pairs(four, 0) | gather_pairs(four, 2) << 8);
        out[(g + 8) * words] = static_cast<uint16_t>(gather_pairs(four, 4) | gather_pairs(four, 6) << 8);
      }
    }
  }
}

/// The scratch of a head, cut up.
struct Buffers {
  Buffers(const AttentionHead& h)
      : width(round_up(h.head_size, kLanes)),
        panel_stride(kPanel * h.head_size),
        tile_stride(round_up(h.tokens, 64) + 16),
        keep_words(round_up(h.tokens, 64) / 16) {
    const int64_t keys = round_up(h.tokens, 64);
    float* next = h.scratch;
    const auto cut = [&next](int64_t floats) {
      float* mine = next;
      next += floats;
      return mine;
    };
    keys_transposed = cut(keys * width);
    values_transposed = cut(keys * width);
    rows = cut(keys * width);
    d_keys = cut(keys * width);
    d_values = cut(keys * width);
    queries = cut(kQueryBlock * width);
    d_context = cut(kQueryBlock * width);
    out = cut(kQueryBlock * width);
    scores = cut(kQueryBlock * tile_stride);
    d_scores = cut(kQueryBlock * tile_stride);
    keep = reinterpret_cast<uint16_t*>(next);
  }

  int64_t width;         // D rounded up to whole vectors
  int64_t panel_stride;  // between panels of a transposed matrix
  int64_t tile_stride;   // of a tile of scores; not a power of two
  int64_t keep_words;
  float* keys_transposed;
  float* values_transposed;
  float* rows;  // forward: values; backward: keys
  float* d_keys;
  float* d_values;
  float* queries;  // times 1 / sqrt(D)
  float* d_context;
  float* out;
  float* scores;
  float* d_scores;
  uint16_t* keep;
};

/// tile = left [rows, D] · rightᵀ for the panels that hold the keys.
void score_tile(const AttentionHead& h, const Buffers& b, const Keys& keys, const float* left, int64_t rows,
                const float* right_transposed, float* tile) {
  const int64_t first = keys.first / kPanel;
  product(rows, round_up(keys.last, kLanes) - first * kPanel, h.head_size, Left{left, b.width, 1},
          right_transposed + first * b.panel_stride, kPanel, b.panel_stride, tile + first * kPanel, b.tile_stride, false);
}

ELECTRA_INLINE float inverse_root(int64_t head_size) { return 1.0f / __builtin_sqrtf(static_cast<float>(head_size)); }

void forward(const AttentionHead& h) {
  const Buffers b(h);
  pack_transposed(h.key, h.stride, h.tokens, h.head_size, b.keys_transposed);
  pack(h.value, h.stride, h.tokens, h.head_size, b.width, 1.0f, b.rows);
  const float root = inverse_root(h.head_size);
  for (int64_t first = h.first_query; first < h.last_query; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.last_query ? first + kQueryBlock : h.last_query;
    const Keys keys = block_keys(h, first, last);
    pack(h.query + first * h.stride, h.stride, last - first, h.head_size, b.width, root, b.queries);
    score_tile(h, b, keys, b.queries, last - first, b.keys_transposed, b.scores);
    if (h.threshold > 0) keep_tiles(h, first, last, keys, b.keep_words, b.keep);
    float factor[kQueryBlock];
    for (int64_t i = first; i < last; ++i) {
      float* scores = b.scores + (i - first) * b.tile_stride;
      mask_scores(h, i, keys, scores);
      const float top = row_maximum(scores, keys);
      vf total = {};
      if (h.threshold > 0) {
        const uint16_t* keep = b.keep + (i - first) * b.keep_words;
        for (int64_t j = keys.first; j < keys.last; j += kLanes) {
          const vf e = vexp(load(scores + j) - top);
          total += e;
          store(scores + j, keep_lanes(e, keep[j / kLanes]));
        }
      } else {
        for (int64_t j = keys.first; j < keys.last; j += kLanes) {
          const vf e = vexp(load(scores + j) - top);
          total += e;
          store(scores + j, e);
        }
      }
      const float z = sum(total);
      factor[i - first] = h.scale / z;  // h.scale is 1 without dropout
      if (h.log_sum_exp != nullptr) h.log_sum_exp[i * h.log_sum_exp_stride] = top + __builtin_logf(z);
    }
    product(last - first, b.width, keys.last - keys.first, Left{b.scores + keys.first, b.tile_stride, 1},
            b.rows + keys.first * b.width, b.width, kPanel, b.out, b.width, false);
    for (int64_t i = first; i < last; ++i) {
      unpack(b.out + (i - first) * b.width, b.width, 1, h.head_size, factor[i - first],
             h.context + i * h.context_stride, h.context_stride);
    }
  }
}

void probabilities(const AttentionHead& h) {
  const Buffers b(h);
  pack_transposed(h.key, h.stride, h.tokens, h.head_size, b.keys_transposed);
  const float root = inverse_root(h.head_size);
  const Keys all{0, h.tokens};
  for (int64_t first = 0; first < h.tokens; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.tokens ? first + kQueryBlock : h.tokens;
    pack(h.query + first * h.stride, h.stride, last - first, h.head_size, b.width, root, b.queries);
    score_tile(h, b, all, b.queries, last - first, b.keys_transposed, b.scores);
    for (int64_t i = first; i < last; ++i) {
      float* scores = b.scores + (i - first) * b.tile_stride;
      mask_scores(h, i, all, scores);
      const float top = row_maximum(scores, all);
      vf total = {};
      for (int64_t j = 0; j < h.tokens; j += kLanes) {
        const vf e = vexp(load(scores + j) - top);
        total += e;
        store(scores + j, e);
      }
      unpack(scores, b.tile_stride, 1, h.tokens, 1.0f / sum(total), h.probabilities + i * h.probabilities_stride,
             h.probabilities_stride);
    }
  }
}

// With P = softmax, M the dropout's 0 or scale, O = (P ⊙ M) V: dV = (P ⊙ M)ᵀ dO, dP = (dO Vᵀ) ⊙ M,
// dS = P ⊙ (dP − rowsum(dO ⊙ O)), dQ = dS K / sqrt(D), dK = dSᵀ Q / sqrt(D).
void backward(const AttentionHead& h) {
  const Buffers b(h);
  const float root = inverse_root(h.head_size);
  pack_transposed(h.key, h.stride, h.tokens, h.head_size, b.keys_transposed);
  pack_transposed(h.value, h.stride, h.tokens, h.head_size, b.values_transposed);
  pack(h.key, h.stride, h.tokens, h.head_size, b.width, root, b.rows);
  std::memset(b.d_keys, 0, static_cast<size_t>(h.tokens * b.width) * sizeof(float));
  std::memset(b.d_values, 0, static_cast<size_t>(h.tokens * b.width) * sizeof(float));
  for (int64_t first = 0; first < h.tokens; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.tokens ? first + kQueryBlock : h.tokens;
    const int64_t count = last - first;
    const Keys keys = block_keys(h, first, last);
    pack(h.query + first * h.stride, h.stride, count, h.head_size, b.width, root, b.queries);
    pack(h.d_context + first * h.d_context_stride, h.d_context_stride, count, h.head_size, b.width, 1.0f, b.d_context);
    score_tile(h, b, keys, b.queries, count, b.keys_transposed, b.scores);
    score_tile(h, b, keys, b.d_context, count, b.values_transposed, b.d_scores);
    if (h.threshold > 0) keep_tiles(h, first, last, keys, b.keep_words, b.keep);
    for (int64_t i = first; i < last; ++i) {
      float* scores = b.scores + (i - first) * b.tile_stride;
      float* d_scores = b.d_scores + (i - first) * b.tile_stride;
      mask_scores(h, i, keys, scores);
      float shift = h.log_sum_exp[i * h.log_sum_exp_stride];
      float factor = 1.0f;
      if (visible_keys(h, i).empty()) {
        // log Σ exp lies near −10000 here, where f32 has three decimals left; the softmax is made anew.
        shift = row_maximum(scores, keys);
        vf total = {};
        for (int64_t j = keys.first; j < keys.last; j += kLanes) total += vexp(load(scores + j) - shift);
        factor = 1.0f / sum(total);
      }
      const float* context = h.context + i * h.context_stride;
      vf dot = {};
      for (int64_t d = 0; d < h.head_size; d += kLanes) {
        const int n = h.head_size - d >= kLanes ? kLanes : static_cast<int>(h.head_size - d);
        dot += load(b.d_context + (i - first) * b.width + d) * (n == kLanes ? load(context + d) : load_part(context + d, n));
      }
      const float delta = sum(dot);
      if (h.threshold > 0) {
        const uint16_t* keep = b.keep + (i - first) * b.keep_words;
        for (int64_t j = keys.first; j < keys.last; j += kLanes) {
          const vf p = vexp(load(scores + j) - shift) * factor;
          const uint32_t bits = keep[j / kLanes];
          store(d_scores + j, p * (keep_lanes(load(d_scores + j) * h.scale, bits) - delta));
          store(scores + j, keep_lanes(p * h.scale, bits));
        }
      } else {
        for (int64_t j = keys.first; j < keys.last; j += kLanes) {
          const vf p = vexp(load(scores + j) - shift) * factor;
          store(d_scores + j, p * (load(d_scores + j) - delta));
          store(scores + j, p);
        }
      }
    }
    const int64_t seen = keys.last - keys.first;
    product(seen, b.width, count, Left{b.scores + keys.first, 1, b.tile_stride}, b.d_context, b.width, kPanel,
            b.d_values + keys.first * b.width, b.width, true);
    product(seen, b.width, count, Left{b.d_scores + keys.first, 1, b.tile_stride}, b.queries, b.width, kPanel,
            b.d_keys + keys.first * b.width, b.width, true);
    product(count, b.width, seen, Left{b.d_scores + keys.first, b.tile_stride, 1}, b.rows + keys.first * b.width,
            b.width, kPanel, b.out, b.width, false);
    unpack(b.out, b.width, count, h.head_size, 1.0f, h.d_query + first * h.d_stride, h.d_stride);
  }
  unpack(b.d_keys, b.width, h.tokens, h.head_size, 1.0f, h.d_key, h.d_stride);
  unpack(b.d_values, b.width, h.tokens, h.head_size, 1.0f, h.d_value, h.d_stride);
}

}  // namespace

void fill(AttentionKernels& k) {
  k.forward = forward;
  k.backward = backward;
  k.probabilities = probabilities;
}

}  // namespace electra::cpu::ELECTRA_ISA
