// One pre-training step: corrupt, generate, replace, discriminate; in training every network's backward pass
// follows its loss at once.

#include <cmath>

#include "pretraining_implementation.h"
#include "step_bracket.h"

namespace electra {

StepContext PretrainingModel::Implementation::context_for(const Rows& rows, const PackedBatch& packed,
                                                          const std::atomic<bool>* abort, Outputs* outputs,
                                                          bool training) {
  StepContext context(operators, *parameters);
  context.rows = rows;
  context.segments = device.segments;
  context.scalars = device.scalars;
  context.training = training;
  context.abort = abort;
  context.outputs = outputs;
  context.host_offsets = packed.offsets.data();
  context.length = packed.pitch;
  return context;
}

void PretrainingModel::Implementation::corrupt(const StepContext& c, const PackedBatch& packed,
                                               const Draws& draws, Injected& injected) {
  const int64_t slots = int64_t{packed.rows} * config.max_predictions_per_seq;
  MaskTokens mask;
  mask.rows = c.rows;
  mask.scalars = device.scalars;
  mask.ids = device.ids;
  mask.slots = slot_extent(packed, device);
  mask.slot_offsets = device.slot_offsets;
  mask.slots_per_row = config.max_predictions_per_seq;
  mask.cls_id = config.cls_id;
  mask.sep_id = config.sep_id;
  mask.mask_id = config.mask_id;
  mask.without_replacement = config.mask_without_replacement;
  mask.given_positions = injected.put(draws.positions, slots);
  mask.given_replace_uniform = injected.put(draws.replace_uniform, slots);
  mask.masked_ids = device.masked_ids;
  mask.slot_token = device.slot_token;
  mask.slot_target = device.slot_target;
  mask.slot_coordinate = device.slot_coordinate;
  mask.slot_local = device.slot_local;
  if (two_towers()) {
    mask.token_slots = device.token_slots;
    mask.slot_order = device.slot_order;
  }
  operators.mask_tokens(mask);
  if (c.wants("masked/input_ids")) c.collect_tokens("masked/input_ids", device.masked_ids);
  if (c.wants("masked/targets"))
    c.outputs->arrays["masked/targets"] = slots_to_host(packed, device.slot_target);
  if (c.wants("masked/positions")) {
    HostArray array = slots_to_host(packed, device.slot_token);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t s = 0; s < packed.slot_offsets[b + 1] - packed.slot_offsets[b]; ++s)
        array.i32[static_cast<size_t>(b) * config.max_predictions_per_seq + s] -= packed.offsets[b];
    c.outputs->arrays["masked/positions"] = std::move(array);
  }
  if (c.wants("masked/weights")) {
    HostArray array;
    array.shape = {packed.rows, config.max_predictions_per_seq};
    array.f32.assign(static_cast<size_t>(slots), 0.0f);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t s = 0; s < packed.slot_offsets[b + 1] - packed.slot_offsets[b]; ++s)
        array.f32[static_cast<size_t>(b) * config.max_predictions_per_seq + s] = 1.0f;
    c.outputs->arrays["masked/weights"] = std::move(array);
  }
}

// Injected sampled ids are [B, N]; the device keeps slots packed.
void PretrainingModel::Implementation::take_sampled(const PackedBatch& packed, const Draws& draws) {
  std::vector<int32_t> sampled;
  for (int32_t b = 0; b < packed.rows; ++b)
    for (int32_t s = 0; s < packed.slot_offsets[b + 1] - packed.slot_offsets[b]; ++s) {
      const int32_t id = draws.sampled_ids[static_cast<size_t>(b) * config.max_predictions_per_seq + s];
      if (id < 0 || id >= config.discriminator.vocab_size)
        throw EngineError("ERR_ELECTRA_TOKEN_ID",
                          "injected sampled id %d (row %d, slot %d) is outside the vocabulary", id, b, s);
      sampled.push_back(id);
    }
  if (!sampled.empty()) operators.upload(device.sampled, sampled.data(), sampled.size() * sizeof(int32_t));
}

