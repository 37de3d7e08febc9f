// Attention of one head over one row. Keys are packed transposed, so that sixteen scores of a query are one
// vector. Forward, a block of queries has its whole tile of scores [32, keys] in the cache: no running
// maximum, no rescaling. Backward, tiles of [32, 128] are recomputed from log Σ exp (Dao et al. 2022,
// FlashAttention, section 3.1), key block by key block, so that what a block of keys needs stays in the
// second-level cache for rows of any length.

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

constexpr int64_t kKeyBlock = 128;  // of the backward pass; a multiple of every panel

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
void product_rows(int64_t rows, int64_t depth, Left a, const float* b, int64_t b_stride, float* c,
                  int64_t c_stride, bool add) {
  // Tiles of nearly equal height: 32 rows are 6 6 5 5 5 5, not five sixes and a two.
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t tile = 0, r = 0; tile < tiles; ++tile) {
    const int64_t height = rows / tiles + (tile < rows % tiles ? 1 : 0);
    const Left mine{a.data + r * a.row, a.row, a.column};
    float* out = c + r * c_stride;
    switch (height) {
      case 1:
        product_tile<1, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
      case 2:
        product_tile<2, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
#if defined(__AVX2__)
      case 3:
        product_tile<3, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
      case 4:
        product_tile<4, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
      case 5:
        product_tile<5, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
      default:
        product_tile<6, kVectors>(depth, mine, b, b_stride, out, c_stride, add);
        break;
#endif
    }
    r += height;
  }
}

/// c[rows, columns] = (add ? c : 0) + a · b. `columns` is a multiple of 16. Panel p of b starts at b + p ·
/// panel_stride.
void product(int64_t rows, int64_t columns, int64_t depth, Left a, const float* b, int64_t b_stride,
             int64_t panel_stride, float* c, int64_t c_stride, bool add) {
  for (int64_t j = 0; j < columns; j += kPanel, b += panel_stride) {
    const int64_t vectors = (columns - j < kPanel ? columns - j : kPanel) / kLanes;
    switch (vectors) {
      case 1:
        product_rows<1>(rows, depth, a, b, b_stride, c + j, c_stride, add);
        break;
#if defined(__AVX512F__)
      case 2:
        product_rows<2>(rows, depth, a, b, b_stride, c + j, c_stride, add);
        break;
      case 3:
        product_rows<3>(rows, depth, a, b, b_stride, c + j, c_stride, add);
        break;
      default:
        product_rows<4>(rows, depth, a, b, b_stride, c + j, c_stride, add);
        break;
#endif
    }
  }
}

ELECTRA_INLINE int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/// Rows of a head lie far apart, in lines that no hardware prefetcher expects: this asks for one, some rows
/// ahead.
ELECTRA_INLINE void prefetch_row(const float* row, int64_t width) {
  for (int64_t c = 0; c < width; c += kLanes) __builtin_prefetch(row + c);
}
constexpr int64_t kPrefetchRows = 8;

/// Copies [rows, width] to rows `padded` apart, times `factor`, with zeros behind.
void pack(const float* from, int64_t stride, int64_t rows, int64_t width, int64_t padded, float factor,
          float* to) {
  for (int64_t r = 0; r < rows; ++r, from += stride, to += padded) {
    if (r + kPrefetchRows < rows) prefetch_row(from + kPrefetchRows * stride, width);
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) store(to + c, load(from + c) * factor);
    if (c < padded) store(to + c, load_part(from + c, static_cast<int>(width - c)) * factor);
  }
}

/// The inverse of pack.
void unpack(const float* from, int64_t padded, int64_t rows, int64_t width, float factor, float* to,
            int64_t stride) {
  for (int64_t r = 0; r < rows; ++r, from += padded, to += stride) {
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) store(to + c, load(from + c) * factor);
    if (c < width) store_part(to + c, load(from + c) * factor, static_cast<int>(width - c));
  }
}

