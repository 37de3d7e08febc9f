#include "arrays.h"

#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "../engine_error.h"

namespace electra::addon {
namespace {

template <typename T>
constexpr napi_typedarray_type kArrayType = std::is_same_v<T, float> ? napi_float32_array : napi_int32_array;
template <typename T>
constexpr const char* kArrayName = std::is_same_v<T, float> ? "Float32Array" : "Int32Array";

struct View {
  void* data = nullptr;
  size_t length = 0;
};

/// The memory of a typed array, whether it lies in an ArrayBuffer or a SharedArrayBuffer.
template <typename T>
View view_of(Napi::Value value, const char* what) {
  bool typed = false;
  napi_typedarray_type type = napi_uint8_array;
  View view;
  if (value.IsObject() && napi_is_typedarray(value.Env(), value, &typed) == napi_ok && typed) {
    napi_value buffer = nullptr;
    size_t byte_offset = 0;
    if (napi_get_typedarray_info(value.Env(), value, &type, &view.length, &view.data, &buffer,
                                 &byte_offset) != napi_ok)
      throw EngineError("ERR_ELECTRA_ARGUMENT", "%s: the typed array cannot be read", what);
  }
  if (!typed || type != kArrayType<T>)
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%s must be a %s", what, kArrayName<T>);
  if (view.length != 0 && view.data == nullptr)
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%s: the typed array was transferred away", what);
  return view;
}

template <typename T>
std::vector<T> copy_values(Napi::Value value, int64_t size, const char* what) {
  const View view = view_of<T>(value, what);
  if (static_cast<int64_t>(view.length) != size)
    throw EngineError("ERR_ELECTRA_SHAPE", "%s has %zu elements; it needs %lld", what, view.length,
                      static_cast<long long>(size));
  std::vector<T> copy(view.length);
  if (view.length != 0) std::memcpy(copy.data(), view.data, view.length * sizeof(T));
  return copy;
}

template <typename T>
Napi::Value hand_over_values(Napi::Env env, std::vector<T>&& values) {
  const size_t count = values.size();
  napi_value buffer = nullptr;
  if (count == 0) {
    void* unused = nullptr;
    NAPI_THROW_IF_FAILED(env, napi_create_arraybuffer(env, 0, &unused, &buffer), Napi::Value());
  } else {
    auto owner = std::make_unique<std::vector<T>>(std::move(values));
    T* data = owner->data();
    const napi_status status = napi_create_external_arraybuffer(
        env, data, count * sizeof(T),
        [](napi_env, void*, void* hint) { delete static_cast<std::vector<T>*>(hint); }, owner.get(), &buffer);
    if (status == napi_ok) {
      owner.release();
    } else if (status == napi_no_external_buffers_allowed) {
      void* copy = nullptr;
      NAPI_THROW_IF_FAILED(env, napi_create_arraybuffer(env, count * sizeof(T), &copy, &buffer),
                           Napi::Value());
      std::memcpy(copy, data, count * sizeof(T));
    } else {
      NAPI_THROW_IF_FAILED(env, status, Napi::Value());
    }
  }
  napi_value array = nullptr;
  NAPI_THROW_IF_FAILED(env, napi_create_typedarray(env, kArrayType<T>, count, buffer, 0, &array),
                       Napi::Value());
  return Napi::Value(env, array);
}

}  // namespace

template <typename T>
KeptArray<T>::KeptArray(Napi::Value value, const char* what) {
  const View view = view_of<T>(value, what);
  data_ = static_cast<T*>(view.data);
  size_ = static_cast<int64_t>(view.length);
  reference_ = Napi::Persistent(value.As<Napi::Object>());
}

template <typename T>
const KeptArray<T>& KeptArray<T>::expect(int64_t size, const char* what) const {
  if (size_ != size)
    throw EngineError("ERR_ELECTRA_SHAPE", "%s has %lld elements; it needs %lld", what,
                      static_cast<long long>(size_), static_cast<long long>(size));
  return *this;
}

template class KeptArray<float>;
template class KeptArray<int32_t>;

std::vector<int32_t> copy_ints(Napi::Value value, int64_t size, const char* what) {
  return copy_values<int32_t>(value, size, what);
}
std::vector<float> copy_floats(Napi::Value value, int64_t size, const char* what) {
  return copy_values<float>(value, size, what);
}

Napi::Value hand_over(Napi::Env env, std::vector<float>&& values) {
  return hand_over_values(env, std::move(values));
}
Napi::Value hand_over(Napi::Env env, std::vector<int32_t>&& values) {
  return hand_over_values(env, std::move(values));
}

Napi::Object hand_over(Napi::Env env, HostArray&& array) {
  Napi::Array shape = Napi::Array::New(env, array.shape.size());
  for (uint32_t i = 0; i < array.shape.size(); ++i)
    shape.Set(i, Napi::Number::New(env, static_cast<double>(array.shape[i])));
  Napi::Object result = Napi::Object::New(env);
  result.Set("shape", shape);
  result.Set("data",
             array.i32.empty() ? hand_over(env, std::move(array.f32)) : hand_over(env, std::move(array.i32)));
  return result;
}

}  // namespace electra::addon
