#include "step_context.h"

#include <cstring>
#include <vector>

namespace electra {

std::vector<float> download_floats(Operators& operators, const Tensor& tensor, int64_t rows) {
  const size_t elements = static_cast<size_t>(rows * tensor.stride);
  std::vector<float> values(elements);
  if (tensor.dtype == DType::kFloat32) {
    operators.download(values.data(), tensor.data, elements * sizeof(float));
    return values;
  }
  std::vector<uint16_t> halves(elements);
  operators.download(halves.data(), tensor.data, elements * sizeof(uint16_t));
  for (size_t i = 0; i < elements; ++i) {
    const uint32_t bits = static_cast<uint32_t>(halves[i]) << 16;  // bf16 is the upper half of an f32
    std::memcpy(&values[i], &bits, sizeof(float));
  }
  return values;
}

void StepContext::collect_tokens(const std::string& name, const Tensor& tensor) const {
  const int64_t tokens = host_offsets[rows.batch];
  const std::vector<float> packed = download_floats(operators, tensor, tokens);
  HostArray array;
  array.shape = {rows.batch, length};
  if (tensor.cols > 1) array.shape.push_back(tensor.cols);
  array.f32.assign(static_cast<size_t>(int64_t{rows.batch} * length * tensor.cols), 0.0f);
  for (int32_t b = 0; b < rows.batch; ++b)
    for (int32_t t = host_offsets[b]; t < host_offsets[b + 1]; ++t)
      std::memcpy(&array.f32[static_cast<size_t>((int64_t{b} * length + t - host_offsets[b]) * tensor.cols)],
                  &packed[static_cast<size_t>(t * tensor.stride)],
                  static_cast<size_t>(tensor.cols) * sizeof(float));
  outputs->arrays[name] = std::move(array);
}

void StepContext::collect_tokens(const std::string& name, const int32_t* values) const {
  std::vector<int32_t> packed(static_cast<size_t>(host_offsets[rows.batch]));
  operators.download(packed.data(), values, packed.size() * sizeof(int32_t));
  HostArray array;
  array.shape = {rows.batch, length};
  array.i32.assign(static_cast<size_t>(int64_t{rows.batch} * length), 0);
  for (int32_t b = 0; b < rows.batch; ++b)
    for (int32_t t = host_offsets[b]; t < host_offsets[b + 1]; ++t)
      array.i32[static_cast<size_t>(int64_t{b} * length + t - host_offsets[b])] =
          packed[static_cast<size_t>(t)];
  outputs->arrays[name] = std::move(array);
}

}  // namespace electra
