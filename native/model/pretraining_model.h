#pragma once
// ELECTRA, Electric and masked-LM pre-training: corrupt, generate, replace, discriminate, and all of it
// backwards.

#include <atomic>
#include <memory>

#include "config.h"
#include "model_memory.h"
#include "optimizer.h"
#include "outputs.h"
#include "token_stream.h"

namespace electra {

/// Random choices fed from outside, each null or an array; what is null is drawn.
struct Draws {
  bool any() const { return positions || replace_uniform || gumbel_uniform || sampled_ids; }
  const int32_t* positions = nullptr;      ///< [B, N] positions in the row
  const float* replace_uniform = nullptr;  ///< [B, N] below 0.85: [MASK]
  const float* gumbel_uniform = nullptr;   ///< [B, N, V]
  const int32_t* sampled_ids = nullptr;    ///< [B, N]
};

struct StepOptions {
  uint64_t seed = 0;
  uint32_t step = 0;        ///< counter of every draw; the same seed, step and batch give the same numbers
  bool accumulate = false;  ///< false: gradients are zeroed first
  Draws draws;
  double generator_denominator = 0;          ///< 0: Σ of this batch's own weights + 1e-6
  double discriminator_denominator = 0;      ///< 0: this batch's own tokens + 1e-6
  const std::atomic<bool>* abort = nullptr;  ///< looked at between layers; throws ERR_ELECTRA_ABORTED
};

struct StepResult {
  double loss = 0;                ///< gen_weight · generator_loss + disc_weight · discriminator_loss
  double generator_loss = 0;      ///< MLM or cloze loss, Σ w·nll / denominator
  double discriminator_loss = 0;  ///< Σ w·l / denominator
  LanguageModelSums generator;
  BinarySums discriminator;
  int64_t tokens = 0;  ///< real tokens of the batch
  int64_t slots = 0;   ///< masked slots of the batch
};

/// Forward pass of one network on the ids as they are: no corruption, no dropout.
struct ForwardOptions {
  bool generator = false;  ///< generator (or masked LM) instead of the discriminator
  const int32_t* positions =
      nullptr;                    ///< [B, N] where the generator's logits are wanted, −1: unused; null: none
  int32_t positions_per_row = 0;  ///< N
  const std::atomic<bool>* abort = nullptr;
};

class PretrainingModel {
 public:
  using Config = PretrainingConfig;
  /// `operators` must outlive the model. Room for training batches of `reserve_rows` is made at once;
  /// whatever turns out larger later makes its own. Throws ERR_ELECTRA_CONFIG for impossible combinations,
  /// and ERR_ELECTRA_OUT_OF_MEMORY for what will not fit, before anything is allocated.
  PretrainingModel(Operators& operators, const PretrainingConfig& config, uint64_t seed,
                   int32_t reserve_rows = 0);
  ~PretrainingModel();

  const PretrainingConfig& config() const;
  Parameters& parameters();
  ModelMemory memory() const;

  /// Forward and backward; gradients are added into the gradient buffer.
  StepResult forward_backward(const HostBatch& batch, const StepOptions& options, Outputs* outputs);
  /// Both in one: forward, backward, norm, clip, Adam, without waiting for the device in between; a GPU
  /// records the whole of it once for each shape of batch and replays it. options.accumulate adds to what
  /// earlier parts of the batch left.
  StepResult train_step(const HostBatch& batch, const StepOptions& options, const OptimizerOptions& optimizer,
                        OptimizerResult* update, Outputs* outputs);
  /// Norm, clip, Adam.
  OptimizerResult optimizer_step(const OptimizerOptions& options);
  /// The corrupted forward pass without dropout and without gradients.
  StepResult evaluate(const HostBatch& batch, const StepOptions& options, Outputs* outputs);
  /// Plain inference, see ForwardOptions; results by name in `outputs`.
  void forward(const HostBatch& batch, const ForwardOptions& options, Outputs* outputs);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace electra
