#pragma once
// Fine-tuning: an encoder (scope `electra`) and the heads of one or several tasks (`task_specific/<task>/…`)
// that learn together. The loss is the sum over the rows, as in the reference.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "model_memory.h"
#include "optimizer.h"
#include "outputs.h"
#include "token_stream.h"

namespace electra {

/// Rows of one or several tasks. Arrays cover all rows, whatever their task; a null target is none.
struct FinetuningBatch : HostBatch {
  const int32_t* task_ids = nullptr;      ///< [B] task of each row, the number of tasks: padding; null: all 0
  const int32_t* word_offsets = nullptr;  ///< [B + 1] words of each row, or null: there are none
  const int32_t* word_positions = nullptr;  ///< [W] position in the row of each word's first piece
  const int32_t* classes = nullptr;         ///< [B] of classification tasks
  const float* labels = nullptr;  ///< [B, M] 0 or 1, of multi-label tasks; M is the largest C among them
  const float* values = nullptr;  ///< [B] of regression tasks
  const int32_t* word_classes = nullptr;  ///< [W] of tagging tasks
  const int32_t* starts = nullptr;        ///< [B] positions in the row, of span tasks
  const int32_t* ends = nullptr;          ///< [B]
  const int32_t* impossible = nullptr;    ///< [B] 0 or 1: no answer
};

struct FinetuningStepOptions {
  uint64_t seed = 0;
  uint32_t step = 0;        ///< counter of every draw; the same seed, step and batch give the same numbers
  bool accumulate = false;  ///< false: gradients are zeroed first
  const std::atomic<bool>* abort = nullptr;  ///< looked at between layers; throws ERR_ELECTRA_ABORTED
};

struct FinetuningResult {
  double loss = 0;                  ///< sum over the rows that have targets
  std::vector<double> task_losses;  ///< the same for each task
  std::vector<int64_t> task_rows;   ///< rows of each task
  int64_t tokens = 0;               ///< real tokens of the batch
};

/// Named results, zero where a row has another task; K candidates a beam, −1 and −infinity where a row has
/// fewer tokens.
///
///   loss [B]
///   <task>/logits [B, C], [W, C] for tagging        <task>/predictions [B] of regression, [W] int32 of
///   tagging <task>/start_logits, <task>/end_logits [B, L]   <task>/answerable_logit [B]
///   <task>/start_top_log_probs, <task>/start_top_index [B, K]
///   <task>/end_top_log_probs, <task>/end_top_index [B, K, K]
///   hidden/electra/embedding_output, hidden/electra/sequence_output, hidden/electra/layer_<i> [B, L, h]
class FinetuningModel {
 public:
  using Config = FinetuningConfig;
  /// As PretrainingModel's.
  FinetuningModel(Operators& operators, const FinetuningConfig& config, uint64_t seed,
                  int32_t reserve_rows = 0);
  ~FinetuningModel();

  const FinetuningConfig& config() const;
  Parameters& parameters();
  ModelMemory memory() const;

  /// Forward and backward; gradients are added into the gradient buffer. Rows need targets.
  FinetuningResult forward_backward(const FinetuningBatch& batch, const FinetuningStepOptions& options,
                                    Outputs* outputs);
  /// Forward, backward, norm, clip, Adam, as PretrainingModel::train_step.
  FinetuningResult train_step(const FinetuningBatch& batch, const FinetuningStepOptions& options,
                              const OptimizerOptions& update, OptimizerResult* updated, Outputs* outputs);
  /// Norm, clip, Adam.
  OptimizerResult optimizer_step(const OptimizerOptions& options);
  /// Without dropout and gradients. Losses where there are targets.
  FinetuningResult predict(const FinetuningBatch& batch, const std::atomic<bool>* abort, Outputs* outputs);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace electra
