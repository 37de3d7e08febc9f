#pragma once
// One block of device memory, cut by a plan that runs twice: once without memory to learn its size, once to
// hand out the places. Regions that never live at the same time are planned from the same mark.

#include <algorithm>

#include "../operators.h"

namespace electra {

class Arena {
 public:
  explicit Arena(Operators& operators) : operators_(operators) {}
  ~Arena() { operators_.release(base_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Runs `plan(arena)` to measure, allocates when what is there is too small, runs it again to assign.
  template <typename Plan>
  void build(const char* purpose, Plan plan) {
    measure(plan);
    if (peak_ > capacity_) {
      operators_.release(base_);
      base_ = nullptr;
      capacity_ = 0;
      base_ = static_cast<char*>(operators_.allocate(peak_, purpose));
      capacity_ = peak_;
    }
    base_in_use_ = base_;
    offset_ = peak_ = 0;
    plan(*this);
  }

  /// Bytes that a plan needs; hands out null places.
  template <typename Plan>
  size_t measure(Plan plan) {
    base_in_use_ = nullptr;
    offset_ = peak_ = 0;
    plan(*this);
    return peak_;
  }

  template <typename T>
  T* take(int64_t count) {
    offset_ = (offset_ + 63) / 64 * 64;
    T* place = base_in_use_ ? reinterpret_cast<T*>(base_in_use_ + offset_) : nullptr;
    offset_ += static_cast<size_t>(count) * sizeof(T);
    peak_ = std::max(peak_, offset_);
    return place;
  }
  /// Activations, in the type that the device computes with.
  Tensor tensor(int64_t rows, int64_t cols) { return tensor(rows, cols, operators_.info().compute); }
  Tensor tensor(int64_t rows, int64_t cols, DType dtype) {
    Tensor t;
    if (dtype == DType::kFloat32)
      t.data = take<float>(rows * cols);
    else
      t.data = take<uint16_t>(rows * cols);
    t.rows = rows;
    t.cols = t.stride = cols;
    t.dtype = dtype;
    return t;
  }

  size_t mark() const { return offset_; }
  void rewind(size_t mark) { offset_ = mark; }
  size_t bytes() const { return capacity_; }
  /// Where the block lies: with the plan's inputs, it decides every address that was handed out.
  const void* base() const { return base_; }

 private:
  Operators& operators_;
  char* base_ = nullptr;
  char* base_in_use_ = nullptr;
  size_t capacity_ = 0;
  size_t offset_ = 0;
  size_t peak_ = 0;
};

}  // namespace electra
