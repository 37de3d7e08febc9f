#pragma once
// The JavaScript class behind Engine: one model, one set of operators, one thread.

#include <napi.h>

#include <memory>

#include "engine_thread.h"

namespace electra::addon {

/// new PretrainingSession(model, options); every method but abort() and memory() takes a job id first and
/// gives a promise.
class PretrainingSession : public Napi::ObjectWrap<PretrainingSession> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit PretrainingSession(const Napi::CallbackInfo& info);
  ~PretrainingSession() override;

 private:
  struct State;

  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value train_step(const Napi::CallbackInfo& info);
  Napi::Value forward_backward(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value optimizer_step(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value read_parameter(const Napi::CallbackInfo& info);
  Napi::Value write_parameter(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Value enqueue(const Napi::CallbackInfo& info, Job job);

  std::shared_ptr<State> state_;
  std::shared_ptr<EngineThread> thread_;
};

}  // namespace electra::addon
