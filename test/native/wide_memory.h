#pragma once
// Memory whose floats have a double beside them. The contract speaks of f32 tensors; the reference reads and
// writes the doubles, so that its results are not rounded between operators and finite differences of it mean
// something. Memory that was not allocated here works too, without the extra digits.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "operators.h"

namespace electra::test {

/// A stretch of floats, with its doubles where the memory keeps them.
class View {
 public:
  View() = default;
  View(float* narrow, double* wide) : narrow_(narrow), wide_(wide) {}

  double operator[](int64_t i) const { return wide_ != nullptr ? wide_[i] : narrow_[i]; }
  void set(int64_t i, double value) const {
    narrow_[i] = static_cast<float>(value);
    if (wide_ != nullptr) wide_[i] = value;
  }
  void add(int64_t i, double value) const { set(i, (*this)[i] + value); }
  explicit operator bool() const { return narrow_ != nullptr; }

 private:
  float* narrow_ = nullptr;
  double* wide_ = nullptr;
};

/// A matrix of them.
class MatrixView {
 public:
  MatrixView() = default;
  MatrixView(View values, int64_t stride) : values_(values), stride_(stride) {}
  double at(int64_t r, int64_t c) const { return values_[r * stride_ + c]; }
  void set(int64_t r, int64_t c, double value) const { values_.set(r * stride_ + c, value); }
  void add(int64_t r, int64_t c, double value) const { values_.add(r * stride_ + c, value); }
  void put(int64_t r, int64_t c, double value, Into into) const {
    into == Into::kAdd ? add(r, c, value) : set(r, c, value);
  }
  explicit operator bool() const { return static_cast<bool>(values_); }

 private:
  View values_;
  int64_t stride_ = 0;
};

class WideMemory {
 public:
  void* allocate(size_t bytes);
  void release(void* memory);
  void upload(void* to, const void* from, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);

  View view(const float* p) const;
  MatrixView matrix(const Tensor& t) const { return MatrixView(view(t.f32()), t.stride); }
  MatrixView matrix(const Weight& w) const { return MatrixView(view(w.master), w.stride); }

 private:
  struct Release {
    void operator()(void* p) const;
  };
  struct Block {
    std::unique_ptr<void, Release> memory;
    size_t floats = 0;
    std::vector<double> wide;
  };
  const Block* find(const void* p) const;
  double* wide_of(const void* p) const;

  std::map<uintptr_t, Block> blocks_;
};

}  // namespace electra::test
