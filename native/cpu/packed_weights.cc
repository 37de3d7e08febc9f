#include "packed_weights.h"

#include <algorithm>
#include <functional>

namespace electra::cpu {
namespace {

constexpr size_t kLine = 64;  // bytes of a cache line

/// Whether two stretches share an element; of any two addresses std::less knows the order.
bool overlap(const void* a_first, const void* a_last, const void* b_first, const void* b_last) {
  const std::less<const void*> before;
  return before(a_first, b_last) && before(b_first, a_last);
}

}  // namespace

void PackedWeights::bind(const float* masters, int64_t size) { bound_.push_back({masters, masters + size}); }

void PackedWeights::unbind(const float* masters) {
  refresh(masters);
  bound_.erase(std::remove_if(bound_.begin(), bound_.end(),
                              [&](const Stretch& each) { return each.first == masters; }),
               bound_.end());
}

void PackedWeights::refresh(const float* masters) {
  for (const Stretch& each : bound_)
    if (each.first == masters) changed(each.first, static_cast<size_t>(each.last - each.first) * sizeof(float));
}

void PackedWeights::changed(const void* first, size_t bytes) {
  const void* last = static_cast<const char*>(first) + bytes;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (overlap(first, last, entry->second.weight.master, end_of(entry->second.weight))) {
      entry = entries_.erase(entry);
    } else {
      ++entry;
    }
  }
}

const float* PackedWeights::use(const Weight& weight, const PackedProducts& products) {
  if (weight.rows <= 0 || weight.cols <= 0) return nullptr;
  const std::less_equal<const float*> within;
  if (std::none_of(bound_.begin(), bound_.end(), [&](const Stretch& each) {
        return within(each.first, weight.master) && within(end_of(weight), each.last);
      }))
    return nullptr;
  Entry& entry = entries_[weight.master];
  if (entry.weight.rows != weight.rows || entry.weight.cols != weight.cols ||
      entry.weight.stride != weight.stride) {
    entry = Entry{};
    entry.weight = weight;
  }
  if (entry.uses < kUses) ++entry.uses;
  if (entry.panels || entry.uses < kUses) return entry.panels.get();
  const int64_t panel = products.panel();
  const size_t bytes =
      static_cast<size_t>((weight.cols + panel - 1) / panel * panel * weight.rows) * sizeof(float);
  entry.panels.reset(static_cast<float*>(std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine)));
  if (!entry.panels) return nullptr;
  products.pack(false, weight.rows, weight.cols, weight.master, weight.stride, entry.panels.get());
  return entry.panels.get();
}

}  // namespace electra::cpu