void PretrainingModel::Implementation::set_draws(const PackedBatch& packed, const Draws& draws,
                                                 Injected& injected, LanguageModelHead& head) {
  head.scalars = device.scalars;
  head.slots = slot_extent(packed, device);
  head.slot_target = device.slot_target;
  head.slot_coordinate = device.slot_coordinate;
  head.slot_local = device.slot_local;
  head.temperature = config.temperature;
  head.disallow_correct = config.disallow_correct;
  head.sampled = device.sampled;
  if (draws.sampled_ids != nullptr) {
    take_sampled(packed, draws);
    return;
  }
  head.sample = true;
  head.given_uniform =
      injected.put(draws.gumbel_uniform,
                   int64_t{packed.rows} * config.max_predictions_per_seq * config.discriminator.vocab_size);
}

void PretrainingModel::Implementation::generate(const StepContext& c, const PackedBatch& packed,
                                                const Draws& draws, Injected& injected, bool sample) {
  const Transformer& network = masked_lm_network();
  network.forward(c, device.masked_ids, Network::kGenerator, generator_activations);
  const Extent slots = slot_extent(packed, device);
  GatherRows gather;
  gather.count = slots;
  gather.index = device.slot_token;
  gather.x = generator_activations.sequence_output();
  gather.y = token_activations.rows;
  operators.gather_rows(gather);
  token_head->forward(c, slots, token_activations);

  LanguageModelHead head = token_head->language_model(c, slots, token_activations, c.training);
  head.targets = device.slot_target;
  head.scale = &device.scalars->generator_scale;
  head.nll = device.nll;
  head.predictions = device.predictions;
  head.sums = device.generator_sums;
  if (sample) set_draws(packed, draws, injected, head);
  collect_language_model(c, packed, head, false);

  if (!c.training) return;
  token_head->backward(c, slots, token_activations);
  ScatterAddRows scatter;
  scatter.count = slots;
  scatter.index = device.slot_token;
  scatter.dy = token_activations.d_rows;
  scatter.target = c.rows.tokens;
  scatter.dx = generator_activations.d_hidden;
  scatter.into = Into::kWrite;
  operators.scatter_add_rows(scatter);
  network.backward(c, Network::kGenerator, generator_activations);
}

void PretrainingModel::Implementation::generate_two_towers(const StepContext& c, const PackedBatch& packed,
                                                           const Draws& draws, Injected& injected) {
  generator->forward(c, device.ids, Network::kLeftToRight, generator_activations);
  right_to_left->forward(c, device.ids, Network::kRightToLeft, right_to_left_activations);
  TowerConcat concat;
  concat.rows = c.rows;
  concat.left_to_right = generator_activations.sequence_output();
  concat.right_to_left = right_to_left_activations.sequence_output();
  concat.y = token_activations.rows;
  operators.tower_concat(concat);
  token_head->forward(c, c.rows.tokens, token_activations);

  LanguageModelHead head = token_head->language_model(c, c.rows.tokens, token_activations, c.training);
  head.targets = device.ids;
  head.weights = device.cloze_weights;
  head.scale = &device.scalars->generator_scale;
  head.nll = device.nll;
  head.predictions = device.predictions;
  head.sums = device.generator_sums;
  head.row_slots = device.token_slots;
  head.slot_order = device.slot_order;
  if (config.objective == Objective::kElectric) {
    head.row_ids = device.ids;
    head.row_keeps_id = device.keeps_id;
    head.log_q = device.log_q;
  }
  set_draws(packed, draws, injected, head);
  collect_language_model(c, packed, head, true);

  if (!c.training) return;
  token_head->backward(c, c.rows.tokens, token_activations);
  TowerConcatBackward split;
  split.rows = c.rows;
  split.dy = token_activations.d_rows;
  split.d_left_to_right = generator_activations.d_hidden;
  split.d_right_to_left = right_to_left_activations.d_hidden;
  operators.tower_concat_backward(split);
  generator->backward(c, Network::kLeftToRight, generator_activations);
  right_to_left->backward(c, Network::kRightToLeft, right_to_left_activations);
}

