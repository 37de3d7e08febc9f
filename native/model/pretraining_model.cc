#include "pretraining_model.h"

#include <cmath>
#include <cstring>

#include "batch.h"
#include "heads.h"
#include "transformer.h"

namespace electra {

namespace {

/// The reference adds this to the denominators of both losses.
constexpr double kDenominatorEpsilon = 1e-6;

PretrainingConfig checked(const PretrainingConfig& config) {
  const bool replaces = config.objective != Objective::kMaskedLanguageModel;
  if (!replaces && config.generator_kind != GeneratorKind::kTied)
    throw EngineError("ERR_ELECTRA_CONFIG", "the masked-LM objective trains one full-size encoder: generator_kind must be "
                                            "\"tied\"");
  if (config.objective == Objective::kElectric && config.generator_kind != GeneratorKind::kTwoTower)
    throw EngineError("ERR_ELECTRA_CONFIG", "Electric needs the probabilities of a two-tower generator");
  if (config.max_seq_length > config.discriminator.max_position_embeddings)
    throw EngineError("ERR_ELECTRA_CONFIG", "max_seq_length %d exceeds max_position_embeddings %d", config.max_seq_length,
                      config.discriminator.max_position_embeddings);
  if (config.max_predictions_per_seq < 1)
    throw EngineError("ERR_ELECTRA_CONFIG", "max_predictions_per_seq is %d: mask_prob x max_seq_length leaves no slot",
                      config.max_predictions_per_seq);
  return config;
}

}  // namespace

struct PretrainingModel::Implementation {
  Implementation(Operators& ops, const PretrainingConfig& configuration, uint64_t seed)
      : operators(ops), config(checked(configuration)), arena(ops) {
    ParameterTable table;
    build_networks(table);
    parameters = std::make_unique<Parameters>(operators, std::move(table), config.weight_decay_rate);
    parameters->initialize(seed);
    if (generator) generator->bind(*parameters);
    if (right_to_left) right_to_left->bind(*parameters);
    if (discriminator) discriminator->bind(*parameters);
    if (token_head) token_head->bind(*parameters);
    if (binary_head) binary_head->bind(*parameters);
    parameters->refresh_weights();
    partial_count = (parameters->table().size() + 4095) / 4096;
    partials = static_cast<double*>(
        operators.allocate(static_cast<size_t>(partial_count) * sizeof(double), "partial sums of the gradient norm"));
  }
  ~Implementation() { operators.release(partials); }

  bool replaces_tokens() const { return config.objective != Objective::kMaskedLanguageModel; }
  bool two_towers() const { return config.generator_kind == GeneratorKind::kTwoTower; }
  bool uniform() const { return config.generator_kind == GeneratorKind::kUniform; }
  bool tied() const { return config.generator_kind == GeneratorKind::kTied; }

  // Variables are registered in the order in which the reference creates them: generator first.
  void build_networks(ParameterTable& table) {
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
      discriminator =
          std::make_unique<Transformer>(table, "electra", "electra", config.discriminator, AttentionMask::kFull);
      token_head = std::make_unique<TokenPredictionHead>(table, "generator_predictions", config.discriminator.hidden_size,
                                                         discriminator->word_embeddings(),
                                                         config.discriminator.embedding_size,
                                                         config.discriminator.vocab_size, config.discriminator);
    } else if (!uniform()) {
      generator = std::make_unique<Transformer>(table, "generator", embedding_scope("generator"), generator_config,
                                                AttentionMask::kFull);
      token_head = std::make_unique<TokenPredictionHead>(
          table, "generator_predictions", generator_config.hidden_size, generator->word_embeddings(),
          generator_config.embedding_size, generator_config.vocab_size, generator_config);
    }
    if (replaces_tokens()) {
      if (!discriminator)
        discriminator =
            std::make_unique<Transformer>(table, "electra", "electra", config.discriminator, AttentionMask::kFull);
      binary_head = std::make_unique<DiscriminatorHead>(table, config.discriminator);
    }
  }

  const Transformer& masked_lm_network() const { return tied() ? *discriminator : *generator; }

