#pragma once
// Asks the CUDA library which GPUs this machine has.

#include <napi.h>

namespace electra::addon {

/// cudaDevices(path, emulated): opens the library for good and returns { devices: [...], reason }. `reason`
/// says why there are none, and in its second line what to do.
Napi::Value cuda_devices(const Napi::CallbackInfo& call);

}  // namespace electra::addon
