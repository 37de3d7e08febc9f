#pragma once
// From dropout decisions to vectors: bit streams of the decisions of whole tokens, and lanes that obey
// sixteen bits. Only for files in kernels/.

#include "dropout_rows.h"
#include "philox_simd.h"

namespace electra::cpu::ELECTRA_ISA {

/// x in the lanes whose bit is set, +0 in the others.
__attribute__((always_inline)) inline vf keep_lanes(vf x, uint32_t bits) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), reinterpret_cast<__m512>(x)));
#else
  const vi flags = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return as_float(as_int(x) & ((splat_i(static_cast<int32_t>(bits)) & flags) == flags));
#endif
}

/// Decisions of `blocks` blocks from `first`, a byte each; `bytes` is written in steps of sixteen.
static inline __attribute__((unused)) void keep_blocks(const DropoutRows& d, uint64_t first, int64_t blocks,
                                                       uint8_t* bytes) {
  const PhiloxStream stream = philox_stream(d.seed, RandomPurpose::kDropout, d.step, d.site);
  for (int64_t i = 0; i < blocks; i += 16) {
    philox_keep_bytes(philox16(stream, first + static_cast<uint64_t>(i)), d.threshold, bytes + i);
  }
}

/// Decisions of tokens first … last − 1, one bit an element, keep_row_bytes(width) bytes a token.
static inline __attribute__((unused)) void keep_rows(const DropoutRows& d, int64_t first, int64_t last,
                                                     int64_t width, uint8_t* bytes) {
  const int64_t row_bytes = keep_row_bytes(width);
  for (int64_t t = first; t < last;) {
    const int32_t row = d.token_row[t];
    const uint64_t element =
        token_element(static_cast<uint32_t>(d.global_row[row]), d.pitch,
                      static_cast<uint32_t>(d.token_position[t]), static_cast<uint32_t>(width), 0);
    uint8_t* out = bytes + (t - first) * row_bytes;
    if (width % 16 == 0) {
      // Neighbouring tokens of a row have neighbouring blocks: one run of the generator serves them all.
      int64_t end = t + 1;
      while (end < last && d.token_row[end] == row) ++end;
      keep_blocks(d, element >> 3, (end - t) * row_bytes, out);
      t = end;
      continue;
    }
    // Any other width: a row may start inside a block, so its bits are shifted into place.
    const unsigned shift = static_cast<unsigned>(element & 7);
    constexpr int64_t kStretch = 128;
    uint8_t stretch[kStretch + 16];
    const int64_t needed = (width + 7) / 8;
    for (int64_t done = 0; done < needed; done += kStretch) {
      const int64_t count = needed - done < kStretch ? needed - done : kStretch;
      keep_blocks(d, (element >> 3) + static_cast<uint64_t>(done), count + (shift != 0 ? 1 : 0), stretch);
      for (int64_t i = 0; i < count; ++i) {
        const uint32_t two =
            shift != 0 ? stretch[i] | static_cast<uint32_t>(stretch[i + 1]) << 8 : stretch[i];
        out[done + i] = static_cast<uint8_t>(two >> shift);
      }
    }
    ++t;
  }
}

}  // namespace electra::cpu::ELECTRA_ISA
