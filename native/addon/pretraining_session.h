#pragma once
// The JavaScript class behind Engine.

#include <napi.h>

#include "../model/pretraining_model.h"
#include "model_session.h"

namespace electra::addon {

/// new PretrainingSession(model, options)
class PretrainingSession : public ModelSession<PretrainingSession, PretrainingModel> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit PretrainingSession(const Napi::CallbackInfo& info);

 private:
  Napi::Value train_step(const Napi::CallbackInfo& info);
  Napi::Value forward_backward(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
};

}  // namespace electra::addon
