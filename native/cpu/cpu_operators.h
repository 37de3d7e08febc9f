#pragma once
// The operators on the CPU, f32. Each family of methods lives in a file of its own: cut the work into tasks
// by shape, call the kernels of the chosen instruction set (kernel_table.h).

#include <memory>
#include <string>
#include <vector>

#include "../operators.h"
#include "gemm.h"
#include "kernel_table.h"
#include "packed_weights.h"
#include "thread_pool.h"
#include "workspace_needs.h"

namespace electra::cpu {

struct CpuOptions {
  int threads = 1;
  std::string gemm = "auto";  ///< "auto", "onednn" or "built-in"
  std::string isa = "auto";   ///< "auto", "avx512", "avx2" or "baseline"
};

class CpuOperators final : public Operators {
 public:
  explicit CpuOperators(const CpuOptions& options);
  ~CpuOperators() override;

  const DeviceInfo& info() const override { return info_; }
  void* allocate(size_t bytes, const char* purpose) override;
  void release(void* memory) override;
  void upload(void* device, const void* host, size_t bytes) override;
  void download(void* host, const void* device, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void zero(void* device, size_t bytes) override;
  void synchronize() override {}
  void reserve(const Capacity& capacity) override;
  size_t workspace_bytes() const override;
  size_t workspace_bytes_for(const Capacity& capacity) const override;
  int64_t memory_available() const override { return -1; }
  bool begin_step(uint64_t) override { return false; }
  void end_step() override {}
  void abandon_step() override {}
  void bind_parameters(const float* masters, int64_t size) override { packed_weights_.bind(masters, size); }
  void refresh_parameters(const float* masters) override { packed_weights_.refresh(masters); }
  void unbind_parameters(const float* masters) override { packed_weights_.unbind(masters); }
  size_t compute_form_bytes(int64_t) const override { return 0; }

  // linear.cc
  void linear_forward(const LinearForward&) override;
  void linear_backward_data(const LinearBackwardData&) override;
  void linear_backward_weight(const LinearBackwardWeight&) override;
  void activation_forward(const ActivationForward&) override;
  void activation_backward(const ActivationBackward&) override;
  // language_model_head.cc
  void language_model_head(const LanguageModelHead&) override;
  // optimizer.cc
  void gradient_norm(const GradientNorm&) override;
  void clip_factor(const ClipFactor&) override;
  void adam_update(const AdamUpdate&) override;

  // embedding.cc
  void embedding_forward(const EmbeddingForward&) override;
  void embedding_backward(const EmbeddingBackward&) override;
  // layer_norm.cc
  void layer_norm_forward(const LayerNormForward&) override;
  void layer_norm_backward(const LayerNormBackward&) override;
  void dropout_residual_norm_forward(const DropoutResidualNormForward&) override;
  void dropout_residual_norm_backward(const DropoutResidualNormBackward&) override;
  void dropout(const DropoutApply&) override;
  // attention.cc
  void attention_forward(const AttentionForward&) override;
  void attention_backward(const AttentionBackward&) override;
  void attention_probabilities(const AttentionProbabilities&) override;
  // rows.cc
  void gather_rows(const GatherRows&) override;
  void scatter_add_rows(const ScatterAddRows&) override;
  void tower_concat(const TowerConcat&) override;
  void tower_concat_backward(const TowerConcatBackward&) override;
  void add_rows(const AddRows&) override;

  // corruption.cc
  void mask_tokens(const MaskTokens&) override;
  void replace_tokens(const ReplaceTokens&) override;
  void sample_uniform(const SampleUniform&) override;
  // losses.cc
  void binary_cross_entropy(const BinaryCrossEntropy&) override;
  void class_cross_entropy(const ClassCrossEntropy&) override;
  void mean_squared_error(const MeanSquaredError&) override;
  void multi_label_cross_entropy(const MultiLabelCrossEntropy&) override;
  // ragged.cc
  void ragged_softmax(const RaggedSoftmax&) override;
  void ragged_softmax_backward(const RaggedSoftmaxBackward&) override;
  void ragged_cross_entropy(const RaggedCrossEntropy&) override;
  void ragged_top_k(const RaggedTopK&) override;
  void ragged_weighted_sum(const RaggedWeightedSum&) override;
  void ragged_weighted_sum_backward(const RaggedWeightedSumBackward&) override;
  void broadcast_rows(const BroadcastRows&) override;

 private:
  /// The most that any family of operators wants for a capacity, whole cache lines for each worker.
  static WorkspaceNeeds needs_of(const Capacity& capacity);
  /// Shared scratch of at least `floats` floats, 64-byte aligned; throws ERR_ELECTRA_WORKSPACE beyond the
  /// reservation.
  float* scratch(size_t floats);
  /// Scratch of one worker, `floats` floats.
  float* worker_scratch(int worker, size_t floats);

  DeviceInfo info_;
  ThreadPool pool_;
  const Gemm& gemm_;
  const KernelTable& kernels_;
  Capacity capacity_;
  PackedWeights packed_weights_;
  struct Workspace;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace electra::cpu
