#pragma once
// Philox4x32-10, the counter-based generator of every random decision in the engine, and the coordinates that
// turn "which decision" into "which counter". Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
// 3".
//
// A draw depends on the seed, its purpose, the step, its site in the network and its padded, global
// coordinate. It depends neither on how rows are packed nor on micro-batch, threads or ranks, so a mask can
// be regenerated in the backward pass and by another device.

#include <cstdint>

#if defined(__CUDACC__)
#define ELECTRA_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define ELECTRA_HOST_DEVICE inline
#endif

namespace electra {

/// What a random word is for; part of the key, so that streams of different purposes never meet.
enum class RandomPurpose : uint32_t {
  kDropout = 0x64726f70u,
  kMaskPositions = 0x706f7369u,
  kMaskReplacement = 0x6d61736bu,
  kGumbel = 0x67756d62u,
  kUniformSample = 0x756e6966u,
  kInitializer = 0x696e6974u,
};

struct PhiloxWords {
  uint32_t word[4];
};

namespace philox {
constexpr uint32_t kMultiplier0 = 0xD2511F53u;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u;
constexpr uint32_t kWeyl1 = 0xBB67AE85u;
constexpr int kRounds = 10;
}  // namespace philox

/// One call of Philox4x32-10: four 32-bit words for one counter.
ELECTRA_HOST_DEVICE PhiloxWords philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                           uint32_t k1) {
  for (int round = 0; round < philox::kRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(philox::kMultiplier0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(philox::kMultiplier1) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += philox::kWeyl0;
    k1 += philox::kWeyl1;
  }
  return PhiloxWords{{c0, c1, c2, c3}};
}

/// The four words of block `block` of a stream: key = seed xor purpose, counter = (block lo, block hi, step,
/// site).
ELECTRA_HOST_DEVICE PhiloxWords random_block(uint64_t seed, RandomPurpose purpose, uint64_t block,
                                             uint32_t step, uint32_t site) {
  return philox4x32(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), step, site,
                    static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(purpose),
                    static_cast<uint32_t>(seed >> 32));
}

/// One call gives eight 16-bit decisions: decision i is the low (i even) or high (i odd) half of word i / 2.
ELECTRA_HOST_DEVICE uint32_t random_decision(const PhiloxWords& words, int index) {
  return (words.word[index >> 1] >> ((index & 1) * 16)) & 0xFFFFu;
}

/// Dropout drops where the 16-bit decision is below this threshold: round(p · 65536).
ELECTRA_HOST_DEVICE uint32_t dropout_threshold(float p) { return static_cast<uint32_t>(p * 65536.0f + 0.5f); }

/// Scale of the kept values: the inverse of the probability that the 16-bit decision really keeps.
ELECTRA_HOST_DEVICE float dropout_scale(float p) {
  return 65536.0f / static_cast<float>(65536u - dropout_threshold(p));
}

/// Coordinate of an element of a token-wise tensor: eight neighbouring elements of the padded, global array
/// [row, position, column] share a block (element >> 3), each its own decision (element & 7).
ELECTRA_HOST_DEVICE uint64_t token_element(uint32_t global_row, uint32_t pitch, uint32_t position,
                                           uint32_t width, uint32_t column) {
  return (static_cast<uint64_t>(global_row) * pitch + position) * width + column;
}

/// Coordinate of an attention probability (query i, key j). A block holds the eight pairs that one lane of an
/// m16n8k16 tensor-core fragment holds in a 16 x 16 tile: rows g and g + 8, columns 2t, 2t + 1, 2t + 8, 2t +
/// 9, where lane = 4 g + t. `pitch` is the padded row length of the model, `tiles` = ceil(pitch / 32) · 2.
struct AttentionCoordinate {
  uint64_t block;
  int decision;
};
ELECTRA_HOST_DEVICE uint64_t attention_tiles(uint32_t pitch) {
  return static_cast<uint64_t>((pitch + 31) / 32) * 2;
}
ELECTRA_HOST_DEVICE AttentionCoordinate attention_element(uint32_t global_row, uint32_t heads, uint32_t head,
                                                          uint32_t pitch, uint32_t i, uint32_t j) {
  const uint64_t tiles = attention_tiles(pitch);
  const uint64_t tile =
      ((static_cast<uint64_t>(global_row) * heads + head) * tiles + i / 16) * tiles + j / 16;
  const uint32_t lane = (i % 8) * 4 + (j % 8) / 2;
  return AttentionCoordinate{tile * 32 + lane,
                             static_cast<int>(((i / 8) % 2) * 4 + ((j / 8) % 2) * 2 + (j % 2))};
}

/// Uniform in (0, 1) with 23 bits: (r >> 9 + 1/2) · 2^-23. Every value is exact in f32, so never 0 and never
/// 1, and both logarithms of Gumbel noise exist. (With 24 bits and a half, the largest value would round
/// to 1.)
ELECTRA_HOST_DEVICE float uniform_open(uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/// Uniform integer in [0, count): high half of the 64-bit product (bias below count / 2^32).
ELECTRA_HOST_DEVICE uint32_t uniform_index(uint32_t word, uint32_t count) {
  return static_cast<uint32_t>((static_cast<uint64_t>(word) * count) >> 32);
}

/// Where each scalar draw of the corruption lives. `slot` counts 0 … N-1 within its row.
ELECTRA_HOST_DEVICE uint64_t slot_coordinate(uint32_t global_row, uint32_t slots_per_row, uint32_t slot) {
  return static_cast<uint64_t>(global_row) * slots_per_row + slot;
}

/// Gumbel noise of vocabulary entry v at a slot: block slot · ceil(V / 4) + v / 4, word v % 4.
ELECTRA_HOST_DEVICE uint64_t gumbel_block(uint64_t slot, uint32_t vocabulary, uint32_t v) {
  return slot * ((vocabulary + 3) / 4) + v / 4;
}

}  // namespace electra