void PretrainingModel::Implementation::generate_uniform(const PackedBatch& packed, const Draws& draws,
                                                        Injected& injected) {
  if (draws.sampled_ids != nullptr) {
    take_sampled(packed, draws);
    return;
  }
  SampleUniform sample;
  sample.scalars = device.scalars;
  sample.slots = slot_extent(packed, device);
  sample.slot_coordinate = device.slot_coordinate;
  sample.slot_local = device.slot_local;
  sample.slot_target = device.slot_target;
  sample.disallow_correct = config.disallow_correct;
  sample.vocabulary = config.discriminator.vocab_size;
  sample.given_uniform =
      injected.put(draws.gumbel_uniform,
                   int64_t{packed.rows} * config.max_predictions_per_seq * config.discriminator.vocab_size);
  sample.sampled = device.sampled;
  operators.sample_uniform(sample);
}

void PretrainingModel::Implementation::replace(const StepContext& c, const PackedBatch& packed) {
  ReplaceTokens replace;
  replace.rows = c.rows;
  replace.ids = device.ids;
  replace.slots = slot_extent(packed, device);
  replace.slot_offsets = device.slot_offsets;
  replace.slot_token = device.slot_token;
  replace.sampled = device.sampled;
  replace.label_every_slot = config.objective == Objective::kElectric;
  replace.replaced_ids = device.replaced_ids;
  replace.labels = device.labels;
  operators.replace_tokens(replace);
  if (c.wants("fake/sampled_ids"))
    c.outputs->arrays["fake/sampled_ids"] = slots_to_host(packed, device.sampled);
  if (c.wants("fake/replaced_ids")) c.collect_tokens("fake/replaced_ids", device.replaced_ids);
  if (c.wants("fake/labels"))
    c.collect_tokens("fake/labels", Tensor{device.labels, packed.tokens, 1, 1, DType::kFloat32});
}

void PretrainingModel::Implementation::discriminate(const StepContext& c, const PackedBatch& packed) {
  TransformerActivations& a = discriminator_activations;
  discriminator->forward(c, device.replaced_ids, Network::kDiscriminator, a);
  binary_head->forward(c, a.sequence_output(), binary_activations);
  BinaryCrossEntropy loss;
  loss.tokens = c.rows.tokens;
  loss.logits = binary_activations.logits.f32();
  loss.logit_stride = binary_activations.logits.stride;
  if (config.objective == Objective::kElectric) {
    loss.addend = device.log_q;
    loss.constant = std::log(config.mask_prob / (1.0f - config.mask_prob));
  }
  loss.labels = device.labels;
  loss.weights = config.keep_padding ? device.token_weights : nullptr;
  loss.scale = &device.scalars->discriminator_scale;
  loss.loss = device.token_loss;
  loss.final_logits = device.final_logits;
  loss.d_logits = c.training ? binary_activations.d_logits.f32() : nullptr;
  loss.sums = device.discriminator_sums;
  operators.binary_cross_entropy(loss);
  collect_discriminator(c, packed);
  if (!c.training) return;
  binary_head->backward(c, a.sequence_output(), binary_activations, a.d_hidden);
  discriminator->backward(c, Network::kDiscriminator, a);
}

uint64_t PretrainingModel::Implementation::step_key(const Rows& rows, const PackedBatch& packed,
                                                    const StepOptions& options, bool training,
                                                    const OptimizerOptions* update) const {
  Fingerprint key;
  key.add(room.arena().base()).add(room.planned_rows()).add(training).add(options.accumulate);
  key.add(rows.batch).add(rows.tokens.capacity).add(slot_extent(packed, device).capacity);
  key.add(update != nullptr);
  if (update != nullptr)
    key.add(update->max_gradient_norm).add(update->beta1).add(update->beta2).add(update->epsilon);
  return key.value();
}

