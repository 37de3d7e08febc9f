#include "batch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace electra {

int32_t slots_of_row(int32_t tokens, float mask_prob, int32_t max_predictions) {
  const float expected = std::nearbyintf(static_cast<float>(tokens) * mask_prob);
  const int32_t count =
      expected < static_cast<float>(max_predictions) ? static_cast<int32_t>(expected) : max_predictions;
  return count < 1 ? 1 : count;
}

void DeviceBatch::plan(Arena& arena, int32_t rows, int32_t pitch, int32_t slots_per_row, int64_t lm_rows) {
  token_capacity = int64_t{rows} * pitch;
  slot_capacity = int64_t{rows} * slots_per_row;
  const int64_t t = token_capacity, s = slot_capacity;
  block_size = 4 * t + 4 * int64_t{rows} + 2 + 2;
  block = arena.take<int32_t>(block_size);
  int32_t* next = block;
  const auto cut = [&next](int64_t count) {
    int32_t* place = next;
    if (next != nullptr) next += count;
    return place;
  };
  ids = cut(t);
  segments = cut(t);
  token_row = cut(t);
  token_position = cut(t);
  offsets = cut(rows + 1);
  valid = cut(rows);
  global_row = cut(rows);
  slot_offsets = cut(rows + 1);
  actual = cut(2);
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
  if (batch.rows < 1 || batch.length < 1)
    throw EngineError("ERR_ELECTRA_BATCH",
                      "a batch needs at least one row and one token; it has %d rows of length %d", batch.rows,
                      batch.length);
  if (batch.length > config.max_seq_length || (config.keep_padding && batch.length != config.max_seq_length))
    throw EngineError("ERR_ELECTRA_BATCH", "rows of length %d do not fit max_seq_length %d%s", batch.length,
                      config.max_seq_length,
                      config.keep_padding ? " (row mode keep wants exactly that length)" : "");
  PackedBatch packed;
  packed.rows = batch.rows;
  packed.pitch = config.max_seq_length;
  packed.slots_per_row = config.max_predictions_per_seq;
  packed.offsets.push_back(0);
  packed.slot_offsets.push_back(0);
  const int32_t vocabulary = config.discriminator.vocab_size, types = config.discriminator.type_vocab_size;
  for (int32_t b = 0; b < batch.rows; ++b) {
    const int32_t length = batch.lengths[b];
    if (length < 0 || length > batch.length)
      throw EngineError("ERR_ELECTRA_BATCH", "row %d has length %d, outside 0 … %d", b, length, batch.length);
    const int32_t in_stream = config.keep_padding ? batch.length : length;
    int32_t candidates = 0;
    for (int32_t i = 0; i < in_stream; ++i) {
      const int64_t at = int64_t{b} * batch.length + i;
      const int32_t id = batch.input_ids[at];
      const int32_t segment = batch.segment_ids ? batch.segment_ids[at] : 0;
      if (id < 0 || id >= vocabulary)
        throw EngineError("ERR_ELECTRA_TOKEN_ID",
                          "row %d, position %d: token id %d is outside the vocabulary of %d", b, i, id,
                          vocabulary);
      if (segment < 0 || segment >= types)
        throw EngineError("ERR_ELECTRA_BATCH", "row %d, position %d: segment id %d is outside 0 … %d", b, i,
                          segment, types - 1);
      const bool candidate = i < length && id != config.cls_id && id != config.sep_id && id != config.mask_id;
      candidates += candidate;
      packed.ids.push_back(id);
      packed.segments.push_back(segment);
      packed.token_row.push_back(b);
      packed.token_position.push_back(i);
      packed.token_weights.push_back(i < length ? 1.0f : 0.0f);
      packed.cloze_weights.push_back(candidate ? 1.0f : 0.0f);
      packed.keeps_id.push_back(i == 0);
    }
    packed.offsets.push_back(static_cast<int32_t>(packed.ids.size()));
    packed.valid.push_back(length);
    packed.global_row.push_back(batch.first_row + b);
    packed.real_tokens += length;
    packed.candidates += candidates;
    // A row without a candidate is left alone (the reference divides by zero there).
    const int32_t slots = with_slots && candidates > 0
                              ? slots_of_row(length, config.mask_prob, config.max_predictions_per_seq)
                              : 0;
    packed.slot_offsets.push_back(packed.slot_offsets.back() + slots);
  }
  packed.tokens = static_cast<int64_t>(packed.ids.size());
  packed.slots = packed.slot_offsets.back();
  return packed;
}

Extent slot_extent(const PackedBatch& packed, const DeviceBatch& device) {
  return Extent{std::min(device.slot_capacity, (packed.slots + 63) / 64 * 64), device.actual + 1};
}

Rows upload_batch(Operators& operators, const PackedBatch& packed, const DeviceBatch& device,
                  bool keep_padding, bool cloze) {
  std::vector<int32_t> block(static_cast<size_t>(device.block_size), 0);
  const auto place = [&](const int32_t* where, const std::vector<int32_t>& values) {
    if (!values.empty())
      std::memcpy(&block[static_cast<size_t>(where - device.block)], values.data(), values.size() * 4);
  };
  place(device.ids, packed.ids);
  place(device.segments, packed.segments);
  place(device.token_row, packed.token_row);
  place(device.token_position, packed.token_position);
  place(device.offsets, packed.offsets);
  place(device.valid, packed.valid);
  place(device.global_row, packed.global_row);
  place(device.slot_offsets, packed.slot_offsets);
  place(device.actual, {static_cast<int32_t>(packed.tokens), static_cast<int32_t>(packed.slots)});
  operators.upload(device.block, block.data(), block.size() * sizeof(int32_t));
  if (keep_padding && packed.tokens > 0)
    operators.upload(device.token_weights, packed.token_weights.data(),
                     packed.token_weights.size() * sizeof(float));
  if (cloze && packed.tokens > 0) {
    operators.upload(device.cloze_weights, packed.cloze_weights.data(),
                     packed.cloze_weights.size() * sizeof(float));
    operators.upload(device.keeps_id, packed.keeps_id.data(), packed.keeps_id.size());
  }
  Rows rows;
  rows.batch = packed.rows;
  rows.pitch = packed.pitch;
  rows.keep_padding = keep_padding;
  rows.tokens =
      Extent{std::min(int64_t{packed.rows} * packed.pitch, (packed.tokens + 255) / 256 * 256), device.actual};
  rows.offsets = device.offsets;
  rows.valid = device.valid;
  rows.global_row = device.global_row;
  rows.token_row = device.token_row;
  rows.token_position = device.token_position;
  return rows;
}

}  // namespace electra
