#include "cuda_devices.h"

#include <dlfcn.h>

#include <string>
#include <vector>

#include "../../cuda/device_list.h"

namespace electra::addon {

Napi::Value cuda_devices(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  if (call.Length() != 1 || !call[0].IsString())
    throw Napi::TypeError::New(env, "cudaDevices takes the path of the CUDA library");
  const std::string path = call[0].As<Napi::String>().Utf8Value();
  Napi::Object result = Napi::Object::New(env);
  Napi::Array list = Napi::Array::New(env);
  result.Set("devices", list);
  result.Set("reason", env.Null());

  // Never closed: a CUDA runtime does not survive being unloaded.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  using ListDevices = decltype(&electra_cuda_list_devices);
  const auto list_devices = library == nullptr
                                ? nullptr
                                : reinterpret_cast<ListDevices>(dlsym(library, "electra_cuda_list_devices"));
  if (list_devices == nullptr) {
    const char* reason = dlerror();
    result.Set("reason", reason != nullptr ? reason : "the library lacks electra_cuda_list_devices");
    return result;
  }
  constexpr int32_t kMost = 64;
  std::vector<ElectraCudaDevice> devices(kMost);
  char message[256] = "";
  const int32_t count = list_devices(devices.data(), kMost, message, sizeof(message));
  if (count < 0) result.Set("reason", std::string(message));
  for (int32_t i = 0; i < count && i < kMost; ++i) {
    const ElectraCudaDevice& device = devices[static_cast<size_t>(i)];
    Napi::Object item = Napi::Object::New(env);
    item.Set("name", std::string(device.name));
    item.Set("computeCapability", std::to_string(device.major) + "." + std::to_string(device.minor));
    item.Set("totalMemory", static_cast<double>(device.total_memory));
    item.Set("freeMemory", static_cast<double>(device.free_memory));
    item.Set("usable", device.usable != 0);
    item.Set("reason", std::string(device.reason));
    list.Set(static_cast<uint32_t>(i), item);
  }
  return result;
}

}  // namespace electra::addon
