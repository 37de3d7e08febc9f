#pragma once
// Cuts a block of workspace into aligned pieces. Run with null memory it only measures, so that one function
// serves an operator and its estimate.

#include <cstddef>
#include <cstdint>

namespace electra::cuda {

class Scratch {
 public:
  explicit Scratch(void* memory = nullptr) : base_(static_cast<char*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    T* place = base_ != nullptr ? reinterpret_cast<T*>(base_ + size_) : nullptr;
    size_ += (static_cast<size_t>(count < 0 ? 0 : count) * sizeof(T) + 255) / 256 * 256;
    return place;
  }
  /// Bytes taken so far.
  size_t size() const { return size_; }

 private:
  char* base_;
  size_t size_ = 0;
};

}  // namespace electra::cuda
