#include "finetuning_model.h"

#include <algorithm>

#include "finetuning_implementation.h"

namespace electra {
namespace {

void check_task(const TaskConfig& task, int32_t max_seq_length) {
  const char* name = task.name.c_str();
  if (task.name.empty() || task.name.find_first_of("/\n") != std::string::npos)
    throw EngineError("ERR_ELECTRA_CONFIG",
                      "the task name \"%s\" is empty or has a slash or a line end in it", name);
  if (task.classes < 1)
    throw EngineError("ERR_ELECTRA_CONFIG", "the task %s has %d classes; it needs at least one", name,
                      task.classes);
  if (task.kind == TaskHeadKind::kSpan && (task.beam_size < 1 || task.beam_size > max_seq_length))
    throw EngineError("ERR_ELECTRA_CONFIG", "the task %s has beam_size %d, outside 1 … max_seq_length %d\n%s",
                      name, task.beam_size, max_seq_length, "Lower beam_size or raise max_seq_length.");
}

FinetuningConfig checked(const FinetuningConfig& config) {
  if (config.max_seq_length < 1 || config.max_seq_length > config.encoder.max_position_embeddings)
    throw EngineError("ERR_ELECTRA_CONFIG", "max_seq_length %d is outside 1 … max_position_embeddings %d\n%s",
                      config.max_seq_length, config.encoder.max_position_embeddings,
                      "Cut the rows: the encoder has no embeddings for later positions.");
  if (config.tasks.empty())
    throw EngineError("ERR_ELECTRA_CONFIG", "a fine-tuning model needs at least one task");
  if (config.tasks.size() >= kSitesPerNetwork)
    throw EngineError("ERR_ELECTRA_CONFIG", "%zu tasks are more than a model can have", config.tasks.size());
  std::set<std::string> names;
  for (const TaskConfig& task : config.tasks) {
    check_task(task, config.max_seq_length);
    if (!names.insert(task.name).second)
      throw EngineError("ERR_ELECTRA_CONFIG", "two tasks are called %s", task.name.c_str());
  }
  return config;
}

}  // namespace

FinetuningModel::FinetuningModel(Operators& operators, const FinetuningConfig& config, uint64_t seed,
                                 int32_t reserve_rows)
    : implementation_(std::make_unique<Implementation>(operators, config, seed, reserve_rows)) {}
FinetuningModel::~FinetuningModel() = default;

const FinetuningConfig& FinetuningModel::config() const { return implementation_->config; }
Parameters& FinetuningModel::parameters() { return *implementation_->parameters; }

ModelMemory FinetuningModel::memory() const {
  ModelMemory memory;
  memory.parameters = implementation_->parameters->bytes();
  memory.activations = implementation_->room.arena().bytes();
  memory.workspace = implementation_->operators.workspace_bytes();
  return memory;
}

FinetuningResult FinetuningModel::forward_backward(const FinetuningBatch& batch,
                                                   const FinetuningStepOptions& options, Outputs* outputs) {
  return implementation_->run(batch, options, outputs, true);
}

FinetuningResult FinetuningModel::train_step(const FinetuningBatch& batch,
                                             const FinetuningStepOptions& options,
                                             const OptimizerOptions& update, OptimizerResult* updated,
                                             Outputs* outputs) {
  return implementation_->run(batch, options, outputs, true, &update, updated);
}

FinetuningResult FinetuningModel::predict(const FinetuningBatch& batch, const std::atomic<bool>* abort,
                                          Outputs* outputs) {
  FinetuningStepOptions options;
  options.abort = abort;
  return implementation_->run(batch, options, outputs, false);
}

OptimizerResult FinetuningModel::optimizer_step(const OptimizerOptions& options) {
  Implementation& self = *implementation_;
  self.room.prepare(1, true);
  StepScalars scalars;
  scalars.learning_rate = options.learning_rate;
  self.operators.upload(self.device.scalars, &scalars, sizeof(scalars));
  self.optimizer->enqueue(options, self.device.scalars);
  return self.optimizer->fetch(self.device.scalars);
}

FinetuningModel::Implementation::Implementation(Operators& ops, const FinetuningConfig& configuration,
                                                uint64_t seed, int32_t reserve_rows)
    : operators(ops), config(checked(configuration)), room(ops, *this, config.max_seq_length) {
  ParameterTable table;
  encoder = std::make_unique<Transformer>(table, "electra", "electra", config.encoder, AttentionMask::kFull);
  output_names = {"loss", "hidden/electra/embedding_output", "hidden/electra/sequence_output"};
  for (int32_t n = 0; n < config.encoder.num_hidden_layers; ++n)
    output_names.insert("hidden/electra/layer_" + std::to_string(n));
  for (const TaskConfig& task : config.tasks) {
    task_heads.push_back(make_task_head(table, task, config.encoder.hidden_size, config.head_dropout_prob));
    for (const std::string& name : task_heads.back()->output_names()) output_names.insert(name);
  }
  parameter_count = table.size();
  segment_count = static_cast<int32_t>(table.segments(config.weight_decay_rate).size());
  room.require_memory(Parameters::bytes_for(operators, parameter_count), reserve_rows, true);
  parameters = std::make_unique<Parameters>(operators, std::move(table), config.weight_decay_rate);
  parameters->initialize(seed);
  parameters->refresh_weights();
  optimizer = std::make_unique<Optimizer>(operators, *parameters);
  if (reserve_rows > 0) room.prepare(reserve_rows, true);
}

Capacity FinetuningModel::Implementation::capacity_for(int32_t rows) const {
  Capacity capacity;
  capacity.tokens = int64_t{rows} * config.max_seq_length;
  capacity.batch = rows;
  capacity.pitch = config.max_seq_length;
  capacity.vocabulary = config.encoder.vocab_size;
  capacity.max_heads = config.encoder.num_attention_heads;
  for (const int32_t width :
       {3 * config.encoder.hidden_size, config.encoder.intermediate_size, config.encoder.embedding_size})
    capacity.max_width = std::max(capacity.max_width, width);
  for (const std::unique_ptr<TaskHead>& head : task_heads)
    capacity.max_width = std::max(capacity.max_width, head->max_width());
  capacity.max_segments = segment_count;
  capacity.parameters = parameter_count;
  return capacity;
}

void FinetuningModel::Implementation::lay_out(Arena& arena, int32_t rows, bool training,
                                              FinetuningPlaces& places) const {
  places.device.plan(arena, config, rows);
  encoder->plan(arena, places.device.token_capacity, training, places.activations);
  places.heads.clear();
  for (const std::unique_ptr<TaskHead>& head : task_heads)
    places.heads.push_back(head->plan(arena, rows, config.max_seq_length, training));
}

size_t FinetuningModel::Implementation::plan_bytes(int32_t rows, bool training) const {
  Arena probe(operators);
  FinetuningPlaces places;
  return probe.measure([&](Arena& arena) { lay_out(arena, rows, training, places); });
}

}  // namespace electra
