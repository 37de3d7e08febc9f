#pragma once
// The inside of PretrainingModel. Its methods lie in files by what they do: pretraining_networks.cc builds
// and plans, pretraining_memory.cc says what that takes, pretraining_step.cc runs a step,
// pretraining_inference.cc a plain forward pass, pretraining_outputs.cc brings named arrays to the host.

#include <memory>
#include <vector>

#include "batch.h"
#include "heads.h"
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

struct PretrainingModel::Implementation : Places {
  Implementation(Operators& ops, const PretrainingConfig& configuration, uint64_t seed, int32_t reserve_rows);
  ~Implementation();

  bool replaces_tokens() const { return config.objective != Objective::kMaskedLanguageModel; }
  bool two_towers() const { return config.generator_kind == GeneratorKind::kTwoTower; }
  bool uniform() const { return config.generator_kind == GeneratorKind::kUniform; }
  bool tied() const { return config.generator_kind == GeneratorKind::kTied; }

  /// Registers the variables in the order in which the reference creates them: generator first.
  void build_networks(ParameterTable& table);

  const Transformer& masked_lm_network() const { return tied() ? *discriminator : *generator; }

  /// Rows of the language-model head for a batch of `rows`.
  int64_t lm_rows(int32_t rows) const;
  int64_t lm_row_capacity() const { return lm_rows(planned_rows); }
  Capacity capacity_for(int32_t rows) const;

  /// Makes room for a batch of `rows`, training or not, if there is none, and lays the plan for it. Training
  /// and inference have plans of their own in the same memory, so the plan is laid again when the mode
  /// changes.
  void prepare_mode(int32_t rows, bool training);
  /// The generator has done all its work, backward included, before the discriminator starts: their
  /// activations share memory.
  void lay_out(Arena& a, int32_t rows, bool training, Places& places) const;

  // What is about to be allocated, before it is (pretraining_memory.cc).

  struct BatchBytes {
    size_t activations = 0;
    size_t workspace = 0;
    size_t total() const { return activations + workspace; }
  };
  BatchBytes batch_bytes(int32_t rows, bool training) const;
  /// Throws ERR_ELECTRA_OUT_OF_MEMORY when the device says that the variables (still to be allocated:
  /// `parameter_bytes`) and batches of `rows` do not fit beside what is there: what is needed for what, what
  /// is free, and the largest batch that fits. The device's word is taken: where it gives none, nothing is
  /// thrown.
  void require_memory(size_t parameter_bytes, int32_t rows, bool training) const;
  /// The largest batch below `rows` that a device with `budget` bytes has room for; 0: none.
  int32_t largest_batch(size_t parameter_bytes, int32_t rows, bool training, size_t budget) const;
  BatchBytes bytes_to_hold(int32_t rows, bool training) const;

  /// `optimizer`: the update that ends the step, with room for its result; null: none.
  StepResult run(const HostBatch& batch, const StepOptions& options, Outputs* outputs, bool training,
                 const OptimizerOptions* optimizer = nullptr, OptimizerResult* update = nullptr);
  /// What two steps must agree in to be the same calls with the same arguments.
  uint64_t step_key(const Rows& rows, const PackedBatch& packed, const StepOptions& options, bool training,
                    const OptimizerOptions* optimizer) const;
  void enqueue_update(const OptimizerOptions& optimizer);
  /// Downloads what the update left in the step's scalars; waits for the device.
  OptimizerResult fetch_update();
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

  Arena arena;
  double* partials = nullptr;
  int64_t partial_count = 0;
  int64_t parameter_count = 0;
  int32_t segment_count = 0;
  int32_t training_rows = 0;   ///< rows of the largest batch trained on so far
  int32_t inference_rows = 0;  ///< the same without gradients
  int32_t planned_rows = 0;    ///< what the present plan is for; 0: there is none
  bool planned_training = false;
};

}  // namespace electra
