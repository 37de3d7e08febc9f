#pragma once
// Layers in plain double arithmetic, one row of the batch at a time: what the naive models are made of.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../../../native/model/config.h"
#include "../../../native/model/sites.h"

namespace electra::test {

using Matrix = std::vector<double>;
using Variables = std::map<std::string, Matrix>;

/// Which random words a step uses.
struct Randomness {
  uint64_t seed;
  uint32_t step;
};

/// Where one row lies among all rows, for its random coordinates.
struct RowPlace {
  uint32_t row;
  uint32_t pitch;
};

inline const Matrix& variable(const Variables& variables, const std::string& name) {
  return variables.at(name);
}

/// Dropout of x [tokens, width] at a site.
void dropout(Matrix& x, int tokens, int width, float p, uint32_t site, const Randomness& r,
             const RowPlace& place);
void layer_norm(Matrix& x, int tokens, int width, const Matrix& gamma, const Matrix& beta);
double gelu(double x);
/// x [tokens, in] · kernel [in, out] + bias.
Matrix linear(const Matrix& x, int tokens, int in, int out, const Matrix& kernel, const Matrix& bias);
double log_sum_exp(const Matrix& z);
/// Final hidden states [tokens, h] of one row.
Matrix transformer(const std::string& scope, const TransformerConfig& config, Network network,
                   const Variables& variables, const int32_t* ids, const int32_t* segments, int tokens,
                   const Randomness& r, const RowPlace& place);

}  // namespace electra::test