/// Transposes [keys, width] into panels of kPanel keys: element (d, j) at panel(j) + d · kPanel + j mod
/// kPanel; zeros for the keys that fill up the last vector.
void pack_transposed(const float* from, int64_t stride, int64_t keys, int64_t width, float* to) {
  using quad = float __attribute__((vector_size(16)));
  const int64_t padded = round_up(keys, kLanes);
  for (int64_t j = 0; j < padded; j += 4) {
    float* out = to + j / kPanel * kPanel * width + j % kPanel;
    const float* in = from + j * stride;
    int64_t d = 0;
    if (j + 4 <= keys) {
      for (int64_t i = kPrefetchRows; i < kPrefetchRows + 4 && j + i < keys; ++i)
        prefetch_row(in + i * stride, width);
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

/// The keys that the queries first … last − 1 give any weight to. A masked key beside a visible one has
/// weight exp(−10000 + …) = 0, so it may be left out; a query that sees nothing attends to all keys.
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

/// Makes the scores of query i final: masked ones are lowered, those that are not there cannot win. scores[0]
/// belongs to key `origin`. A query that sees nothing has all its scores lowered, in f32, and raised again by
/// `restore`.
ELECTRA_INLINE void mask_scores(const AttentionHead& h, int64_t i, const Keys& keys, int64_t origin,
                                float restore, float* scores) {
  const Keys seen = visible_keys(h, i);
  if (seen.empty()) {
    for (int64_t j = keys.first; j < keys.last; j += kLanes) {
      const uint32_t real = range_bits(j, 0, h.tokens);
      float* s = scores + (j - origin);
      store(s, keep_lanes((load(s) + kMaskAddend) + restore, real) +
                   keep_lanes(splat(kLowest), ~real & 0xFFFFu));
    }
    return;
  }
  for (int64_t j = keys.first; j < keys.last; j += kLanes) {
    if (j >= seen.first && j + kLanes <= seen.last) {  // all sixteen are seen: go on at the end of the range
      j = seen.last / kLanes * kLanes - kLanes;
      continue;
    }
    const uint32_t bits = range_bits(j, seen.first, seen.last);
    float* s = scores + (j - origin);
    store(s, keep_lanes(load(s), bits) + keep_lanes(splat(kLowest), ~bits & 0xFFFFu));
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
/// bits[(i − first) · words + (j − origin) / 16]. The order inside a block is that of philox.h,
/// attention_element.
void keep_tiles(const AttentionHead& h, int64_t first, int64_t last, const Keys& keys, int64_t origin,
                int64_t words, uint16_t* bits) {
  const PhiloxStream stream = philox_stream(h.seed, RandomPurpose::kDropout, h.step, h.site);
  for (int64_t i = first; i < last; i += 16) {
    for (int64_t j = keys.first / 16; j * 16 < keys.last; ++j) {
      const uint64_t tile = h.first_tile + static_cast<uint64_t>(i / 16) * h.tiles + static_cast<uint64_t>(j);
      uint8_t bytes[32];
      philox_keep_bytes(philox16(stream, tile * 32), h.threshold, bytes);
      philox_keep_bytes(philox16(stream, tile * 32 + 16), h.threshold, bytes + 16);
      uint16_t* out = bits + (i - first) * words + (j - origin / 16);
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

/// Cuts the scratch into pieces.
class Cutter {
 public:
  explicit Cutter(float* scratch) : next_(scratch) {}
  float* cut(int64_t floats) {
    float* mine = next_;
    next_ += round_up(floats, kLanes);
    return mine;
  }

 private:
  float* next_;
};

struct ForwardBuffers {
  explicit ForwardBuffers(const AttentionHead& h)
      : width(round_up(h.head_size, kLanes)),
        tile_stride(round_up(h.tokens, 64) + 16),
        keep_words(round_up(h.tokens, 64) / 16) {
    const int64_t keys = round_up(h.tokens, 64);
    Cutter cutter(h.scratch);
    keys_transposed = cutter.cut(keys * h.head_size);
    values = cutter.cut(keys * width);
    queries = cutter.cut(kQueryBlock * width);
    out = cutter.cut(kQueryBlock * width);
    scores = cutter.cut(kQueryBlock * tile_stride);
    keep = reinterpret_cast<uint16_t*>(cutter.cut(kQueryBlock * keep_words / 2));
  }

  int64_t width;        // D rounded up to whole vectors
  int64_t tile_stride;  // of a tile of scores; not a power of two
  int64_t keep_words;
  float* keys_transposed;
  float* values;
  float* queries;  // times 1 / sqrt(D)
  float* out;
  float* scores;
  uint16_t* keep;
};

/// tile = left [rows, D] · rightᵀ for the panels that hold the keys; tile[0] and the first panel belong to
/// key `origin`.
void score_tile(const AttentionHead& h, const Keys& keys, int64_t origin, const float* left,
                int64_t left_stride, int64_t rows, const float* right_transposed, float* tile,
                int64_t tile_stride) {
  const int64_t first = (keys.first - origin) / kPanel;
  const int64_t panel_stride = kPanel * h.head_size;
  product(rows, round_up(keys.last - origin, kLanes) - first * kPanel, h.head_size,
          Left{left, left_stride, 1}, right_transposed + first * panel_stride, kPanel, panel_stride,
          tile + first * kPanel, tile_stride, false);
}

ELECTRA_INLINE float inverse_root(int64_t head_size) {
  return 1.0f / __builtin_sqrtf(static_cast<float>(head_size));
}

void forward(const AttentionHead& h) {
  const ForwardBuffers b(h);
  pack_transposed(h.key, h.stride, h.tokens, h.head_size, b.keys_transposed);
  pack(h.value, h.stride, h.tokens, h.head_size, b.width, 1.0f, b.values);
  const float root = inverse_root(h.head_size);
  for (int64_t first = h.first_query; first < h.last_query; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.last_query ? first + kQueryBlock : h.last_query;
    const Keys keys = block_keys(h, first, last);
    pack(h.query + first * h.stride, h.stride, last - first, h.head_size, b.width, root, b.queries);
    score_tile(h, keys, 0, b.queries, b.width, last - first, b.keys_transposed, b.scores, b.tile_stride);
    if (h.threshold > 0) keep_tiles(h, first, last, keys, 0, b.keep_words, b.keep);
    float factor[kQueryBlock];
    for (int64_t i = first; i < last; ++i) {
      float* scores = b.scores + (i - first) * b.tile_stride;
      mask_scores(h, i, keys, 0, 0.0f, scores);
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
            b.values + keys.first * b.width, b.width, kPanel, b.out, b.width, false);
    for (int64_t i = first; i < last; ++i) {
      unpack(b.out + (i - first) * b.width, b.width, 1, h.head_size, factor[i - first],
             h.context + i * h.context_stride, h.context_stride);
    }
  }
}

void probabilities(const AttentionHead& h) {
  const ForwardBuffers b(h);
  pack_transposed(h.key, h.stride, h.tokens, h.head_size, b.keys_transposed);
  const float root = inverse_root(h.head_size);
  const Keys all{0, h.tokens};
  for (int64_t first = 0; first < h.tokens; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.tokens ? first + kQueryBlock : h.tokens;
    pack(h.query + first * h.stride, h.stride, last - first, h.head_size, b.width, root, b.queries);
    score_tile(h, all, 0, b.queries, b.width, last - first, b.keys_transposed, b.scores, b.tile_stride);
    for (int64_t i = first; i < last; ++i) {
      float* scores = b.scores + (i - first) * b.tile_stride;
      mask_scores(h, i, all, 0, 0.0f, scores);
      const float top = row_maximum(scores, all);
      vf total = {};
      for (int64_t j = 0; j < h.tokens; j += kLanes) {
        const vf e = vexp(load(scores + j) - top);
        total += e;
        store(scores + j, e);
      }
      unpack(scores, b.tile_stride, 1, h.tokens, 1.0f / sum(total),
             h.probabilities + i * h.probabilities_stride, h.probabilities_stride);
    }
  }
}

struct BackwardBuffers {
  explicit BackwardBuffers(const AttentionHead& h) : width(round_up(h.head_size, kLanes)) {
    const int64_t tokens = round_up(h.tokens, 64);
    Cutter cutter(h.scratch);
    queries = cutter.cut(tokens * width);
    d_context = cutter.cut(tokens * width);
    d_queries = cutter.cut(tokens * width);
    shift = cutter.cut(tokens);
    delta = cutter.cut(tokens);
    keys_transposed = cutter.cut(kKeyBlock * h.head_size);
    values_transposed = cutter.cut(kKeyBlock * h.head_size);
    keys = cutter.cut(kKeyBlock * width);
    d_keys = cutter.cut(kKeyBlock * width);
    d_values = cutter.cut(kKeyBlock * width);
    d_scores = cutter.cut(kQueryBlock * kTileStride);
    keep = reinterpret_cast<uint16_t*>(cutter.cut(kQueryBlock * kKeepWords / 2));
    scores = cutter.cut(kQueryBlock * (tokens + 16 > kTileStride ? tokens + 16 : kTileStride));
  }

  static constexpr int64_t kTileStride = kKeyBlock + 16;
  static constexpr int64_t kKeepWords = kKeyBlock / 16;
  int64_t width;
  float* queries;    // times 1 / sqrt(D)
  float* d_context;  // times the dropout's scale
  float* d_queries;
  float* shift;  // P = exp(score − shift)
  float* delta;  // rowsum(dO ⊙ O)
  float* keys_transposed;
  float* values_transposed;
  float* keys;  // times 1 / sqrt(D)
  float* d_keys;
  float* d_values;
  float* d_scores;
  uint16_t* keep;
  float* scores;  // [32, 144], or [32, tokens] for shifts that are made anew
};

/// For a query that sees nothing log Σ exp lies near −10000, where f32 has three decimals left: its scores
/// are raised by 10000 again, as they were rounded, and the sum is made anew.
void renew_shifts(const AttentionHead& h, const BackwardBuffers& b) {
  const Keys all{0, h.tokens};
  const int64_t stride = round_up(h.tokens, 64) + 16;
  bool packed = false;
  for (int64_t first = 0; first < h.tokens; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < h.tokens ? first + kQueryBlock : h.tokens;
    if (!visible_keys(h, first).empty() && !visible_keys(h, last - 1).empty()) continue;
    float* keys_transposed = b.d_queries;  // free until the first key block
    if (!packed) pack_transposed(h.key, h.stride, h.tokens, h.head_size, keys_transposed);
    packed = true;
    score_tile(h, all, 0, b.queries + first * b.width, b.width, last - first, keys_transposed, b.scores,
               stride);
    for (int64_t i = first; i < last; ++i) {
      if (!visible_keys(h, i).empty()) continue;
      float* scores = b.scores + (i - first) * stride;
      mask_scores(h, i, all, 0, -kMaskAddend, scores);
      const float top = row_maximum(scores, all);
      vf total = {};
      for (int64_t j = 0; j < h.tokens; j += kLanes) total += vexp(load(scores + j) - top);
      b.shift[i] = top + __builtin_logf(sum(total));
    }
  }
}

// With P = softmax, M the dropout's 0 or scale, O = (P ⊙ M) V: dV = (P ⊙ M)ᵀ dO, dP = (dO Vᵀ) ⊙ M,
// dS = P ⊙ (dP − rowsum(dO ⊙ O)), dQ = dS K / sqrt(D), dK = dSᵀ Q / sqrt(D). The scale is multiplied into dO.
void backward(const AttentionHead& h) {
  const BackwardBuffers b(h);
  const int64_t width = b.width;
  const float root = inverse_root(h.head_size);
  pack(h.query, h.stride, h.tokens, h.head_size, width, root, b.queries);
  pack(h.d_context, h.d_context_stride, h.tokens, h.head_size, width, h.scale, b.d_context);
  const float unscale = 1.0f / h.scale;
  for (int64_t i = 0; i < h.tokens; ++i) {
    const float* context = h.context + i * h.context_stride;
    if (i + kPrefetchRows < h.tokens) prefetch_row(context + kPrefetchRows * h.context_stride, h.head_size);
    vf dot = {};
    for (int64_t d = 0; d < h.head_size; d += kLanes) {
      const int n = h.head_size - d >= kLanes ? kLanes : static_cast<int>(h.head_size - d);
      dot +=
          load(b.d_context + i * width + d) * (n == kLanes ? load(context + d) : load_part(context + d, n));
    }
    b.delta[i] = sum(dot) * unscale;
    b.shift[i] = h.log_sum_exp[i * h.log_sum_exp_stride];
  }
  renew_shifts(h, b);
  std::memset(b.d_queries, 0, static_cast<size_t>(h.tokens * width) * sizeof(float));

  for (int64_t origin = 0; origin < h.tokens; origin += kKeyBlock) {
    const int64_t end = origin + kKeyBlock < h.tokens ? origin + kKeyBlock : h.tokens;
    pack_transposed(h.key + origin * h.stride, h.stride, end - origin, h.head_size, b.keys_transposed);
    pack_transposed(h.value + origin * h.stride, h.stride, end - origin, h.head_size, b.values_transposed);
    pack(h.key + origin * h.stride, h.stride, end - origin, h.head_size, width, root, b.keys);
    std::memset(b.d_keys, 0, static_cast<size_t>((end - origin) * width) * sizeof(float));
    std::memset(b.d_values, 0, static_cast<size_t>((end - origin) * width) * sizeof(float));
    for (int64_t first = 0; first < h.tokens; first += kQueryBlock) {
      const int64_t last = first + kQueryBlock < h.tokens ? first + kQueryBlock : h.tokens;
      const int64_t count = last - first;
      Keys keys = block_keys(h, first, last);
      if (keys.first < origin) keys.first = origin;
      if (keys.last > end) keys.last = end;
      if (keys.empty()) continue;
      const float* queries = b.queries + first * width;
      const float* d_context = b.d_context + first * width;
      constexpr int64_t kStride = BackwardBuffers::kTileStride;
      score_tile(h, keys, origin, queries, width, count, b.keys_transposed, b.scores, kStride);
      score_tile(h, keys, origin, d_context, width, count, b.values_transposed, b.d_scores, kStride);
      if (h.threshold > 0) keep_tiles(h, first, last, keys, origin, BackwardBuffers::kKeepWords, b.keep);
      const int64_t low = keys.first - origin;
      const int64_t high = keys.last - origin;
      for (int64_t i = first; i < last; ++i) {
        float* scores = b.scores + (i - first) * kStride;
        float* d_scores = b.d_scores + (i - first) * kStride;
        mask_scores(h, i, keys, origin, -kMaskAddend, scores);
        const float shift = b.shift[i];
        const float delta = b.delta[i];
        if (h.threshold > 0) {
          const uint16_t* keep = b.keep + (i - first) * BackwardBuffers::kKeepWords;
          for (int64_t j = low; j < high; j += kLanes) {
            const vf p = vexp(load(scores + j) - shift);
            const uint32_t bits = keep[j / kLanes];
            store(d_scores + j, p * (keep_lanes(load(d_scores + j), bits) - delta));
            store(scores + j, keep_lanes(p, bits));
          }
        } else {
          for (int64_t j = low; j < high; j += kLanes) {
            const vf p = vexp(load(scores + j) - shift);
            store(d_scores + j, p * (load(d_scores + j) - delta));
            store(scores + j, p);
          }
        }
      }
      product(high - low, width, count, Left{b.scores + low, 1, kStride}, d_context, width, kPanel,
              b.d_values + low * width, width, true);
      product(high - low, width, count, Left{b.d_scores + low, 1, kStride}, queries, width, kPanel,
              b.d_keys + low * width, width, true);
      product(count, width, high - low, Left{b.d_scores + low, kStride, 1}, b.keys + low * width, width,
              kPanel, b.d_queries + first * width, width, true);
    }
    unpack(b.d_keys, width, end - origin, h.head_size, 1.0f, h.d_key + origin * h.d_stride, h.d_stride);
    unpack(b.d_values, width, end - origin, h.head_size, 1.0f, h.d_value + origin * h.d_stride, h.d_stride);
  }
  unpack(b.d_queries, width, h.tokens, h.head_size, 1.0f, h.d_query, h.d_stride);
}

}  // namespace

void fill(AttentionKernels& k) {
  k.forward = forward;
  k.backward = backward;
  k.probabilities = probabilities;
}

}  // namespace electra::cpu::ELECTRA_ISA
