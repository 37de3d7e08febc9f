#pragma once
// The table of operator cases. Every case is run by every mode of the test program (main.cc).

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "scene.h"

namespace electra::test {

struct Case {
  std::string group;  ///< the operators it covers: filtered and reported together
  std::string name;
  std::function<void(Scene&)> declare;
  bool bench_only = false;  ///< a real shape, too slow for the reference
};
using Cases = std::vector<Case>;

void add_linear_cases(Cases* cases);
void add_norm_cases(Cases* cases);
void add_attention_cases(Cases* cases);
void add_row_cases(Cases* cases);
void add_corruption_cases(Cases* cases);
void add_language_model_cases(Cases* cases);
void add_loss_cases(Cases* cases);
void add_ragged_cases(Cases* cases);
void add_optimizer_cases(Cases* cases);

/// Batches that every token-wise operator must handle: ragged with an empty row and spare rows, exact, kept
/// padding, one token, no token at all, no row at all.
std::vector<std::pair<std::string, RowsLook>> common_rows();
/// Tokens in the stream of such a batch.
int64_t token_count(const RowsLook& look);

// Looks that come up everywhere.
Look input_look(double scale = 1);
Look output_look(int64_t actual, double terms, Beyond beyond = Beyond::kFinite);
Look gradient_input(int64_t actual, double scale = 1);
/// A backward result: exactly zero beyond the extent; starts as NaN if written, with values if added to.
Look gradient_output(int64_t actual, double terms, Into into = Into::kWrite);
/// The gradient of a parameter: always added.
Look parameter_gradient(double terms);

StepScalars step_scalars();

}  // namespace electra::test
