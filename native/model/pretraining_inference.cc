// A plain forward pass of one network on the ids as they are.

#include "pretraining_implementation.h"

namespace electra {

void PretrainingModel::Implementation::run_forward(const HostBatch& batch, const ForwardOptions& options,
                                                   Outputs* outputs) {
  if (options.generator ? (!token_head) : (!binary_head))
    throw EngineError("ERR_ELECTRA_CONFIG", "this model has no %s",
                      options.generator ? "generator" : "replaced-token discriminator");
  PackedBatch packed = pack_batch(batch, config, false);
  room.prepare(batch.rows, false);
  StepScalars scalars;
  operators.upload(device.scalars, &scalars, sizeof(scalars));
  const Rows rows = upload_batch(operators, packed, device, config.keep_padding, false);
  const StepContext c = context_for(rows, packed, options.abort, outputs, false);
  if (!options.generator) {
    discriminator->forward(c, device.ids, Network::kDiscriminator, discriminator_activations);
    binary_head->forward(c, discriminator_activations.sequence_output(), binary_activations);
    operators.copy(device.final_logits, binary_activations.logits.data,
                   static_cast<size_t>(rows.tokens.capacity) * sizeof(float));
    outputs->wanted.erase("disc/loss");
    outputs->wanted.erase("disc/token_loss");
    collect_discriminator(c, packed);
    return;
  }
  // Positions become slots; the head then runs on their rows alone.
  const int32_t wanted = options.positions != nullptr ? options.positions_per_row : 0;
  if (wanted > config.max_predictions_per_seq)
    throw EngineError("ERR_ELECTRA_BATCH", "%d positions a row are more than max_predictions_per_seq %d",
                      wanted, config.max_predictions_per_seq);
  std::vector<int32_t> slot_token;
  packed.slot_offsets.assign(1, 0);
  for (int32_t b = 0; b < batch.rows; ++b) {
    for (int32_t s = 0; s < wanted; ++s) {
      const int32_t position = options.positions[int64_t{b} * wanted + s];
      if (position < 0) continue;
      if (position >= packed.valid[b])
        throw EngineError("ERR_ELECTRA_BATCH", "row %d has no position %d: its length is %d", b, position,
                          packed.valid[b]);
      slot_token.push_back(packed.offsets[b] + position);
    }
    packed.slot_offsets.push_back(static_cast<int32_t>(slot_token.size()));
  }
  packed.slots = static_cast<int64_t>(slot_token.size());
  packed.slots_per_row = wanted;
  const int32_t slots_now = static_cast<int32_t>(packed.slots);
  operators.upload(device.actual + 1, &slots_now, sizeof(int32_t));
  if (!slot_token.empty())
    operators.upload(device.slot_token, slot_token.data(), slot_token.size() * sizeof(int32_t));

  if (two_towers()) {
    generator->forward(c, device.ids, Network::kLeftToRight, generator_activations);
    right_to_left->forward(c, device.ids, Network::kRightToLeft, right_to_left_activations);
  } else {
    masked_lm_network().forward(c, device.ids, Network::kGenerator, generator_activations);
  }
  if (packed.slots == 0) return;
  const Extent slots = slot_extent(packed, device);
  GatherRows gather;
  gather.count = slots;
  gather.index = device.slot_token;
  gather.y = token_activations.rows;
  if (two_towers()) {
    // The towers' states of the neighbours, wrapped around the row's ends as tower_concat does.
    std::vector<int32_t> before = slot_token, after = slot_token;
    for (int32_t b = 0; b < batch.rows; ++b)
      for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s) {
        const int32_t first = packed.offsets[b], last = packed.offsets[b + 1] - 1, t = slot_token[s];
        before[s] = t == first ? last : t - 1;
        after[s] = t == last ? first : t + 1;
      }
    operators.upload(device.slot_target, before.data(), before.size() * sizeof(int32_t));
    operators.upload(device.slot_local, after.data(), after.size() * sizeof(int32_t));
    const int64_t width = generator->config().hidden_size;
    gather.index = device.slot_target;
    gather.x = generator_activations.sequence_output();
    gather.y = columns(token_activations.rows, 0, width);
    operators.gather_rows(gather);
    gather.index = device.slot_local;
    gather.x = right_to_left_activations.sequence_output();
    gather.y = columns(token_activations.rows, width, width);
    operators.gather_rows(gather);
  } else {
    gather.x = generator_activations.sequence_output();
    operators.gather_rows(gather);
  }
  token_head->forward(c, slots, token_activations);
  LanguageModelHead head = token_head->language_model(c, slots, token_activations, false);
  head.nll = nullptr;
  head.predictions = device.predictions;
  operators.zero(device.nll, static_cast<size_t>(lm_row_capacity()) * sizeof(float));
  collect_language_model(c, packed, head, false);
}

}  // namespace electra
