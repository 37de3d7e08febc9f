#pragma once
// Results of the engine as JavaScript objects.

#include <napi.h>

#include "../model/finetuning_model.h"
#include "../model/pretraining_model.h"
#include "operator_profile.h"

namespace electra::addon {

Napi::Object to_object(Napi::Env env, const StepResult& result);
Napi::Object to_object(Napi::Env env, const FinetuningResult& result);
Napi::Object to_object(Napi::Env env, const DeviceInfo& info);
Napi::Object to_object(Napi::Env env, const ModelMemory& memory);
/// { names: one a line, layout: decay (0 or 1), rank and sizes of each }: a model has hundreds of variables,
/// and hundreds of objects made through Node-API would hold the JavaScript thread for milliseconds.
Napi::Object to_object(Napi::Env env, const ParameterTable& table);
/// [{ operator, shape, calls, seconds, flop }]
Napi::Array to_array(Napi::Env env, const std::vector<OperatorTime>& times);
/// Hands the arrays over; `outputs` is empty afterwards.
Napi::Object hand_over(Napi::Env env, Outputs& outputs);

}  // namespace electra::addon
