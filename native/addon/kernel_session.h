#pragma once
// The JavaScript class behind Kernels: operators one by one, on an engine thread of their own, without a
// model.

#include <napi.h>

#include <memory>

#include "engine_thread.h"

namespace electra::addon {

/// new KernelSession(options); open(id), run(id, name, arguments) and close() give promises.
class KernelSession : public Napi::ObjectWrap<KernelSession> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit KernelSession(const Napi::CallbackInfo& info);
  ~KernelSession() override;

 private:
  struct State;
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value enqueue(const Napi::CallbackInfo& info, Job job);

  std::shared_ptr<State> state_;
  std::shared_ptr<EngineThread> thread_;
};

}  // namespace electra::addon
