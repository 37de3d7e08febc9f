#pragma once
// The CUDA library from outside: opened at run time, so that one addon serves machines with and without a
// GPU. Whatever keeps a GPU from being used becomes ERR_ELECTRA_NO_CUDA, with what to do in the message's
// second line.

#include <memory>
#include <string>
#include <vector>

#include "../../cuda/device_list.h"
#include "../../cuda/library.h"
#include "../operators.h"

namespace electra::addon {

class CudaLibrary {
 public:
  /// Opens the library at `path` for good: a CUDA runtime does not survive being unloaded. `emulated`: it
  /// runs on the CPU and needs no driver.
  CudaLibrary(const std::string& path, bool emulated);

  /// GPUs that CUDA sees; asks the driver alone. Throws for no driver, one that is too old, or no GPU.
  int32_t device_count() const;
  /// The same with what is known of each, found by running a kernel on it.
  std::vector<ElectraCudaDevice> devices() const;
  /// The operators of one GPU, tried on a small sum. Throws for anything that keeps it from computing.
  std::unique_ptr<Operators> create(int32_t ordinal, DType compute) const;

 private:
  using ListDevices = decltype(&electra_cuda_list_devices);
  /// Calls `electra_cuda_list_devices`; a refusal of CUDA as an error that explains itself.
  int32_t list(ElectraCudaDevice* devices, int32_t capacity) const;

  std::string path_;
  bool emulated_;
  ListDevices list_devices_ = nullptr;
  cuda::CreateFunction create_ = nullptr;
};

}  // namespace electra::addon
