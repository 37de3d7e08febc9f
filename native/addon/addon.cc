// What the addon gives to JavaScript. Nothing here outlives an environment: each worker thread has classes of
// its own.

#include <napi.h>

#include "cuda_devices.h"
#include "finetuning_session.h"
#include "kernel_session.h"
#include "pretraining_session.h"

#ifndef ELECTRA_VERSION
#error "ELECTRA_VERSION must be the version of package.json"
#endif

namespace electra::addon {
namespace {

/// Raised with every change of what src/engine/binding.ts relies on.
constexpr int kAbi = 4;

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("version", Napi::String::New(env, ELECTRA_VERSION));
  exports.Set("abi", Napi::Number::New(env, kAbi));
  exports.Set("PretrainingSession", PretrainingSession::define(env));
  exports.Set("FinetuningSession", FinetuningSession::define(env));
  exports.Set("KernelSession", KernelSession::define(env));
  exports.Set("cudaDevices", Napi::Function::New(env, cuda_devices, "cudaDevices"));
  return exports;
}

}  // namespace
}  // namespace electra::addon

// The macro needs a function of the global namespace.
static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) {
  return electra::addon::initialize(env, exports);
}
NODE_API_MODULE(electra_native, initialize_addon)
