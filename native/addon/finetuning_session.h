#pragma once
// The JavaScript class behind FinetuningEngine.

#include <napi.h>

#include "../model/finetuning_model.h"
#include "model_session.h"

namespace electra::addon {

/// new FinetuningSession(model, options)
class FinetuningSession : public ModelSession<FinetuningSession, FinetuningModel> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit FinetuningSession(const Napi::CallbackInfo& info);

 private:
  Napi::Value scale_learning_rates(const Napi::CallbackInfo& info);
  Napi::Value train_step(const Napi::CallbackInfo& info);
  Napi::Value forward_backward(const Napi::CallbackInfo& info);
  Napi::Value predict(const Napi::CallbackInfo& info);
};

}  // namespace electra::addon