  void reserve(int32_t rows, int32_t length, bool training) {
    // Row mode keep and every random coordinate count in full rows, so the pitch is the model's, not the batch's.
    (void)length;
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

  int64_t lm_row_capacity() const {
    const int64_t rows = reserved_rows;
    return two_towers() ? rows * config.max_seq_length : rows * config.max_predictions_per_seq;
  }

  // The generator has done all its work, backward included, before the discriminator starts: their activations share
  // memory. Training and inference plans differ, so the plan is laid again when the mode changes; it never grows then.
  void plan_activations(bool training) {
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
  void plan_generator(Arena& a, int64_t tokens, bool training) {
    if (uniform()) return;
    if (two_towers()) {
      generator->plan(a, tokens, training, generator_activations);
      right_to_left->plan(a, tokens, training, right_to_left_activations);
    } else {
      masked_lm_network().plan(a, tokens, training, generator_activations);
    }
    token_head->plan(a, lm_row_capacity(), training, token_activations);
  }

  void prepare_mode(int32_t rows, bool training) {
    reserve(rows, config.max_seq_length, training);
    if (planned_training != training) plan_activations(training);
  }

  StepResult run(const HostBatch& batch, const StepOptions& options, Outputs* outputs, bool training);
  void run_forward(const HostBatch& batch, const ForwardOptions& options, Outputs* outputs);

  StepContext context_for(const Rows& rows, const PackedBatch& packed, const std::atomic<bool>* abort, Outputs* outputs,
                          bool training) {
    StepContext context(operators, *parameters);
    context.rows = rows;
    context.segments = device.segments;
    context.scalars = device.scalars;
    context.training = training;
    context.abort = abort;
    context.outputs = outputs;
    context.host_offsets = packed.offsets.data();
    return context;
  }

  // Arrays that a caller injects exist only for the length of a step: a way for tests, not for training.
  struct Injected {
    explicit Injected(Operators& ops) : operators(ops) {}
    ~Injected() {
      for (void* memory : owned) operators.release(memory);
    }
    template <typename T>
    const T* put(const T* host, int64_t count) {
      if (host == nullptr) return nullptr;
      void* memory = operators.allocate(static_cast<size_t>(count) * sizeof(T), "injected draws");
      owned.push_back(memory);
      operators.upload(memory, host, static_cast<size_t>(count) * sizeof(T));
      return static_cast<const T*>(memory);
    }
    Operators& operators;
    std::vector<void*> owned;
  };

  void corrupt(const StepContext& context, const PackedBatch& packed, const Draws& draws, Injected& injected);
  void take_sampled(const PackedBatch& packed, const Draws& draws);
  void set_draws(const PackedBatch& packed, const Draws& draws, Injected& injected, LanguageModelHead& head);
  void generate(const StepContext& context, const PackedBatch& packed, const Draws& draws, Injected& injected,
                bool sample);
  void generate_two_towers(const StepContext& context, const PackedBatch& packed, const Draws& draws,
                           Injected& injected);
  void generate_uniform(const PackedBatch& packed, const Draws& draws, Injected& injected);
  void replace(const StepContext& context, const PackedBatch& packed);
  void discriminate(const StepContext& context, const PackedBatch& packed);
  void collect_language_model(const StepContext& context, const PackedBatch& packed, const LanguageModelHead& head,
                              bool rows_are_tokens);
  void collect_discriminator(const StepContext& context, const PackedBatch& packed);
  HostArray slots_to_host(const PackedBatch& packed, const float* values) const;
  HostArray slots_to_host(const PackedBatch& packed, const int32_t* values) const;

  Operators& operators;
  PretrainingConfig config;
  std::unique_ptr<Parameters> parameters;
  std::unique_ptr<Transformer> generator;      ///< or the left-to-right tower
  std::unique_ptr<Transformer> right_to_left;
  std::unique_ptr<Transformer> discriminator;  ///< also the masked LM's encoder
  std::unique_ptr<TokenPredictionHead> token_head;
  std::unique_ptr<DiscriminatorHead> binary_head;

  Arena arena;
  DeviceBatch device;
  TransformerActivations generator_activations, right_to_left_activations, discriminator_activations;
  TokenPredictionHead::Activations token_activations;
  DiscriminatorHead::Activations binary_activations;
  double* partials = nullptr;
  int64_t partial_count = 0;
  int32_t reserved_rows = 0;
  bool reserved_training = false;
  bool planned_training = false;
};

// ---------------------------------------------------------------------------------------------------------------------

HostArray PretrainingModel::Implementation::slots_to_host(const PackedBatch& packed, const float* values) const {
  std::vector<float> flat(static_cast<size_t>(packed.slots));
  operators.download(flat.data(), values, flat.size() * sizeof(float));
  const int32_t n = config.max_predictions_per_seq;
  HostArray array;
  array.shape = {packed.rows, n};
  array.f32.assign(static_cast<size_t>(packed.rows) * static_cast<size_t>(n), 0.0f);
  for (int32_t b = 0; b < packed.rows; ++b)
    for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s)
      array.f32[static_cast<size_t>(b) * n + (s - packed.slot_offsets[b])] = flat[s];
  return array;
}

HostArray PretrainingModel::Implementation::slots_to_host(const PackedBatch& packed, const int32_t* values) const {
  std::vector<int32_t> flat(static_cast<size_t>(packed.slots));
  operators.download(flat.data(), values, flat.size() * sizeof(int32_t));
  const int32_t n = config.max_predictions_per_seq;
  HostArray array;
  array.shape = {packed.rows, n};
  array.i32.assign(static_cast<size_t>(packed.rows) * static_cast<size_t>(n), 0);
  for (int32_t b = 0; b < packed.rows; ++b)
    for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s)
      array.i32[static_cast<size_t>(b) * n + (s - packed.slot_offsets[b])] = flat[s];
  return array;
}

