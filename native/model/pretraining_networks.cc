#include <algorithm>

#include "pretraining_implementation.h"

namespace electra {

namespace {

PretrainingConfig checked(const PretrainingConfig& config) {
  const bool replaces = config.objective != Objective::kMaskedLanguageModel;
  if (!replaces && config.generator_kind != GeneratorKind::kTied)
    throw EngineError(
        "ERR_ELECTRA_CONFIG",
        "the masked-LM objective trains one full-size encoder, so its generator_kind must be \"shared\"");
  if (config.objective == Objective::kElectric && config.generator_kind != GeneratorKind::kTwoTower)
    throw EngineError("ERR_ELECTRA_CONFIG", "Electric needs the probabilities of a two-tower generator");
  if (config.max_seq_length > config.discriminator.max_position_embeddings)
    throw EngineError("ERR_ELECTRA_CONFIG", "max_seq_length %d exceeds max_position_embeddings %d",
                      config.max_seq_length, config.discriminator.max_position_embeddings);
  if (config.max_predictions_per_seq < 1)
    throw EngineError("ERR_ELECTRA_CONFIG",
                      "max_predictions_per_seq is %d: mask_prob x max_seq_length leaves no slot",
                      config.max_predictions_per_seq);
  return config;
}

}  // namespace

PretrainingModel::Implementation::Implementation(Operators& ops, const PretrainingConfig& configuration,
                                                 uint64_t seed, int32_t reserve_rows)
    : operators(ops), config(checked(configuration)), room(ops, *this, config.max_seq_length) {
  ParameterTable table;
  build_networks(table);
  parameter_count = table.size();
  segment_count = static_cast<int32_t>(table.segments(config.weight_decay_rate).size());
  room.require_memory(Parameters::bytes_for(operators, parameter_count), reserve_rows, true);
  parameters = std::make_unique<Parameters>(operators, std::move(table), config.weight_decay_rate);
  parameters->initialize(seed);
  parameters->refresh_weights();
  optimizer = std::make_unique<Optimizer>(operators, *parameters);
  if (reserve_rows > 0) room.prepare(reserve_rows, true);
}

void PretrainingModel::Implementation::build_networks(ParameterTable& table) {
  TransformerConfig generator_config = config.generator;
  const std::string own = config.untied_generator_embeddings ? "" : "electra";
  generator_config.embedding_size =
      config.untied_generator_embeddings ? config.generator.hidden_size : config.discriminator.embedding_size;
  const auto embedding_scope = [&](const std::string& scope) { return own.empty() ? scope : own; };
  if (two_towers()) {
    generator = std::make_unique<Transformer>(table, "generator_ltr", embedding_scope("generator_ltr"),
                                              generator_config, AttentionMask::kLeftToRight);
    right_to_left = std::make_unique<Transformer>(table, "generator_rtl", embedding_scope("generator_rtl"),
                                                  generator_config, AttentionMask::kRightToLeft);
    token_head = std::make_unique<TokenPredictionHead>(
        table, "cloze_predictions", 2 * int64_t{generator_config.hidden_size}, generator->word_embeddings(),
        generator_config.embedding_size, generator_config.vocab_size, generator_config);
  } else if (tied()) {
    discriminator = std::make_unique<Transformer>(table, "electra", "electra", config.discriminator,
                                                  AttentionMask::kFull);
    token_head = std::make_unique<TokenPredictionHead>(
        table, "generator_predictions", config.discriminator.hidden_size, discriminator->word_embeddings(),
        config.discriminator.embedding_size, config.discriminator.vocab_size, config.discriminator);
  } else if (!uniform()) {
    generator = std::make_unique<Transformer>(table, "generator", embedding_scope("generator"),
                                              generator_config, AttentionMask::kFull);
    token_head = std::make_unique<TokenPredictionHead>(
        table, "generator_predictions", generator_config.hidden_size, generator->word_embeddings(),
        generator_config.embedding_size, generator_config.vocab_size, generator_config);
  }
  if (replaces_tokens()) {
    if (!discriminator)
      discriminator = std::make_unique<Transformer>(table, "electra", "electra", config.discriminator,
                                                    AttentionMask::kFull);
    binary_head = std::make_unique<DiscriminatorHead>(table, config.discriminator);
  }
}

Capacity PretrainingModel::Implementation::capacity_for(int32_t rows) const {
  Capacity capacity;
  capacity.tokens = int64_t{rows} * config.max_seq_length;
  capacity.batch = rows;
  capacity.pitch = config.max_seq_length;
  capacity.slots = int64_t{rows} * config.max_predictions_per_seq;
  capacity.lm_rows = lm_rows(rows);
  capacity.vocabulary = config.discriminator.vocab_size;
  for (const Transformer* network : {generator.get(), right_to_left.get(), discriminator.get()}) {
    if (!network) continue;
    const TransformerConfig& c = network->config();
    for (const int32_t width : {3 * c.hidden_size, c.intermediate_size, c.embedding_size})
      capacity.max_width = std::max(capacity.max_width, width);
    capacity.max_heads = std::max(capacity.max_heads, c.num_attention_heads);
  }
  capacity.max_segments = segment_count;
  capacity.parameters = parameter_count;
  return capacity;
}

int64_t PretrainingModel::Implementation::lm_rows(int32_t rows) const {
  return int64_t{rows} * (two_towers() ? config.max_seq_length : config.max_predictions_per_seq);
}

void PretrainingModel::Implementation::lay_out(Arena& a, int32_t rows, bool training, Places& places) const {
  places.device.plan(a, rows, config.max_seq_length, config.max_predictions_per_seq, lm_rows(rows));
  const int64_t tokens = places.device.token_capacity;
  const size_t mark = a.mark();
  if (two_towers()) {
    generator->plan(a, tokens, training, places.generator_activations);
    right_to_left->plan(a, tokens, training, places.right_to_left_activations);
  } else if (!uniform()) {
    masked_lm_network().plan(a, tokens, training, places.generator_activations);
  }
  if (!uniform()) token_head->plan(a, lm_rows(rows), training, places.token_activations);
  a.rewind(mark);
  if (!replaces_tokens()) return;
  discriminator->plan(a, tokens, training, places.discriminator_activations);
  binary_head->plan(a, tokens, training, places.binary_activations);
}

size_t PretrainingModel::Implementation::plan_bytes(int32_t rows, bool training) const {
  Arena probe(operators);
  Places places;
  return probe.measure([&](Arena& a) { lay_out(a, rows, training, places); });
}

}  // namespace electra
