#pragma once
// The inside of PretrainingModel. Its methods lie in files by what they do: pretraining_networks.cc builds
// and plans, pretraining_step.cc runs a step, pretraining_inference.cc a plain forward pass,
// pretraining_outputs.cc brings named arrays to the host.

#include <memory>
#include <vector>

#include "batch.h"
#include "batch_room.h"
#include "heads.h"
#include "optimizer.h"
#include "pretraining_model.h"
#include "transformer.h"

namespace electra {

/// The reference adds this to the denominators of both losses.
constexpr double kDenominatorEpsilon = 1e-6;

/// Everything that a plan hands places out to.
struct Places {
  DeviceBatch device;
  TransformerActivations generator_activations, right_to_left_activations, discriminator_activations;
  TokenPredictionHead::Activations token_activations;
  DiscriminatorHead::Activations binary_activations;
};

struct PretrainingModel::Implementation final : Places, BatchPlanner {
  Implementation(Operators& ops, const PretrainingConfig& configuration, uint64_t seed, int32_t reserve_rows);

  bool replaces_tokens() const { return config.objective != Objective::kMaskedLanguageModel; }
  bool two_towers() const { return config.generator_kind == GeneratorKind::kTwoTower; }
  bool uniform() const { return config.generator_kind == GeneratorKind::kUniform; }
  bool tied() const { return config.generator_kind == GeneratorKind::kTied; }

  /// Registers the variables in the order in which the reference creates them: generator first.
  void build_networks(ParameterTable& table);

  const Transformer& masked_lm_network() const { return tied() ? *discriminator : *generator; }

  /// Rows of the language-model head for a batch of `rows`.
  int64_t lm_rows(int32_t rows) const;
  int64_t lm_row_capacity() const { return lm_rows(room.planned_rows()); }

  Capacity capacity_for(int32_t rows) const override;
  void lay_out(Arena& a, int32_t rows, bool training) override { lay_out(a, rows, training, *this); }
  size_t plan_bytes(int32_t rows, bool training) const override;
  /// The generator has done all its work, backward included, before the discriminator starts: their
  /// activations share memory.
  void lay_out(Arena& a, int32_t rows, bool training, Places& places) const;

  /// `update`: what ends the step, with room for its result; null: nothing.
  StepResult run(const HostBatch& batch, const StepOptions& options, Outputs* outputs, bool training,
                 const OptimizerOptions* update = nullptr, OptimizerResult* updated = nullptr);
  /// What two steps must agree in to be the same calls with the same arguments.
  uint64_t step_key(const Rows& rows, const PackedBatch& packed, const StepOptions& options, bool training,
                    const OptimizerOptions* update) const;
  void run_forward(const HostBatch& batch, const ForwardOptions& options, Outputs* outputs);

  StepContext context_for(const Rows& rows, const PackedBatch& packed, const std::atomic<bool>* abort,
                          Outputs* outputs, bool training);

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
  void collect_language_model(const StepContext& context, const PackedBatch& packed,
                              const LanguageModelHead& head, bool rows_are_tokens);
  void collect_discriminator(const StepContext& context, const PackedBatch& packed);
  HostArray slots_to_host(const PackedBatch& packed, const float* values) const;
  HostArray slots_to_host(const PackedBatch& packed, const int32_t* values) const;

  Operators& operators;
  PretrainingConfig config;
  std::unique_ptr<Parameters> parameters;
  std::unique_ptr<Transformer> generator;  ///< or the left-to-right tower
  std::unique_ptr<Transformer> right_to_left;
  std::unique_ptr<Transformer> discriminator;  ///< also the masked LM's encoder
  std::unique_ptr<TokenPredictionHead> token_head;
  std::unique_ptr<DiscriminatorHead> binary_head;

  int64_t parameter_count = 0;
  int32_t segment_count = 0;
  BatchRoom room;
  std::unique_ptr<Optimizer> optimizer;
};

}  // namespace electra
