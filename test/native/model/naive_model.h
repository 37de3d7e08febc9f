#pragma once
// ELECTRA's training loss in plain double arithmetic, written from the papers and the reference's
// specification and from nothing else: no operators, no packing, no fusion. It shares with the engine only
// philox.h and sites.h, which say which random word decides what. Slow on purpose.

#include <cstdint>
#include <vector>

#include "model_test.h"

namespace electra::test {

/// The random choices of a step. Positions and replacement are drawn here; samples are given by the caller.
struct NaiveCorruption {
  std::vector<std::vector<int>> positions;   ///< [row][slot]
  std::vector<std::vector<int32_t>> masked;  ///< [row] ids that the generator sees
};
NaiveCorruption naive_corruption(const PretrainingConfig& config, const NaiveBatch& batch, uint64_t seed,
                                 uint32_t step);

struct NaiveLoss {
  double generator = 0;
  double discriminator = 0;
  double total = 0;
};

/// One logit row per slot, in order of rows and slots: for checking the samples.
std::vector<Matrix> naive_generator_logits(const PretrainingConfig& config, const Variables& variables,
                                           const NaiveBatch& batch, const NaiveCorruption& corruption,
                                           uint64_t seed, uint32_t step);

/// The loss with the given samples, one list per row.
NaiveLoss naive_loss(const PretrainingConfig& config, const Variables& variables, const NaiveBatch& batch,
                     const NaiveCorruption& corruption, const std::vector<std::vector<int32_t>>& sampled,
                     uint64_t seed, uint32_t step);

}  // namespace electra::test
