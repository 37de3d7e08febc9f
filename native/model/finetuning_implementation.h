#pragma once
// The inside of FinetuningModel: finetuning_model.cc builds and plans, finetuning_step.cc runs a step.

#include <memory>
#include <set>
#include <vector>

#include "batch_room.h"
#include "finetuning_model.h"
#include "task_head.h"
#include "transformer.h"

namespace electra {

struct FinetuningPlaces {
  DeviceFinetuning device;
  TransformerActivations activations;
  std::vector<std::unique_ptr<HeadPlaces>> heads;
};

struct FinetuningModel::Implementation final : FinetuningPlaces, BatchPlanner {
  Implementation(Operators& ops, const FinetuningConfig& configuration, uint64_t seed, int32_t reserve_rows);

  Capacity capacity_for(int32_t rows) const override;
  void lay_out(Arena& arena, int32_t rows, bool training) override { lay_out(arena, rows, training, *this); }
  size_t plan_bytes(int32_t rows, bool training) const override;
  void lay_out(Arena& arena, int32_t rows, bool training, FinetuningPlaces& places) const;

  /// `update`: what ends the step, with room for its result; null: nothing.
  FinetuningResult run(const FinetuningBatch& batch, const FinetuningStepOptions& options, Outputs* outputs,
                       bool training, const OptimizerOptions* update = nullptr,
                       OptimizerResult* updated = nullptr);
  /// What two steps must agree in to be the same calls with the same arguments.
  uint64_t step_key(const Rows& rows, const PackedFinetuning& packed, const FinetuningStepOptions& options,
                    bool training, const OptimizerOptions* update) const;
  /// Whether a head has anything to do: heads that read [CLS] alone always run in training, because they cost
  /// less than a recorded step of its own for every mixture of tasks.
  bool takes_part(int number, const PackedFinetuning& packed, bool training) const;
  void compute(const StepContext& context, const PackedFinetuning& packed, bool accumulate);
  void collect(const StepContext& context, const PackedFinetuning& packed);
  HeadStep head_step(const StepContext& context, const PackedFinetuning& packed, int number) const;
  /// Throws ERR_ELECTRA_ARGUMENT for a name that is no output of this model.
  void check_outputs(const Outputs* outputs) const;

  Operators& operators;
  FinetuningConfig config;
  std::unique_ptr<Parameters> parameters;
  std::unique_ptr<Transformer> encoder;
  std::vector<std::unique_ptr<TaskHead>> task_heads;
  std::set<std::string> output_names;
  int64_t parameter_count = 0;
  int32_t segment_count = 0;
  BatchRoom room;
  std::unique_ptr<Optimizer> optimizer;
};

}  // namespace electra
