#pragma once
// Philox4x32-10 for sixteen consecutive blocks at once, bit-equal to random_block() of philox.h.
//
// Each counter word lives in the low half of a 64-bit lane: one widening multiply then gives both halves of
// the product, the high half of a lane is garbage that the next multiply ignores, and no round shuffles
// anything. Even blocks and odd blocks are kept apart and interleaved at the end.
//
// Only for files in kernels/ (everything lives in the namespace of the instruction set).

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "../../philox.h"
#include "../simd.h"

namespace electra::cpu::ELECTRA_ISA {

#if defined(__AVX512F__)
constexpr int kPhiloxBytes = 64;
#elif defined(__AVX2__)
constexpr int kPhiloxBytes = 32;
#else
constexpr int kPhiloxBytes = 16;
#endif
using philox_lanes = uint64_t __attribute__((vector_size(kPhiloxBytes)));

/// Lane-wise product of the low halves.
__attribute__((always_inline)) inline philox_lanes philox_multiply(philox_lanes a, philox_lanes b) {
#if defined(__AVX512F__)  // the zero-masked forms: GCC 12 warns about the plain ones' undefined pass-through
  return reinterpret_cast<philox_lanes>(
      _mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<philox_lanes>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<philox_lanes>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

__attribute__((always_inline)) inline philox_lanes philox_xor(philox_lanes a, philox_lanes b,
                                                              philox_lanes c) {
#if defined(__AVX512F__)
  return reinterpret_cast<philox_lanes>(_mm512_ternarylogic_epi64(
      reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b), reinterpret_cast<__m512i>(c), 0x96));
#else
  return a ^ b ^ c;
#endif
}

/// Which stream: everything of random_block() but the block.
struct PhiloxStream {
  uint32_t key0;
  uint32_t key1;
  uint32_t step;
  uint32_t site;
};

__attribute__((always_inline)) inline PhiloxStream philox_stream(uint64_t seed, RandomPurpose purpose,
                                                                 uint32_t step, uint32_t site) {
  return PhiloxStream{static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(purpose),
                      static_cast<uint32_t>(seed >> 32), step, site};
}

/// word[w] holds word w of sixteen blocks, block `first + i` in lane i.
struct PhiloxVectors {
  vu word[4];
};

/// The sixteen blocks first … first + 15 of a stream.
__attribute__((always_inline)) inline PhiloxVectors philox16(const PhiloxStream& stream, uint64_t first) {
  constexpr int kPer = kPhiloxBytes / 8;  // 64-bit lanes of a register
  const philox_lanes none = {};
  const philox_lanes m0 = none + static_cast<uint64_t>(philox::kMultiplier0);
  const philox_lanes m1 = none + static_cast<uint64_t>(philox::kMultiplier1);
  const philox_lanes low = none + 0xFFFFFFFFull;
  // Round 0 by hand: step and site are the same in all lanes, so half of it is scalar.
  const uint64_t p1 = static_cast<uint64_t>(philox::kMultiplier1) * stream.step;
  const philox_lanes high1 = none + ((p1 >> 32) ^ stream.key0);
  const philox_lanes low1 = none + static_cast<uint64_t>(static_cast<uint32_t>(p1));
  const philox_lanes key1 = none + static_cast<uint64_t>(stream.key1);
  const philox_lanes site = none + static_cast<uint64_t>(stream.site);

  PhiloxVectors result;
#pragma GCC unroll 4
  for (int group = 0; group < 8 / kPer; ++group) {
    // One register of even blocks and one of odd ones: few enough for any register file.
    philox_lanes c0[2], c1[2], c2[2], c3[2];
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      philox_lanes block = {};
      for (int i = 0; i < kPer; ++i) block[i] = static_cast<uint64_t>(2 * (group * kPer + i) + odd);
      block += none + first;
      const philox_lanes p0 = philox_multiply(block, m0);
      c0[odd] = high1 ^ (block >> 32);
      c1[odd] = low1;
      c2[odd] = philox_xor(p0 >> 32, site, key1);
      c3[odd] = p0;
    }
    uint32_t k0 = stream.key0;
    uint32_t k1 = stream.key1;
#pragma GCC unroll 10
    for (int round = 1; round < philox::kRounds; ++round) {
      k0 += philox::kWeyl0;
      k1 += philox::kWeyl1;
      const philox_lanes v0 = none + static_cast<uint64_t>(k0);
      const philox_lanes v1 = none + static_cast<uint64_t>(k1);
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        const philox_lanes q0 = philox_multiply(c0[odd], m0);
        const philox_lanes q1 = philox_multiply(c2[odd], m1);
        c0[odd] = philox_xor(q1 >> 32, c1[odd], v0);
        c2[odd] = philox_xor(q0 >> 32, c3[odd], v1);
        c1[odd] = q1;
        c3[odd] = q0;
      }
    }
    const philox_lanes words[4] = {(c0[0] & low) | (c0[1] << 32), (c1[0] & low) | (c1[1] << 32),
                                   (c2[0] & low) | (c2[1] << 32), (c3[0] & low) | (c3[1] << 32)};
#pragma GCC unroll 4
    for (int w = 0; w < 4; ++w) {
      std::memcpy(reinterpret_cast<char*>(&result.word[w]) + group * kPhiloxBytes, &words[w], kPhiloxBytes);
    }
  }
  return result;
}

/// uniform_open() of philox.h in every lane.
__attribute__((always_inline)) inline vf uniform_open16(vu words) {
  return (to_float(as_int(words >> 9)) + 0.5f) * (1.0f / 8388608.0f);
}

/// The dropout decisions of sixteen blocks: bit d of byte i says that decision d of block i keeps.
/// `threshold` < 65536.
__attribute__((always_inline)) inline void philox_keep_bytes(const PhiloxVectors& words, uint32_t threshold,
                                                             uint8_t* bytes) {
#if defined(__AVX512F__)
  vu bits = {};
#pragma GCC unroll 4
  for (int w = 0; w < 4; ++w) {
    const __mmask32 keeps = _mm512_cmpge_epu16_mask(reinterpret_cast<__m512i>(words.word[w]),
                                                    _mm512_set1_epi16(static_cast<int16_t>(threshold)));
    const __m512i flags = _mm512_set1_epi32(static_cast<int32_t>((1u << (2 * w)) | (1u << (2 * w + 17))));
    bits |= reinterpret_cast<vu>(_mm512_maskz_mov_epi16(keeps, flags));
  }
  bits |= bits >> 16;
  const __m128i packed = _mm512_maskz_cvtepi32_epi8(0xFFFF, reinterpret_cast<__m512i>(bits));
  std::memcpy(bytes, &packed, 16);
#else
  // decision + 65536 − threshold has bit 16 set exactly where the decision keeps: no comparison needed.
  const vu shift_up = vu{} + (65536u - threshold);
  vu bits = {};
#pragma GCC unroll 4
  for (int w = 0; w < 4; ++w) {
    const vu low = (words.word[w] & 0xFFFFu) + shift_up;
    const vu high = (words.word[w] >> 16) + shift_up;
    bits |= ((low >> 16) << (2 * w)) | ((high >> 16) << (2 * w + 1));
  }
  uint32_t lanes[16];
  std::memcpy(lanes, &bits, 64);
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(lanes[i]);
#endif
}

}  // namespace electra::cpu::ELECTRA_ISA
