#pragma once
// Asks the CUDA library, if there is one, which GPUs this machine has.

#include <napi.h>

namespace electra::addon {

/// cudaDevices(path): opens the library at `path` for good and returns { devices: [...], reason }. `reason`
/// says why there are none: the library cannot be opened, or CUDA cannot be used (no driver, or one that is
/// too old).
Napi::Value cuda_devices(const Napi::CallbackInfo& call);

}  // namespace electra::addon
