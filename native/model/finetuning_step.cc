// One fine-tuning step: the encoder over all rows, each head over its own, and back.

#include "finetuning_implementation.h"
#include "step_bracket.h"

namespace electra {

bool FinetuningModel::Implementation::takes_part(int number, const PackedFinetuning& packed,
                                                 bool training) const {
  const bool has_rows = packed.task_rows[static_cast<size_t>(number)] > 0;
  return has_rows || (training && !task_heads[static_cast<size_t>(number)]->reads_tokens());
}

uint64_t FinetuningModel::Implementation::step_key(const Rows& rows, const PackedFinetuning& packed,
                                                   const FinetuningStepOptions& options, bool training,
                                                   const OptimizerOptions* update) const {
  Fingerprint key;
  key.add(room.arena().base()).add(room.planned_rows()).add(training).add(options.accumulate);
  key.add(rows.batch).add(rows.tokens.capacity);
  key.add(item_extent(packed.words, device.token_capacity, device).capacity);
  for (size_t n = 0; n < task_heads.size(); ++n) key.add(takes_part(static_cast<int>(n), packed, training));
  key.add(update != nullptr);
  if (update != nullptr)
    key.add(update->max_gradient_norm).add(update->beta1).add(update->beta2).add(update->epsilon);
  return key.value();
}

HeadStep FinetuningModel::Implementation::head_step(const StepContext& c, const PackedFinetuning& packed,
                                                    int number) const {
  return HeadStep{c, packed, device, number, activations.sequence_output(), activations.d_hidden};
}

void FinetuningModel::Implementation::compute(const StepContext& c, const PackedFinetuning& packed,
                                              bool accumulate) {
  operators.zero(device.task_loss, task_heads.size() * sizeof(double));
  if (c.training && !accumulate) parameters->zero_gradients();
  encoder->forward(c, device.ids, Network::kDiscriminator, activations);
  if (c.training) {
    const Tensor& d = activations.d_hidden;
    const size_t element = d.dtype == DType::kFloat32 ? sizeof(float) : sizeof(uint16_t);
    operators.zero(d.data, static_cast<size_t>(c.rows.tokens.capacity * d.stride) * element);
  }
  for (size_t n = 0; n < task_heads.size(); ++n) {
    if (!takes_part(static_cast<int>(n), packed, c.training)) continue;
    c.check_abort();
    task_heads[n]->run(head_step(c, packed, static_cast<int>(n)), *heads[n]);
  }
  if (c.training) encoder->backward(c, Network::kDiscriminator, activations);
}

void FinetuningModel::Implementation::collect(const StepContext& c, const PackedFinetuning& packed) {
  if (c.outputs == nullptr) return;
  std::vector<float> row_loss(static_cast<size_t>(packed.rows), 0.0f);
  for (size_t n = 0; n < task_heads.size(); ++n)
    task_heads[n]->collect(head_step(c, packed, static_cast<int>(n)), *heads[n],
                           c.wants("loss") ? &row_loss : nullptr);
  if (!c.wants("loss")) return;
  HostArray array;
  array.shape = {packed.rows};
  array.f32 = std::move(row_loss);
  c.outputs->arrays["loss"] = std::move(array);
}

void FinetuningModel::Implementation::check_outputs(const Outputs* outputs) const {
  if (outputs == nullptr) return;
  for (const std::string& name : outputs->wanted)
    if (output_names.count(name) == 0)
      throw EngineError("ERR_ELECTRA_ARGUMENT", "this model has no output \"%s\"\n%s", name.c_str(),
                        "Outputs are called <task>/<what>, such as logits; FinetuningStepResult lists them.");
}

FinetuningResult FinetuningModel::Implementation::run(const FinetuningBatch& batch,
                                                      const FinetuningStepOptions& options, Outputs* outputs,
                                                      bool training, const OptimizerOptions* update,
                                                      OptimizerResult* updated) {
  check_outputs(outputs);
  const PackedFinetuning packed = pack_finetuning(batch, config, training);
  room.prepare(batch.rows, training);
  StepScalars scalars;
  scalars.seed = options.seed;
  scalars.step = options.step;
  scalars.task_scale = 1;
  if (update != nullptr) scalars.learning_rate = update->learning_rate;
  operators.upload(device.scalars, &scalars, sizeof(scalars));
  StepContext c(operators, *parameters);
  c.rows = upload_finetuning(operators, packed, device, config.keep_padding);
  c.segments = device.segments;
  c.scalars = device.scalars;
  c.training = training;
  c.abort = options.abort;
  c.outputs = outputs;
  c.host_offsets = packed.offsets.data();
  c.length = packed.length;

  // Inspection moves data to the host in the middle of a step.
  StepBracket bracket(operators, outputs == nullptr, step_key(c.rows, packed, options, training, update));
  if (!bracket.replayed()) {
    compute(c, packed, options.accumulate);
    if (update != nullptr) optimizer->enqueue(*update, device.scalars);
  }
  bracket.end();

  FinetuningResult result;
  result.task_losses.resize(task_heads.size());
  operators.download(result.task_losses.data(), device.task_loss, task_heads.size() * sizeof(double));
  if (update != nullptr)
    *updated = optimizer->fetch(device.scalars);
  else
    operators.synchronize();
  collect(c, packed);
  for (const double loss : result.task_losses) result.loss += loss;
  result.task_rows = packed.task_rows;
  result.tokens = packed.real_tokens;
  return result;
}

}  // namespace electra
