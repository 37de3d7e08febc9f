// Finds GPUs by using them: a device counts as usable when a kernel has really run on it. File names and
// version numbers of installed toolkits say nothing reliable.

#include "device_list.h"

#include <cstdio>
#include <string>

#include "platform/platform.h"

namespace {

__global__ void add_one_kernel(int32_t* value) { *value += 1; }

/// Runs a kernel on the current device and reads its result back; says what went wrong, empty if nothing.
std::string try_device() {
  int32_t* value = nullptr;
  std::string problem;
  try {
    int32_t host = 41;
    ELECTRA_CUDA_CHECK(cudaMalloc(&value, sizeof(int32_t)));
    ELECTRA_CUDA_CHECK(cudaMemcpy(value, &host, sizeof(host), cudaMemcpyHostToDevice));
    electra::cuda::launch("add_one", add_one_kernel, dim3(1), dim3(1), 0, nullptr, value);
    ELECTRA_CUDA_CHECK(cudaMemcpy(&host, value, sizeof(host), cudaMemcpyDeviceToHost));
    if (host != 42) problem = "a kernel ran and gave a wrong result";
  } catch (const electra::EngineError& error) {
    problem = error.what();
  }
  cudaFree(value);
  return problem;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t electra_cuda_list_devices(
    ElectraCudaDevice* devices, int32_t capacity, char* message, int32_t message_size) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    std::snprintf(message, static_cast<size_t>(message_size), "%s", cudaGetErrorString(status));
    return -1;
  }
  for (int i = 0; i < count && i < capacity; ++i) {
    ElectraCudaDevice& device = devices[i];
    device = ElectraCudaDevice{};
    cudaDeviceProp properties;
    cudaError_t problem = cudaGetDeviceProperties(&properties, i);
    if (problem == cudaSuccess) {
      std::snprintf(device.name, sizeof(device.name), "%s", properties.name);
      device.major = properties.major;
      device.minor = properties.minor;
      device.multiprocessors = properties.multiProcessorCount;
      problem = cudaSetDevice(i);
    }
    if (problem == cudaSuccess) {
      size_t free_bytes = 0, total_bytes = 0;
      problem = cudaMemGetInfo(&free_bytes, &total_bytes);
      device.free_memory = static_cast<int64_t>(free_bytes);
      device.total_memory = static_cast<int64_t>(total_bytes);
    }
    const std::string why = problem == cudaSuccess ? try_device() : cudaGetErrorString(problem);
    device.usable = why.empty();
    std::snprintf(device.reason, sizeof(device.reason), "%s", why.c_str());
  }
  return count;
}