void PretrainingModel::Implementation::corrupt(const StepContext& c, const PackedBatch& packed, const Draws& draws,
                                               Injected& injected) {
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
  if (c.wants("masked/targets")) c.outputs->arrays["masked/targets"] = slots_to_host(packed, device.slot_target);
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
        throw EngineError("ERR_ELECTRA_TOKEN_ID", "injected sampled id %d (row %d, slot %d) is outside the vocabulary", id,
                          b, s);
      sampled.push_back(id);
    }
  if (!sampled.empty()) operators.upload(device.sampled, sampled.data(), sampled.size() * sizeof(int32_t));
}

void PretrainingModel::Implementation::set_draws(const PackedBatch& packed, const Draws& draws, Injected& injected,
                                                 LanguageModelHead& head) {
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
  head.given_uniform = injected.put(draws.gumbel_uniform, int64_t{packed.rows} * config.max_predictions_per_seq *
                                                              config.discriminator.vocab_size);
}

void PretrainingModel::Implementation::generate(const StepContext& c, const PackedBatch& packed, const Draws& draws,
                                                Injected& injected, bool sample) {
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
  sample.given_uniform = injected.put(draws.gumbel_uniform, int64_t{packed.rows} * config.max_predictions_per_seq *
                                                                config.discriminator.vocab_size);
  sample.sampled = device.sampled;
  operators.sample_uniform(sample);
}

