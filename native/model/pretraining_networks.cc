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
                                                 uint64_t seed)
    : operators(ops), config(checked(configuration)), arena(ops) {
  ParameterTable table;
  build_networks(table);
  parameters = std::make_unique<Parameters>(operators, std::move(table), config.weight_decay_rate);
  parameters->initialize(seed);
  parameters->refresh_weights();
  partial_count = (parameters->table().size() + 4095) / 4096;
  partials = static_cast<double*>(operators.allocate(static_cast<size_t>(partial_count) * sizeof(double),
                                                     "partial sums of the gradient norm"));
}

PretrainingModel::Implementation::~Implementation() { operators.release(partials); }

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

void PretrainingModel::Implementation::reserve(int32_t rows, bool training) {
  if (rows <= reserved_rows && (reserved_training || !training)) return;
  reserved_rows = std::max(rows, reserved_rows);
  reserved_training = reserved_training || training;
  plan_activations(training);
  Capacity capacity;
  capacity.tokens = device.token_capacity;
  capacity.batch = reserved_rows;
  capacity.pitch = config.max_seq_length;
  capacity.slots = device.slot_capacity;
  capacity.lm_rows = lm_row_capacity();
  capacity.vocabulary = config.discriminator.vocab_size;
  for (const Transformer* network : {generator.get(), right_to_left.get(), discriminator.get()}) {
    if (!network) continue;
    const TransformerConfig& c = network->config();
    for (const int32_t width : {3 * c.hidden_size, c.intermediate_size, c.embedding_size})
      capacity.max_width = std::max(capacity.max_width, width);
    capacity.max_heads = std::max(capacity.max_heads, c.num_attention_heads);
  }
  capacity.max_segments = parameters->segment_count();
  capacity.parameters = parameters->table().size();
  operators.reserve(capacity);
}

int64_t PretrainingModel::Implementation::lm_row_capacity() const {
  const int64_t rows = reserved_rows;
  return two_towers() ? rows * config.max_seq_length : rows * config.max_predictions_per_seq;
}

void PretrainingModel::Implementation::plan_activations(bool training) {
  planned_training = training;
  arena.build("activations", [&](Arena& a) {
    device.plan(a, reserved_rows, config.max_seq_length, config.max_predictions_per_seq, lm_row_capacity());
    const int64_t tokens = device.token_capacity;
    const size_t mark = a.mark();
    plan_generator(a, tokens, training);
    a.rewind(mark);
    if (replaces_tokens()) {
      discriminator->plan(a, tokens, training, discriminator_activations);
      binary_head->plan(a, tokens, training, binary_activations);
    }
  });
}

void PretrainingModel::Implementation::plan_generator(Arena& a, int64_t tokens, bool training) {
  if (uniform()) return;
  if (two_towers()) {
    generator->plan(a, tokens, training, generator_activations);
    right_to_left->plan(a, tokens, training, right_to_left_activations);
  } else {
    masked_lm_network().plan(a, tokens, training, generator_activations);
  }
  token_head->plan(a, lm_row_capacity(), training, token_activations);
}

void PretrainingModel::Implementation::prepare_mode(int32_t rows, bool training) {
  reserve(rows, training);
  if (planned_training != training) plan_activations(training);
}

}  // namespace electra
