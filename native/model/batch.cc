#include "batch.h"

#include <cmath>

namespace electra {

int32_t slots_of_row(int32_t tokens, float mask_prob, int32_t max_predictions) {
  const float expected = std::nearbyintf(static_cast<float>(tokens) * mask_prob);
  const int32_t count =
      expected < static_cast<float>(max_predictions) ? static_cast<int32_t>(expected) : max_predictions;
  return count < 1 ? 1 : count;
}

void DeviceBatch::plan(Arena& arena, int32_t rows, int32_t pitch, int32_t slots_per_row, int64_t lm_rows) {
  plan_rows(arena, rows, pitch, int64_t{rows} + 1);
  slot_offsets = extra;
  slot_capacity = int64_t{rows} * slots_per_row;
  const int64_t t = token_capacity, s = slot_capacity;
  token_weights = arena.take<float>(t);
  cloze_weights = arena.take<float>(t);
  keeps_id = arena.take<uint8_t>(t);
  masked_ids = arena.take<int32_t>(t);
  replaced_ids = arena.take<int32_t>(t);
  slot_token = arena.take<int32_t>(s);
  slot_target = arena.take<int32_t>(s);
  slot_coordinate = arena.take<int32_t>(s);
  slot_local = arena.take<int32_t>(s);
  sampled = arena.take<int32_t>(s);
  token_slots = arena.take<int32_t>(t + 1);
  slot_order = arena.take<int32_t>(s);
  labels = arena.take<float>(t);
  token_loss = arena.take<float>(t);
  final_logits = arena.take<float>(t);
  log_q = arena.take<float>(t);
  nll = arena.take<float>(lm_rows);
  predictions = arena.take<int32_t>(lm_rows);
  scalars = arena.take<StepScalars>(1);
  generator_sums = arena.take<LanguageModelSums>(1);
  discriminator_sums = arena.take<BinarySums>(1);
}

PackedBatch pack_batch(const HostBatch& batch, const PretrainingConfig& config, bool with_slots) {
  PackedBatch packed;
  pack_rows(batch,
            RowLimits{config.max_seq_length, config.keep_padding, config.discriminator.vocab_size,
                      config.discriminator.type_vocab_size},
            packed);
  packed.slots_per_row = config.max_predictions_per_seq;
  packed.slot_offsets.push_back(0);
  for (int32_t b = 0; b < packed.rows; ++b) {
    const int32_t length = packed.valid[b];
    int32_t candidates = 0;
    for (int32_t t = packed.offsets[b]; t < packed.offsets[b + 1]; ++t) {
      const int32_t id = packed.ids[t], i = packed.token_position[t];
      const bool candidate = i < length && id != config.cls_id && id != config.sep_id && id != config.mask_id;
      candidates += candidate;
      packed.token_weights.push_back(i < length ? 1.0f : 0.0f);
      packed.cloze_weights.push_back(candidate ? 1.0f : 0.0f);
      packed.keeps_id.push_back(i == 0);
    }
    packed.candidates += candidates;
    // A row without a candidate is left alone (the reference divides by zero there).
    const int32_t slots = with_slots && candidates > 0
                              ? slots_of_row(length, config.mask_prob, config.max_predictions_per_seq)
                              : 0;
    packed.slot_offsets.push_back(packed.slot_offsets.back() + slots);
  }
  packed.slots = packed.slot_offsets.back();
  return packed;
}

Extent slot_extent(const PackedBatch& packed, const DeviceBatch& device) {
  return item_extent(packed.slots, device.slot_capacity, device);
}

Rows upload_batch(Operators& operators, const PackedBatch& packed, const DeviceBatch& device,
                  bool keep_padding, bool cloze) {
  BlockImage image(device, packed, packed.slots);
  image.place(device.slot_offsets, packed.slot_offsets);
  image.upload(operators);
  if (keep_padding && packed.tokens > 0)
    operators.upload(device.token_weights, packed.token_weights.data(),
                     packed.token_weights.size() * sizeof(float));
  if (cloze && packed.tokens > 0) {
    operators.upload(device.cloze_weights, packed.cloze_weights.data(),
                     packed.cloze_weights.size() * sizeof(float));
    operators.upload(device.keeps_id, packed.keeps_id.data(), packed.keeps_id.size());
  }
  return rows_of(packed, device, keep_padding);
}

}  // namespace electra
