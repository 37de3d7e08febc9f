#include "step_context.h"

#include <cstring>
#include <vector>

namespace electra {

void StepContext::collect_tokens(const std::string& name, const Tensor& tensor) const {
  const int64_t tokens = host_offsets[rows.batch];
  std::vector<float> packed(static_cast<size_t>(tokens * tensor.stride));
  operators.download(packed.data(), tensor.data, packed.size() * sizeof(float));
  HostArray array;
  array.shape = {rows.batch, rows.pitch};
  if (tensor.cols > 1) array.shape.push_back(tensor.cols);
  array.f32.assign(static_cast<size_t>(int64_t{rows.batch} * rows.pitch * tensor.cols), 0.0f);
  for (int32_t b = 0; b < rows.batch; ++b)
    for (int32_t t = host_offsets[b]; t < host_offsets[b + 1]; ++t)
      std::memcpy(
          &array.f32[static_cast<size_t>((int64_t{b} * rows.pitch + t - host_offsets[b]) * tensor.cols)],
          &packed[static_cast<size_t>(t * tensor.stride)], static_cast<size_t>(tensor.cols) * sizeof(float));
  outputs->arrays[name] = std::move(array);
}

void StepContext::collect_tokens(const std::string& name, const int32_t* values) const {
  std::vector<int32_t> packed(static_cast<size_t>(host_offsets[rows.batch]));
  operators.download(packed.data(), values, packed.size() * sizeof(int32_t));
  HostArray array;
  array.shape = {rows.batch, rows.pitch};
  array.i32.assign(static_cast<size_t>(int64_t{rows.batch} * rows.pitch), 0);
  for (int32_t b = 0; b < rows.batch; ++b)
    for (int32_t t = host_offsets[b]; t < host_offsets[b + 1]; ++t)
      array.i32[static_cast<size_t>(int64_t{b} * rows.pitch + t - host_offsets[b])] =
          packed[static_cast<size_t>(t)];
  outputs->arrays[name] = std::move(array);
}

}  // namespace electra
