#include "wide_memory.h"

#include <cstdlib>
#include <cstring>

namespace electra::test {

void WideMemory::Release::operator()(void* p) const { std::free(p); }

void* WideMemory::allocate(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
  void* memory = std::aligned_alloc(64, rounded);
  if (memory == nullptr) throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "reference: %zu bytes", bytes);
  std::memset(memory, 0, rounded);
  Block block;
  block.memory.reset(memory);
  block.floats = rounded / sizeof(float);
  block.wide.assign(block.floats, 0.0);
  blocks_[reinterpret_cast<uintptr_t>(memory)] = std::move(block);
  return memory;
}

void WideMemory::release(void* memory) { blocks_.erase(reinterpret_cast<uintptr_t>(memory)); }

const WideMemory::Block* WideMemory::find(const void* p) const {
  auto next = blocks_.upper_bound(reinterpret_cast<uintptr_t>(p));
  if (next == blocks_.begin()) return nullptr;
  --next;
  const size_t distance = reinterpret_cast<uintptr_t>(p) - next->first;
  return distance < next->second.floats * sizeof(float) ? &next->second : nullptr;
}

double* WideMemory::wide_of(const void* p) const {
  const Block* block = find(p);
  if (block == nullptr) return nullptr;
  const size_t distance = static_cast<const char*>(p) - static_cast<const char*>(block->memory.get());
  return const_cast<double*>(block->wide.data()) + distance / sizeof(float);
}

View WideMemory::view(const float* p) const {
  return p == nullptr ? View() : View(const_cast<float*>(p), wide_of(p));
}

void WideMemory::upload(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
  double* wide = wide_of(to);
  if (wide == nullptr) return;
  for (size_t i = 0; i < bytes / sizeof(float); ++i) {
    float value;
    std::memcpy(&value, static_cast<const char*>(from) + i * sizeof(float), sizeof(float));
    wide[i] = value;
  }
}

void WideMemory::copy(void* to, const void* from, size_t bytes) {
  double* wide_to = wide_of(to);
  const double* wide_from = wide_of(from);
  if (wide_to == nullptr || wide_from == nullptr) {
    upload(to, from, bytes);
    return;
  }
  std::memmove(to, from, bytes);
  std::memmove(wide_to, wide_from, bytes / sizeof(float) * sizeof(double));
}

}  // namespace electra::test
