#pragma once
// Typed arrays across the border. Inputs are copied or kept alive; results are handed over without a copy.

#include <napi.h>

#include <cstdint>
#include <vector>

#include "../model/outputs.h"

namespace electra::addon {

/// A typed array that stays alive, at its place, as long as this object. To be made and destroyed on the
/// JavaScript thread; the memory may be used on another.
template <typename T>
class KeptArray {
 public:
  KeptArray() = default;
  /// `what` names the argument in the error for a value of another type.
  KeptArray(Napi::Value value, const char* what);

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  /// Whether there is an array at all, be it empty.
  explicit operator bool() const { return !reference_.IsEmpty(); }
  /// Throws ERR_ELECTRA_SHAPE unless there are exactly `size` elements.
  const KeptArray& expect(int64_t size, const char* what) const;

 private:
  Napi::ObjectReference reference_;
  T* data_ = nullptr;
  int64_t size_ = 0;
};

using KeptFloats = KeptArray<float>;
using KeptInts = KeptArray<int32_t>;

/// A copy of an Int32Array or a Float32Array of exactly `size` elements.
std::vector<int32_t> copy_ints(Napi::Value value, int64_t size, const char* what);
std::vector<float> copy_floats(Napi::Value value, int64_t size, const char* what);

/// Float32Array or Int32Array over the vector's own memory, freed when JavaScript drops it.
Napi::Value hand_over(Napi::Env env, std::vector<float>&& values);
Napi::Value hand_over(Napi::Env env, std::vector<int32_t>&& values);

/// { shape: number[], data } of a result; leaves `array` empty.
Napi::Object hand_over(Napi::Env env, HostArray&& array);

}  // namespace electra::addon
