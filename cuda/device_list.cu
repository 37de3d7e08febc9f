// Finds GPUs by using them: a device counts as usable when a kernel has really run on it. File names and
// version numbers of installed toolkits say nothing reliable.

#include <cuda_runtime.h>

#include <cstdio>

#include "device_list.h"

namespace {

__global__ void add_one_kernel(int32_t* value) { *value += 1; }

/// Runs a kernel on the current device and reads its result back.
cudaError_t try_device() {
  int32_t* value = nullptr;
  cudaError_t status = cudaMalloc(&value, sizeof(int32_t));
  if (status != cudaSuccess) return status;
  int32_t host = 41;
  status = cudaMemcpy(value, &host, sizeof(host), cudaMemcpyHostToDevice);
  if (status == cudaSuccess) {
    add_one_kernel<<<1, 1>>>(value);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess) status = cudaMemcpy(&host, value, sizeof(host), cudaMemcpyDeviceToHost);
  cudaFree(value);
  if (status == cudaSuccess && host != 42) status = cudaErrorUnknown;
  return status;
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
    if (problem == cudaSuccess) problem = try_device();
    device.usable = problem == cudaSuccess;
    if (problem != cudaSuccess)
      std::snprintf(device.reason, sizeof(device.reason), "%s", cudaGetErrorString(problem));
  }
  return count;
}