// Runs the language-model operator, with room for its logits only when somebody asks for them.
void PretrainingModel::Implementation::collect_language_model(const StepContext& c, const PackedBatch& packed,
                                                              const LanguageModelHead& given, bool rows_are_tokens) {
  LanguageModelHead head = given;
  const bool slot_logits = c.wants("mlm/logits"), cloze_logits = rows_are_tokens && c.wants("cloze/logits");
  const int64_t vocabulary = config.discriminator.vocab_size;
  const int64_t rows = rows_are_tokens ? packed.tokens : packed.slots;
  float* logits = nullptr;
  if (slot_logits || cloze_logits)
    head.logits = logits = static_cast<float*>(operators.allocate(
        static_cast<size_t>(head.rows.capacity * vocabulary) * sizeof(float), "logits for inspection"));
  operators.language_model_head(head);

  std::vector<int32_t> slot_row;
  std::vector<float> nll;
  std::vector<int32_t> predictions;
  const bool slot_values = slot_logits || c.wants("mlm/loss") || c.wants("mlm/predictions");
  if (slot_values) {
    slot_row.resize(static_cast<size_t>(packed.slots));
    if (rows_are_tokens)
      operators.download(slot_row.data(), device.slot_token, slot_row.size() * sizeof(int32_t));
    else
      for (size_t s = 0; s < slot_row.size(); ++s) slot_row[s] = static_cast<int32_t>(s);
    nll.resize(static_cast<size_t>(rows));
    predictions.resize(static_cast<size_t>(rows));
    operators.download(nll.data(), device.nll, nll.size() * sizeof(float));
    operators.download(predictions.data(), device.predictions, predictions.size() * sizeof(int32_t));
  }
  std::vector<float> all_logits;
  if (logits != nullptr) {
    all_logits.resize(static_cast<size_t>(rows * vocabulary));
    operators.download(all_logits.data(), logits, all_logits.size() * sizeof(float));
    operators.release(logits);
  }
  if (slot_values) {
    const int64_t n = config.max_predictions_per_seq;
    HostArray loss, best, z;
    loss.shape = best.shape = {packed.rows, n};
    z.shape = {packed.rows, n, vocabulary};
    loss.f32.assign(static_cast<size_t>(packed.rows * n), 0.0f);
    best.i32.assign(static_cast<size_t>(packed.rows * n), 0);
    if (slot_logits) z.f32.assign(static_cast<size_t>(packed.rows * n * vocabulary), 0.0f);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s) {
        const size_t to = static_cast<size_t>(b * n + s - packed.slot_offsets[b]);
        const size_t from = static_cast<size_t>(slot_row[static_cast<size_t>(s)]);
        loss.f32[to] = nll[from];
        best.i32[to] = predictions[from];
        if (slot_logits)
          std::memcpy(&z.f32[to * vocabulary], &all_logits[from * vocabulary], static_cast<size_t>(vocabulary) * 4);
      }
    if (c.wants("mlm/loss")) c.outputs->arrays["mlm/loss"] = std::move(loss);
    if (c.wants("mlm/predictions")) c.outputs->arrays["mlm/predictions"] = std::move(best);
    if (slot_logits) c.outputs->arrays["mlm/logits"] = std::move(z);
  }
  if (cloze_logits) {
    HostArray z;
    z.shape = {packed.rows, packed.pitch, vocabulary};
    z.f32.assign(static_cast<size_t>(int64_t{packed.rows} * packed.pitch * vocabulary), 0.0f);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t t = packed.offsets[b]; t < packed.offsets[b + 1]; ++t)
        std::memcpy(&z.f32[static_cast<size_t>((int64_t{b} * packed.pitch + t - packed.offsets[b]) * vocabulary)],
                    &all_logits[static_cast<size_t>(t * vocabulary)], static_cast<size_t>(vocabulary) * 4);
    c.outputs->arrays["cloze/logits"] = std::move(z);
  }
  if (rows_are_tokens && c.wants("cloze/loss"))
    c.collect_tokens("cloze/loss", Tensor{device.nll, packed.tokens, 1, 1, DType::kFloat32});
  if (rows_are_tokens && c.wants("cloze/weights"))
    c.collect_tokens("cloze/weights", Tensor{device.cloze_weights, packed.tokens, 1, 1, DType::kFloat32});
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
  if (c.wants("fake/sampled_ids")) c.outputs->arrays["fake/sampled_ids"] = slots_to_host(packed, device.sampled);
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

