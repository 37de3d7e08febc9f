#include "cuda_devices.h"

#include <string>

#include "cuda_library.h"

namespace electra::addon {
namespace {

Napi::Object describe(Napi::Env env, const ElectraCudaDevice& device) {
  Napi::Object item = Napi::Object::New(env);
  item.Set("name", std::string(device.name));
  item.Set("computeCapability", std::to_string(device.major) + "." + std::to_string(device.minor));
  item.Set("totalMemory", static_cast<double>(device.total_memory));
  item.Set("freeMemory", static_cast<double>(device.free_memory));
  item.Set("usable", device.usable != 0);
  item.Set("reason", std::string(device.reason));
  return item;
}

}  // namespace

Napi::Value cuda_devices(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  if (!call[0].IsString()) throw Napi::TypeError::New(env, "cudaDevices takes the path of the CUDA library");
  Napi::Object result = Napi::Object::New(env);
  Napi::Array list = Napi::Array::New(env);
  result.Set("devices", list);
  result.Set("reason", env.Null());
  try {
    const CudaLibrary library(call[0].As<Napi::String>().Utf8Value(), call[1].ToBoolean().Value());
    uint32_t count = 0;
    for (const ElectraCudaDevice& device : library.devices()) list.Set(count++, describe(env, device));
  } catch (const EngineError& error) {
    result.Set("reason", std::string(error.what()));
  }
  return result;
}

}  // namespace electra::addon
