// Corrupting the input: masking, replacing, uniform fakes.

#include <algorithm>
#include <string>
#include <vector>

#include "kernel_call.h"

namespace electra::addon {
namespace {

/// Offsets of each row's slots from `slotCounts` [B].
class SlotRows {
 public:
  SlotRows(KernelCall& call, const Rows& rows) {
    const int32_t* counts = call.host_integers("slotCounts", rows.batch);
    offsets_.push_back(0);
    for (int32_t b = 0; b < rows.batch; ++b) {
      ELECTRA_CHECK_SHAPE(counts[b] >= 0, "slotCounts[%d] is %d", b, counts[b]);
      offsets_.push_back(offsets_.back() + counts[b]);
      most_ = std::max(most_, counts[b]);
    }
    device_offsets_ = call.put(offsets_.data(), static_cast<int64_t>(offsets_.size()));
  }
  SlotRows(const SlotRows&) = delete;
  SlotRows& operator=(const SlotRows&) = delete;
  const std::vector<int32_t>& offsets() const { return offsets_; }
  const int32_t* device_offsets() const { return device_offsets_; }
  int64_t slots() const { return offsets_.back(); }
  int32_t most() const { return most_; }

 private:
  std::vector<int32_t> offsets_;
  const int32_t* device_offsets_ = nullptr;
  int32_t most_ = 0;
};

Capacity token_capacity(const Rows& rows, int64_t slots, int64_t vocabulary) {
  Capacity capacity;
  capacity.tokens = rows.tokens.capacity;
  capacity.batch = rows.batch;
  capacity.pitch = rows.pitch;
  capacity.slots = slots;
  capacity.vocabulary = static_cast<int32_t>(vocabulary);
  return capacity;
}

void mask_tokens(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const SlotRows slots(call, rows.rows);
  const StepScalars* scalars = kernel_scalars(call);
  MaskTokens operation;
  operation.rows = rows.rows;
  operation.scalars = scalars;
  operation.ids = call.integers("ids", rows.tokens());
  operation.slots.capacity = slots.slots();
  operation.slot_offsets = slots.device_offsets();
  operation.slots_per_row = static_cast<int32_t>(call.count("slotsPerRow"));
  ELECTRA_CHECK_SHAPE(slots.most() <= operation.slots_per_row, "a row has %d slots; slotsPerRow is %d",
                      slots.most(), operation.slots_per_row);
  operation.cls_id = static_cast<int32_t>(call.count("clsId"));
  operation.sep_id = static_cast<int32_t>(call.count("sepId"));
  operation.mask_id = static_cast<int32_t>(call.count("maskId"));
  operation.mask_probability = call.real("maskProbability", operation.mask_probability);
  operation.without_replacement = call.flag("withoutReplacement");
  const int64_t given = static_cast<int64_t>(rows.rows.batch) * operation.slots_per_row;
  operation.given_positions = call.integers_or_null("positions", given);
  operation.given_replace_uniform = call.floats_or_null("replaceUniform", given);
  operation.masked_ids = call.integer_result("maskedIds", {rows.tokens()});
  operation.slot_token = call.integer_result("slotToken", {slots.slots()});
  operation.slot_target = call.integer_result("slotTarget", {slots.slots()});
  operation.slot_coordinate = call.integer_result("slotCoordinate", {slots.slots()});
  operation.slot_local = call.integer_result("slotLocal", {slots.slots()});
  context.reserve(token_capacity(rows.rows, slots.slots(), 0));
  call.run([&] { context.operators.mask_tokens(operation); });
}

void replace_tokens(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const SlotRows slots(call, rows.rows);
  ReplaceTokens operation;
  operation.rows = rows.rows;
  operation.ids = call.integers("ids", rows.tokens());
  operation.slots.capacity = slots.slots();
  operation.slot_offsets = slots.device_offsets();
  const int32_t* tokens = call.host_integers("slotToken", slots.slots());
  for (size_t b = 0; b + 1 < rows.offsets().size(); ++b)
    for (int32_t s = slots.offsets()[b]; s < slots.offsets()[b + 1]; ++s)
      ELECTRA_CHECK_SHAPE(tokens[s] >= rows.offsets()[b] && tokens[s] < rows.offsets()[b + 1],
                          "slotToken[%d] is %d; it lies outside its row", s, tokens[s]);
  operation.slot_token = call.integers("slotToken", slots.slots());
  operation.sampled = call.integers("sampled", slots.slots());
  operation.label_every_slot = call.flag("labelEverySlot");
  operation.replaced_ids = call.integer_result("replacedIds", {rows.tokens()});
  operation.labels = call.result("labels", {rows.tokens()});
  context.reserve(token_capacity(rows.rows, slots.slots(), 0));
  call.run([&] { context.operators.replace_tokens(operation); });
}

void sample_uniform(KernelContext& context, KernelCall& call) {
  const int64_t slots = call.count("slots"), vocabulary = call.count("vocabulary");
  const StepScalars* scalars = kernel_scalars(call);
  SampleUniform operation;
  operation.scalars = scalars;
  operation.slots.capacity = slots;
  operation.slot_coordinate = call.integers("slotCoordinate", slots);
  std::vector<int32_t> local;
  for (int64_t s = 0; s < slots; ++s) local.push_back(static_cast<int32_t>(s));
  operation.slot_local = call.put(local.data(), slots);
  operation.slot_target = call.integers("slotTarget", slots);
  operation.disallow_correct = call.flag("disallowCorrect");
  operation.vocabulary = static_cast<int32_t>(vocabulary);
  operation.given_uniform = call.floats_or_null("uniform", slots * vocabulary);
  operation.sampled = call.integer_result("sampled", {slots});
  Rows rows;
  context.reserve(token_capacity(rows, slots, vocabulary));
  call.run([&] { context.operators.sample_uniform(operation); });
}

}  // namespace

void add_token_kernels(KernelFunctions& functions) {
  functions["maskTokens"] = mask_tokens;
  functions["replaceTokens"] = replace_tokens;
  functions["sampleUniform"] = sample_uniform;
}

}  // namespace electra::addon