void PretrainingModel::Implementation::collect_discriminator(const StepContext& c, const PackedBatch& packed) {
  if (c.outputs == nullptr) return;
  const Tensor logits{device.final_logits, packed.tokens, 1, 1, DType::kFloat32};
  const bool derived = c.wants("disc/probabilities") || c.wants("disc/predictions");
  if (c.wants("disc/logits") || derived) c.collect_tokens("disc/logits", logits);
  if (derived) {
    const HostArray& z = c.outputs->arrays["disc/logits"];
    HostArray probabilities, predictions;
    probabilities.shape = predictions.shape = z.shape;
    probabilities.f32.assign(z.f32.size(), 0.0f);
    predictions.i32.assign(z.f32.size(), 0);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t i = 0; i < packed.offsets[b + 1] - packed.offsets[b]; ++i) {
        const size_t at = static_cast<size_t>(int64_t{b} * packed.pitch + i);
        probabilities.f32[at] = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(z.f32[at]))));
        predictions.i32[at] = z.f32[at] > 0;
      }
    if (c.wants("disc/probabilities")) c.outputs->arrays["disc/probabilities"] = std::move(probabilities);
    if (c.wants("disc/predictions")) c.outputs->arrays["disc/predictions"] = std::move(predictions);
  }
  if (c.wants("disc/token_loss") || c.wants("disc/loss")) {
    c.collect_tokens("disc/token_loss", Tensor{device.token_loss, packed.tokens, 1, 1, DType::kFloat32});
    const HostArray& loss = c.outputs->arrays["disc/token_loss"];
    HostArray per_row;
    per_row.shape = {packed.rows};
    for (int32_t b = 0; b < packed.rows; ++b) {
      double sum = 0;
      for (int32_t i = 0; i < packed.valid[b]; ++i) sum += loss.f32[static_cast<size_t>(int64_t{b} * packed.pitch + i)];
      per_row.f32.push_back(static_cast<float>(sum / (kDenominatorEpsilon + packed.valid[b])));
    }
    c.outputs->arrays["disc/loss"] = std::move(per_row);
  }
  if (c.wants("disc/weights")) {
    HostArray weights;
    weights.shape = {packed.rows, packed.pitch};
    weights.f32.assign(static_cast<size_t>(int64_t{packed.rows} * packed.pitch), 0.0f);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t i = 0; i < packed.valid[b]; ++i) weights.f32[static_cast<size_t>(int64_t{b} * packed.pitch + i)] = 1;
    c.outputs->arrays["disc/weights"] = std::move(weights);
  }
}

