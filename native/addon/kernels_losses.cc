// The language-model head and the binary cross-entropy.

#include <vector>

#include "kernel_call.h"

namespace electra::addon {
namespace {

void check_ids(const char* name, const int32_t* ids, int64_t count, int64_t vocabulary) {
  for (int64_t i = 0; i < count; ++i)
    if (ids[i] < 0 || ids[i] >= vocabulary)
      throw EngineError("ERR_ELECTRA_ARGUMENT", "%s[%lld] is %d; the vocabulary has %lld entries", name,
                        static_cast<long long>(i), ids[i], static_cast<long long>(vocabulary));
}

/// logits = x · tableᵀ + bias with all that is wanted of them; one slot per row.
void language_model_head(KernelContext& context, KernelCall& call) {
  const int64_t rows = call.count("rows"), width = call.count("width"), vocabulary = call.count("vocabulary");
  const StepScalars* scalars = kernel_scalars(call);
  const float scale = call.real("scale", 1);
  LanguageModelSums* device_sums = call.sums<LanguageModelSums>();
  LanguageModelHead head;
  head.rows.capacity = rows;
  head.x = call.matrix("x", rows, width);
  head.table = call.weight("table", vocabulary, width);
  head.bias = call.floats("bias", vocabulary);
  head.targets = call.integers_or_null("targets", rows);
  if (head.targets != nullptr) check_ids("targets", call.host_integers("targets", rows), rows, vocabulary);
  head.weights = call.floats_or_null("weights", rows);
  head.scale = call.put(scale);
  head.scalars = scalars;
  head.predictions = call.integer_result("predictions", {rows});
  head.log_sum_exp = call.result("logSumExp", {rows});
  if (call.flag("logits")) head.logits = call.result("logits", {rows, vocabulary});
  if (head.targets != nullptr) {
    head.nll = call.result("nll", {rows});
    head.sums = device_sums;
  }
  std::vector<int32_t> local;
  if (call.flag("sample")) {
    for (int64_t r = 0; r < rows; ++r) local.push_back(static_cast<int32_t>(r));
    head.sample = true;
    head.slots.capacity = rows;
    head.slot_target = head.targets;
    head.slot_local = call.put(local.data(), rows);
    head.slot_coordinate =
        call.has("slotCoordinate") ? call.integers("slotCoordinate", rows) : head.slot_local;
    head.temperature = call.real("temperature", 1);
    head.disallow_correct = call.flag("disallowCorrect");
    head.given_uniform = call.floats_or_null("uniform", rows * vocabulary);
    head.sampled = call.integer_result("sampled", {rows});
  }
  if (call.flag("backward")) {
    if (head.targets == nullptr) throw EngineError("ERR_ELECTRA_ARGUMENT", "a gradient needs targets");
    head.dx = call.result_matrix("dx", rows, width);
    head.d_table = call.result("dTable", {vocabulary, width}, true);
    head.d_bias = call.result("dBias", {vocabulary}, true);
  }
  Capacity capacity;
  capacity.tokens = rows;
  capacity.slots = rows;
  capacity.lm_rows = rows;
  capacity.vocabulary = static_cast<int32_t>(vocabulary);
  capacity.max_width = static_cast<int32_t>(width);
  context.reserve(capacity);
  call.run([&] { context.operators.language_model_head(head); });
  if (head.targets == nullptr) return;
  const LanguageModelSums sums = call.fetch(device_sums);
  call.result_number("loss", sums.loss);
  call.result_number("weight", sums.weight);
  call.result_number("correct", sums.correct);
  call.result_number("sampledCorrect", sums.sampled_correct);
}

void binary_cross_entropy(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens");
  const float scale = call.real("scale", 1);
  BinarySums* device_sums = call.sums<BinarySums>();
  BinaryCrossEntropy operation;
  operation.tokens.capacity = tokens;
  operation.logits = call.floats("logits", tokens);
  operation.addend = call.floats_or_null("addend", tokens);
  operation.constant = call.real("constant", 0);
  operation.labels = call.floats("labels", tokens);
  operation.weights = call.floats_or_null("weights", tokens);
  operation.scale = call.put(scale);
  operation.loss = call.result("loss", {tokens});
  operation.final_logits = call.result("finalLogits", {tokens});
  operation.d_logits = call.result("dLogits", {tokens});
  operation.sums = device_sums;
  Capacity capacity;
  capacity.tokens = tokens;
  context.reserve(capacity);
  call.run([&] { context.operators.binary_cross_entropy(operation); });
  const BinarySums sums = call.fetch(device_sums);
  call.result_number("lossSum", sums.loss);
  call.result_number("weightSum", sums.weight);
  call.result_number("truePositive", sums.true_positive);
  call.result_number("falsePositive", sums.false_positive);
  call.result_number("trueNegative", sums.true_negative);
  call.result_number("falseNegative", sums.false_negative);
}

}  // namespace

void add_loss_kernels(KernelFunctions& functions) {
  functions["languageModelHead"] = language_model_head;
  functions["binaryCrossEntropy"] = binary_cross_entropy;
}

}  // namespace electra::addon