StepResult PretrainingModel::Implementation::run(const HostBatch& batch, const StepOptions& options,
                                                 Outputs* outputs, bool training,
                                                 const OptimizerOptions* update, OptimizerResult* updated) {
  const PackedBatch packed = pack_batch(batch, config, true);
  room.prepare(batch.rows, training);

  const double generator_weight =
      two_towers() ? static_cast<double>(packed.candidates) : static_cast<double>(packed.slots);
  const double generator_denominator = options.generator_denominator > 0
                                           ? options.generator_denominator
                                           : generator_weight + kDenominatorEpsilon;
  const double discriminator_denominator =
      options.discriminator_denominator > 0 ? options.discriminator_denominator
                                            : static_cast<double>(packed.real_tokens) + kDenominatorEpsilon;
  StepScalars scalars;
  scalars.seed = options.seed;
  scalars.step = options.step;
  scalars.generator_scale = static_cast<float>(config.gen_weight / generator_denominator);
  scalars.discriminator_scale = static_cast<float>(config.disc_weight / discriminator_denominator);
  if (update != nullptr) scalars.learning_rate = update->learning_rate;
  operators.upload(device.scalars, &scalars, sizeof(scalars));
  const Rows rows = upload_batch(operators, packed, device, config.keep_padding, two_towers());
  const StepContext c = context_for(rows, packed, options.abort, outputs, training);
  Injected injected(operators);

  // Inspection and injected draws move data to and from the host in the middle of a step.
  const bool recordable = outputs == nullptr && !options.draws.any();
  StepBracket bracket(operators, recordable, step_key(rows, packed, options, training, update));
  if (!bracket.replayed()) {
    operators.zero(device.generator_sums, sizeof(LanguageModelSums));
    operators.zero(device.discriminator_sums, sizeof(BinarySums));
    if (training && !options.accumulate) parameters->zero_gradients();
    // Sampling is wasted on a masked LM, unless somebody wants to see the samples, as the reference shows
    // them.
    const bool sample = replaces_tokens() || c.wants("fake/sampled_ids") || c.wants("fake/replaced_ids");
    corrupt(c, packed, options.draws, injected);
    if (uniform())
      generate_uniform(packed, options.draws, injected);
    else if (two_towers())
      generate_two_towers(c, packed, options.draws, injected);
    else
      generate(c, packed, options.draws, injected, sample);
    if (sample) replace(c, packed);
    if (replaces_tokens()) discriminate(c, packed);
    if (update != nullptr) optimizer->enqueue(*update, device.scalars);
  }
  bracket.end();

  StepResult result;
  operators.download(&result.generator, device.generator_sums, sizeof(LanguageModelSums));
  operators.download(&result.discriminator, device.discriminator_sums, sizeof(BinarySums));
  if (update != nullptr)
    *updated = optimizer->fetch(device.scalars);
  else
    operators.synchronize();
  if (uniform()) {
    // Logits are all zero: every slot costs ln V, a constant without gradient.
    result.generator.weight = result.generator.slots = static_cast<double>(packed.slots);
    result.generator.loss =
        result.generator.weight * std::log(static_cast<double>(config.discriminator.vocab_size));
  }
  result.generator_loss = result.generator.loss / generator_denominator;
  result.loss = config.gen_weight * result.generator_loss;
  if (replaces_tokens()) {
    result.discriminator_loss = result.discriminator.loss / discriminator_denominator;
    result.loss += config.disc_weight * result.discriminator_loss;
  }
  result.tokens = packed.real_tokens;
  result.slots = packed.slots;
  return result;
}

}  // namespace electra
