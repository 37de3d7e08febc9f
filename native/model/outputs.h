#pragma once
// Named results of a step on the host, for evaluation, inference and tests.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace electra {

/// One array: `f32` or `i32` holds the values, the other is empty.
struct HostArray {
  std::vector<int64_t> shape;
  std::vector<float> f32;
  std::vector<int32_t> i32;
};

/// What a caller asks for by name, and what it gets. Arrays over tokens are unpacked to [B, L] with zeros at
/// padding, arrays over slots to [B, N] with zeros at unused slots.
///
///   masked/input_ids [B, L]    masked/positions, masked/targets, masked/weights [B, N]
///   mlm/logits [B, N, V]       mlm/loss [B, N]       mlm/predictions [B, N]
///   cloze/logits [B, L, V]     cloze/loss [B, L]     cloze/weights [B, L]           (two towers)
///   fake/sampled_ids [B, N]    fake/replaced_ids, fake/labels [B, L]
///   disc/logits, disc/probabilities, disc/predictions, disc/weights, disc/token_loss [B, L]   disc/loss [B]
///   hidden/<network>/embedding_output, hidden/<network>/sequence_output, hidden/<network>/layer_<i> [B, L,
///   h] attention/<network>/layer_<i> [B, heads, L, L]
/// where <network> is electra, generator, generator_ltr or generator_rtl.
struct Outputs {
  std::set<std::string> wanted;
  std::map<std::string, HostArray> arrays;
  bool wants(const std::string& name) const { return wanted.count(name) != 0; }
};

}  // namespace electra