StepResult PretrainingModel::Implementation::run(const HostBatch& batch, const StepOptions& options, Outputs* outputs,
                                                 bool training) {
  const PackedBatch packed = pack_batch(batch, config, true);
  prepare_mode(batch.rows, training);
  if (training && !options.accumulate) parameters->zero_gradients();

  const double generator_weight = two_towers() ? static_cast<double>(packed.candidates) : static_cast<double>(packed.slots);
  const double generator_denominator =
      options.generator_denominator > 0 ? options.generator_denominator : generator_weight + kDenominatorEpsilon;
  const double discriminator_denominator = options.discriminator_denominator > 0
                                               ? options.discriminator_denominator
                                               : static_cast<double>(packed.real_tokens) + kDenominatorEpsilon;
  StepScalars scalars;
  scalars.seed = options.seed;
  scalars.step = options.step;
  scalars.generator_scale = static_cast<float>(config.gen_weight / generator_denominator);
  scalars.discriminator_scale = static_cast<float>(config.disc_weight / discriminator_denominator);
  operators.upload(device.scalars, &scalars, sizeof(scalars));
  operators.zero(device.generator_sums, sizeof(LanguageModelSums));
  operators.zero(device.discriminator_sums, sizeof(BinarySums));

  const Rows rows = upload_batch(operators, packed, device, config.keep_padding, two_towers());
  const StepContext c = context_for(rows, packed, options.abort, outputs, training);
  Injected injected(operators);
  // Sampling is wasted on a masked LM, unless somebody wants to see the samples, as the reference shows them.
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

  StepResult result;
  operators.download(&result.generator, device.generator_sums, sizeof(LanguageModelSums));
  operators.download(&result.discriminator, device.discriminator_sums, sizeof(BinarySums));
  operators.synchronize();
  if (uniform()) {
    // Logits are all zero: every slot costs ln V, a constant without gradient.
    result.generator.weight = result.generator.slots = static_cast<double>(packed.slots);
    result.generator.loss = result.generator.weight * std::log(static_cast<double>(config.discriminator.vocab_size));
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

void PretrainingModel::Implementation::run_forward(const HostBatch& batch, const ForwardOptions& options,
                                                   Outputs* outputs) {
  if (options.generator ? (!token_head) : (!binary_head))
    throw EngineError("ERR_ELECTRA_CONFIG", "this model has no %s",
                      options.generator ? "generator" : "replaced-token discriminator");
  PackedBatch packed = pack_batch(batch, config, false);
  prepare_mode(batch.rows, false);
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
    throw EngineError("ERR_ELECTRA_BATCH", "%d positions a row are more than max_predictions_per_seq %d", wanted,
                      config.max_predictions_per_seq);
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
  const int32_t slots_now = static_cast<int32_t>(packed.slots);
  operators.upload(device.actual + 1, &slots_now, sizeof(int32_t));
  if (!slot_token.empty()) operators.upload(device.slot_token, slot_token.data(), slot_token.size() * sizeof(int32_t));

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

// ---------------------------------------------------------------------------------------------------------------------

PretrainingModel::PretrainingModel(Operators& operators, const PretrainingConfig& config, uint64_t seed)
    : implementation_(std::make_unique<Implementation>(operators, config, seed)) {}
PretrainingModel::~PretrainingModel() = default;

const PretrainingConfig& PretrainingModel::config() const { return implementation_->config; }
Parameters& PretrainingModel::parameters() { return *implementation_->parameters; }

ModelMemory PretrainingModel::memory() const {
  ModelMemory memory;
  memory.parameters = implementation_->parameters->bytes();
  memory.activations = implementation_->arena.bytes();
  memory.workspace = implementation_->operators.workspace_bytes();
  return memory;
}

void PretrainingModel::reserve(int32_t rows, int32_t length, bool training) {
  implementation_->reserve(rows, length, training);
}

StepResult PretrainingModel::forward_backward(const HostBatch& batch, const StepOptions& options, Outputs* outputs) {
  return implementation_->run(batch, options, outputs, true);
}

StepResult PretrainingModel::evaluate(const HostBatch& batch, const StepOptions& options, Outputs* outputs) {
  return implementation_->run(batch, options, outputs, false);
}

void PretrainingModel::forward(const HostBatch& batch, const ForwardOptions& options, Outputs* outputs) {
  implementation_->run_forward(batch, options, outputs);
}

OptimizerResult PretrainingModel::optimizer_step(const OptimizerOptions& options) {
  Implementation& self = *implementation_;
  self.prepare_mode(std::max(1, self.reserved_rows), true);
  Parameters& parameters = *self.parameters;
  StepScalars* scalars = self.device.scalars;
  StepScalars host;
  host.learning_rate = options.learning_rate;
  self.operators.upload(scalars, &host, sizeof(host));

  GradientNorm norm;
  norm.gradient = parameters.buffer(ParameterKind::kGradient);
  norm.segments = parameters.device_segments();
  norm.segment_count = parameters.segment_count();
  norm.size = parameters.table().size();
  norm.partials = self.partials;
  norm.scalars = scalars;
  self.operators.gradient_norm(norm);
  ClipFactor clip;
  clip.partials = self.partials;
  clip.count = self.partial_count;
  clip.max_norm = options.max_gradient_norm;
  clip.scalars = scalars;
  self.operators.clip_factor(clip);
  AdamUpdate adam;
  adam.parameters = parameters.buffer(ParameterKind::kValue);
  adam.gradient = parameters.buffer(ParameterKind::kGradient);
  adam.m = parameters.buffer(ParameterKind::kAdamM);
  adam.v = parameters.buffer(ParameterKind::kAdamV);
  adam.segments = parameters.device_segments();
  adam.segment_count = parameters.segment_count();
  adam.beta1 = options.beta1;
  adam.beta2 = options.beta2;
  adam.epsilon = options.epsilon;
  adam.scalars = scalars;
  self.operators.adam_update(adam);
  parameters.refresh_weights();

  self.operators.download(&host, scalars, sizeof(host));
  self.operators.synchronize();
  OptimizerResult result;
  result.gradient_norm = host.gradient_norm;
  result.finite = host.finite != 0;
  if (!result.finite && host.nonfinite_segment >= 0)
    result.nonfinite_parameter =
        parameters.table().name_at(parameters.host_segments()[static_cast<size_t>(host.nonfinite_segment)].offset);
  return result;
}

}  // namespace electra
