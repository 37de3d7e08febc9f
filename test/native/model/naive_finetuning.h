#pragma once
// The losses of fine-tuning in plain double arithmetic, written from the reference's specification and from
// nothing else.

#include "../../../native/model/config.h"
#include "model_test.h"

namespace electra::test {

/// Rows of several tasks with what they are to learn.
struct NaiveTasks : NaiveBatch {
  std::vector<int32_t> task;                    ///< the number of tasks: padding
  std::vector<std::vector<int32_t>> positions;  ///< [row][word]
  std::vector<std::vector<int32_t>> tags;       ///< [row][word]
  std::vector<int32_t> classes, starts, ends, impossible;
  std::vector<double> values;
  std::vector<std::vector<double>> labels;  ///< [row][class]
};

/// The loss of each row, with dropout.
std::vector<double> naive_row_losses(const FinetuningConfig& config, const Variables& variables,
                                     const NaiveTasks& batch, uint64_t seed, uint32_t step);

/// Joint prediction for one row, without dropout: log-probabilities of every start, and of every end given
/// each of some starts (−1: none).
struct NaiveBeams {
  Matrix starts;
  std::vector<Matrix> ends;
};
NaiveBeams naive_beams(const FinetuningConfig& config, const Variables& variables, const NaiveTasks& batch,
                       int row, const std::vector<int32_t>& starts);

}  // namespace electra::test
