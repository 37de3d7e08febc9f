// Named results on the host, in the padded shapes that outputs.h promises. Inspection: it downloads and may
// allocate.

#include <cmath>
#include <cstring>

#include "pretraining_implementation.h"

namespace electra {

HostArray PretrainingModel::Implementation::slots_to_host(const PackedBatch& packed,
                                                          const float* values) const {
  std::vector<float> flat(static_cast<size_t>(packed.slots));
  operators.download(flat.data(), values, flat.size() * sizeof(float));
  const int32_t n = packed.slots_per_row;
  HostArray array;
  array.shape = {packed.rows, n};
  array.f32.assign(static_cast<size_t>(packed.rows) * static_cast<size_t>(n), 0.0f);
  for (int32_t b = 0; b < packed.rows; ++b)
    for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s)
      array.f32[static_cast<size_t>(b) * n + (s - packed.slot_offsets[b])] = flat[s];
  return array;
}

HostArray PretrainingModel::Implementation::slots_to_host(const PackedBatch& packed,
                                                          const int32_t* values) const {
  std::vector<int32_t> flat(static_cast<size_t>(packed.slots));
  operators.download(flat.data(), values, flat.size() * sizeof(int32_t));
  const int32_t n = packed.slots_per_row;
  HostArray array;
  array.shape = {packed.rows, n};
  array.i32.assign(static_cast<size_t>(packed.rows) * static_cast<size_t>(n), 0);
  for (int32_t b = 0; b < packed.rows; ++b)
    for (int32_t s = packed.slot_offsets[b]; s < packed.slot_offsets[b + 1]; ++s)
      array.i32[static_cast<size_t>(b) * n + (s - packed.slot_offsets[b])] = flat[s];
  return array;
}

// Runs the language-model operator, with room for its logits only when somebody asks for them.
void PretrainingModel::Implementation::collect_language_model(const StepContext& c, const PackedBatch& packed,
                                                              const LanguageModelHead& given,
                                                              bool rows_are_tokens) {
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
    const int64_t n = packed.slots_per_row;
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
          std::memcpy(&z.f32[to * vocabulary], &all_logits[from * vocabulary],
                      static_cast<size_t>(vocabulary) * 4);
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
        std::memcpy(
            &z.f32[static_cast<size_t>((int64_t{b} * packed.pitch + t - packed.offsets[b]) * vocabulary)],
            &all_logits[static_cast<size_t>(t * vocabulary)], static_cast<size_t>(vocabulary) * 4);
    c.outputs->arrays["cloze/logits"] = std::move(z);
  }
  if (rows_are_tokens && c.wants("cloze/loss"))
    c.collect_tokens("cloze/loss", Tensor{device.nll, packed.tokens, 1, 1, DType::kFloat32});
  if (rows_are_tokens && c.wants("cloze/weights"))
    c.collect_tokens("cloze/weights", Tensor{device.cloze_weights, packed.tokens, 1, 1, DType::kFloat32});
}

void PretrainingModel::Implementation::collect_discriminator(const StepContext& c,
                                                             const PackedBatch& packed) {
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
      for (int32_t i = 0; i < packed.valid[b]; ++i)
        sum += loss.f32[static_cast<size_t>(int64_t{b} * packed.pitch + i)];
      per_row.f32.push_back(static_cast<float>(sum / (kDenominatorEpsilon + packed.valid[b])));
    }
    c.outputs->arrays["disc/loss"] = std::move(per_row);
  }
  if (c.wants("disc/weights")) {
    HostArray weights;
    weights.shape = {packed.rows, packed.pitch};
    weights.f32.assign(static_cast<size_t>(int64_t{packed.rows} * packed.pitch), 0.0f);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t i = 0; i < packed.valid[b]; ++i)
        weights.f32[static_cast<size_t>(int64_t{b} * packed.pitch + i)] = 1;
    c.outputs->arrays["disc/weights"] = std::move(weights);
  }
}

}  // namespace electra
