#pragma once
// Packed forms of weights that are used again and again without a change, as in inference. With few tokens a
// linear layer takes as long as its weight takes to arrive from memory; panels lie in the order in which they
// are read, rows of the weight do not. They are allocated at the fifth use, an exception from the rule that nothing
// allocates after reserve().

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "../tensor.h"
#include "gemm.h"

namespace electra::cpu {

class PackedWeights {
 public:
  /// Weights may be packed if they lie in a bound stretch of parameters: of others nobody tells when they end.
  void bind(const float* masters, int64_t size);
  void unbind(const float* masters);
  /// Forgets all that was packed from a bound stretch.
  void refresh(const float* masters);
  /// Forgets what was packed from these bytes. To be called after every write to parameters.
  void changed(const void* first, size_t bytes);
  /// The panels of a weight, packed at its kUses-th use without a change in between; null before that, for
  /// weights that are not bound, and when there is no memory. Training changes a weight after one use or a
  /// few, so it packs nothing.
  const float* use(const Weight& weight, const PackedProducts& products);

  static constexpr int kUses = 5;

 private:
  struct Stretch {
    const float* first;
    const float* last;
  };
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  struct Entry {
    Weight weight;
    int uses = 0;
    std::unique_ptr<float, Free> panels;
  };
  static const float* end_of(const Weight& weight) {
    return weight.master + (weight.rows - 1) * weight.stride + weight.cols;
  }

  std::vector<Stretch> bound_;
  std::unordered_map<const float*, Entry> entries_;  // by master
};

}  // namespace electra::cpu
