#pragma once
// What the tests of whole models share: a device, lively weights, batches, and gradients along directions.

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../../../native/model/parameters.h"
#include "naive_layers.h"

namespace electra::test {

constexpr uint64_t kSeed = 20260;
constexpr uint32_t kStep = 7;

struct NaiveBatch {
  int rows = 0;
  int length = 0;
  std::vector<int32_t> ids, segments, lengths;
};

struct Counter {
  int passed = 0, failed = 0;
  void check(bool ok, const std::string& what, double value, double bound);
  void below(double value, double bound, const std::string& what) {
    check(value < bound, what, value, bound);
  }
};

/// A random word that depends on its arguments alone.
uint32_t word(uint32_t index, uint32_t site);
double relative(double a, double b);

/// Rows of the given lengths between [CLS] (101) and [SEP] (102), the second half in segment 1.
NaiveBatch make_batch(int length, const std::vector<int32_t>& lengths);

/// Livelier than the initializer, so that attention is not uniform and LayerNorms matter.
void excite(Parameters& parameters, Variables& variables);

/// Variables whose names hold `part`, and not `except` where that is given.
struct Group {
  std::string label, part, except;
};
/// Of an encoder under the scope `electra` or another.
std::vector<Group> encoder_groups();

/// Directional derivatives: along a random direction over a group of variables, the naive loss must change as
/// the engine's gradient says. A wrong element anywhere in the group shows, because the direction touches
/// them all.
void check_gradients(const std::string& name, const Parameters& parameters, const Variables& variables,
                     const std::vector<Group>& groups, double bound,
                     const std::function<double(const Variables&)>& naive_loss, Counter& counter);

std::unique_ptr<Operators> make_device(DType precision);
/// The types that the device under test computes with.
std::vector<DType> precisions();
/// "", ", bf16"
std::string suffix(DType precision);

// The tests. `filter`: part of a fixture's name.
void test_pretraining(const std::string& filter, DType precision, Counter& counter);
void test_finetuning(const std::string& filter, DType precision, Counter& counter);

}  // namespace electra::test
