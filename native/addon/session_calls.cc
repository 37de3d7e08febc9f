#include "session_calls.h"

#include <string>

#include "arrays.h"

namespace electra::addon {

RowsCopy::RowsCopy(const Fields& fields, HostBatch& batch) {
  batch.rows = fields.whole("rows");
  batch.length = fields.whole("length");
  batch.first_row = fields.whole("firstRow", 0);
  if (batch.rows < 0 || batch.length < 1)
    throw EngineError("ERR_ELECTRA_SHAPE", "batch: %d rows of length %d", batch.rows, batch.length);
  const int64_t elements = static_cast<int64_t>(batch.rows) * batch.length;
  ids_ = copy_ints(fields.value("inputIds"), elements, "batch.inputIds");
  lengths_ = copy_ints(fields.value("lengths"), batch.rows, "batch.lengths");
  batch.input_ids = ids_.data();
  batch.lengths = lengths_.data();
  if (fields.has("segmentIds")) {
    segments_ = copy_ints(fields.value("segmentIds"), elements, "batch.segmentIds");
    batch.segment_ids = segments_.data();
  }
}

ParameterKind read_kind(Napi::Value value) {
  const std::string kind = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (kind == "value") return ParameterKind::kValue;
  if (kind == "gradient") return ParameterKind::kGradient;
  if (kind == "adam_m") return ParameterKind::kAdamM;
  if (kind == "adam_v") return ParameterKind::kAdamV;
  throw EngineError("ERR_ELECTRA_ARGUMENT",
                    "The kind of tensor is \"%s\"; it must be value, gradient, adam_m or adam_v",
                    kind.c_str());
}

void read_wanted(const Fields& fields, Outputs& outputs) {
  if (!fields.has("outputs")) return;
  const Napi::Value value = fields.value("outputs");
  if (!value.IsArray()) fields.fail("outputs", "an array of names");
  const Napi::Array names = value.As<Napi::Array>();
  for (uint32_t i = 0; i < names.Length(); ++i) outputs.wanted.insert(names.Get(i).ToString().Utf8Value());
}

OptimizerOptions read_optimizer(Napi::Value value) {
  const Fields fields(value, "options");
  OptimizerOptions options;
  options.learning_rate = static_cast<float>(fields.number("learningRate"));
  options.max_gradient_norm = fields.real("maxGradientNorm", options.max_gradient_norm);
  options.beta1 = fields.number("beta1", options.beta1);
  options.beta2 = fields.number("beta2", options.beta2);
  options.epsilon = fields.number("epsilon", options.epsilon);
  return options;
}

void require_finite(const OptimizerResult& result, unsigned step) {
  if (result.finite) return;
  throw EngineError(
      "ERR_ELECTRA_NOT_FINITE",
      "Step %u: the gradient of %s holds a NaN or an infinity. Weights and moments are as before the step.",
      step, result.nonfinite_parameter.empty() ? "the model" : result.nonfinite_parameter.c_str());
}

}  // namespace electra::addon
