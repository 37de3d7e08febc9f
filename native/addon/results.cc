#include "results.h"

#include <string>
#include <utility>
#include <vector>

#include "arrays.h"

namespace electra::addon {
namespace {

void set(Napi::Object& object, const char* name, double value) {
  object.Set(name, Napi::Number::New(object.Env(), value));
}

}  // namespace

Napi::Object to_object(Napi::Env env, const StepResult& result) {
  Napi::Object generator = Napi::Object::New(env);
  set(generator, "loss", result.generator.loss);
  set(generator, "weight", result.generator.weight);
  set(generator, "correct", result.generator.correct);
  set(generator, "sampledCorrect", result.generator.sampled_correct);
  set(generator, "slots", result.generator.slots);
  Napi::Object discriminator = Napi::Object::New(env);
  set(discriminator, "loss", result.discriminator.loss);
  set(discriminator, "weight", result.discriminator.weight);
  set(discriminator, "truePositive", result.discriminator.true_positive);
  set(discriminator, "falsePositive", result.discriminator.false_positive);
  set(discriminator, "trueNegative", result.discriminator.true_negative);
  set(discriminator, "falseNegative", result.discriminator.false_negative);
  Napi::Object object = Napi::Object::New(env);
  set(object, "loss", result.loss);
  set(object, "generatorLoss", result.generator_loss);
  set(object, "discriminatorLoss", result.discriminator_loss);
  object.Set("generator", generator);
  object.Set("discriminator", discriminator);
  set(object, "tokens", static_cast<double>(result.tokens));
  set(object, "slots", static_cast<double>(result.slots));
  return object;
}

Napi::Object to_object(Napi::Env env, const FinetuningResult& result) {
  Napi::Array losses = Napi::Array::New(env), rows = Napi::Array::New(env);
  for (uint32_t n = 0; n < result.task_losses.size(); ++n) {
    losses.Set(n, Napi::Number::New(env, result.task_losses[n]));
    rows.Set(n, Napi::Number::New(env, static_cast<double>(result.task_rows[n])));
  }
  Napi::Object object = Napi::Object::New(env);
  set(object, "loss", result.loss);
  object.Set("taskLosses", losses);
  object.Set("taskRows", rows);
  set(object, "tokens", static_cast<double>(result.tokens));
  return object;
}

Napi::Array to_array(Napi::Env env, const std::vector<OperatorTime>& times) {
  Napi::Array array = Napi::Array::New(env, times.size());
  for (uint32_t n = 0; n < times.size(); ++n) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("operator", Napi::String::New(env, times[n].name));
    object.Set("shape", Napi::String::New(env, times[n].shape));
    set(object, "calls", static_cast<double>(times[n].calls));
    set(object, "seconds", times[n].seconds);
    set(object, "flop", times[n].flop);
    array.Set(n, object);
  }
  return array;
}

Napi::Object to_object(Napi::Env env, const DeviceInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("device", Napi::String::New(env, info.device));
  object.Set("gemm", Napi::String::New(env, info.gemm));
  object.Set("isa", Napi::String::New(env, info.isa));
  set(object, "threads", info.threads);
  object.Set("precision", Napi::String::New(env, info.compute == DType::kFloat32 ? "float32" : "bfloat16"));
  return object;
}

Napi::Object to_object(Napi::Env env, const ModelMemory& memory) {
  Napi::Object object = Napi::Object::New(env);
  set(object, "parameters", static_cast<double>(memory.parameters));
  set(object, "activations", static_cast<double>(memory.activations));
  set(object, "workspace", static_cast<double>(memory.workspace));
  set(object, "total", static_cast<double>(memory.parameters + memory.activations + memory.workspace));
  return object;
}

Napi::Object to_object(Napi::Env env, const ParameterTable& table) {
  std::string names;
  std::vector<int32_t> layout;
  for (const Parameter& parameter : table.all()) {
    if (!names.empty()) names += '\n';
    names += parameter.name;
    layout.push_back(parameter.decay ? 1 : 0);
    layout.push_back(static_cast<int32_t>(parameter.shape.size()));
    for (const int64_t size : parameter.shape) layout.push_back(static_cast<int32_t>(size));
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("names", Napi::String::New(env, names));
  object.Set("layout", hand_over(env, std::move(layout)));
  return object;
}

Napi::Object hand_over(Napi::Env env, Outputs& outputs) {
  Napi::Object object = Napi::Object::New(env);
  for (auto& [name, array] : outputs.arrays) object.Set(name, hand_over(env, std::move(array)));
  outputs.arrays.clear();
  return object;
}

}  // namespace electra::addon
