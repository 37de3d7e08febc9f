#pragma once
// The operators on an NVIDIA GPU. Each family of methods lives in a file of its own under kernels/: what the
// layer does, the kernels, one launcher. This header is what those files share: the stream, the workspace,
// the type that activations have, and the products.
//
// Rules for kernels
// - Everything is launched through launch() on stream(); nothing synchronizes, nothing allocates.
// - No float atomics, no order that depends on timing: partial results have a place of their own and are
//   added in index order by one later kernel or by the last stage of the same block.
// - What changes between steps is read from device memory (Extent::actual, StepScalars); a launch's grid
//   follows from capacities alone. Rows between actual and capacity: finite forward, zero in gradients.
// - A fast path that needs alignment or a certain width is chosen on the host, with a plain path beside it.

#include <cstdint>
#include <memory>
#include <vector>

#include "../native/operators.h"
#include "gemm.h"
#include "platform/platform.h"

namespace electra::cuda {

struct CudaOptions {
  int32_t device = 0;
  DType compute = DType::kBFloat16;
};

/// Bytes of workspace that each family of operators wants for a capacity. Operators run one after the other
/// on one stream, so they share the same memory; reserve() takes the maximum.
size_t embedding_workspace(const Capacity& capacity);
size_t norm_workspace(const Capacity& capacity);
size_t linear_workspace(const Capacity& capacity);
size_t attention_workspace(const Capacity& capacity);
size_t rows_workspace(const Capacity& capacity);
size_t corruption_workspace(const Capacity& capacity);
size_t language_model_workspace(const Capacity& capacity);
size_t losses_workspace(const Capacity& capacity);
size_t ragged_workspace(const Capacity& capacity);
size_t optimizer_workspace(const Capacity& capacity);

class CudaOperators final : public Operators {
 public:
  explicit CudaOperators(const CudaOptions& options);
  ~CudaOperators() override;

  const DeviceInfo& info() const override { return info_; }
  void* allocate(size_t bytes, const char* purpose) override;
  void release(void* memory) override;
  void upload(void* device, const void* host, size_t bytes) override;
  void download(void* host, const void* device, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void zero(void* device, size_t bytes) override;
  void synchronize() override;
  void reserve(const Capacity& capacity) override;
  size_t workspace_bytes() const override { return workspace_size_; }
  size_t workspace_bytes_for(const Capacity& capacity) const override;
  int64_t memory_available() const override;
  bool begin_step(uint64_t key) override;
  void end_step() override;
  void abandon_step() override;
  void bind_parameters(const float* masters, int64_t size) override;
  void refresh_parameters(const float* masters) override;
  void unbind_parameters(const float* masters) override;
  size_t compute_form_bytes(int64_t size) const override;

  // kernels/embedding.cu
  void embedding_forward(const EmbeddingForward&) override;
  void embedding_backward(const EmbeddingBackward&) override;
  // kernels/linear.cu
  void linear_forward(const LinearForward&) override;
  void linear_backward_data(const LinearBackwardData&) override;
  void linear_backward_weight(const LinearBackwardWeight&) override;
  void activation_forward(const ActivationForward&) override;
  void activation_backward(const ActivationBackward&) override;
  // kernels/norm.cu
  void layer_norm_forward(const LayerNormForward&) override;
  void layer_norm_backward(const LayerNormBackward&) override;
  void dropout_residual_norm_forward(const DropoutResidualNormForward&) override;
  void dropout_residual_norm_backward(const DropoutResidualNormBackward&) override;
  void dropout(const DropoutApply&) override;
  // kernels/attention.cu
  void attention_forward(const AttentionForward&) override;
  void attention_backward(const AttentionBackward&) override;
  void attention_probabilities(const AttentionProbabilities&) override;
  // kernels/rows.cu
  void gather_rows(const GatherRows&) override;
  void scatter_add_rows(const ScatterAddRows&) override;
  void tower_concat(const TowerConcat&) override;
  void tower_concat_backward(const TowerConcatBackward&) override;
  void add_rows(const AddRows&) override;
  // kernels/corruption.cu
  void mask_tokens(const MaskTokens&) override;
  void replace_tokens(const ReplaceTokens&) override;
  void sample_uniform(const SampleUniform&) override;
  // kernels/language_model_head.cu
  void language_model_head(const LanguageModelHead&) override;
  // kernels/losses.cu
  void binary_cross_entropy(const BinaryCrossEntropy&) override;
  void class_cross_entropy(const ClassCrossEntropy&) override;
  void mean_squared_error(const MeanSquaredError&) override;
  void multi_label_cross_entropy(const MultiLabelCrossEntropy&) override;
  // kernels/ragged.cu
  void ragged_softmax(const RaggedSoftmax&) override;
  void ragged_softmax_backward(const RaggedSoftmaxBackward&) override;
  void ragged_cross_entropy(const RaggedCrossEntropy&) override;
  void ragged_top_k(const RaggedTopK&) override;
  void ragged_weighted_sum(const RaggedWeightedSum&) override;
  void ragged_weighted_sum_backward(const RaggedWeightedSumBackward&) override;
  void broadcast_rows(const BroadcastRows&) override;
  // kernels/optimizer.cu
  void gradient_norm(const GradientNorm&) override;
  void clip_factor(const ClipFactor&) override;
  void adam_update(const AdamUpdate&) override;

 private:
  cudaStream_t stream() const { return stream_; }
  DType compute() const { return info_.compute; }
  /// `bytes` of scratch, 256-byte aligned, valid until the next operator is called. Throws
  /// ERR_ELECTRA_WORKSPACE beyond the reservation.
  void* workspace(size_t bytes);
  /// The same, laid out piece by piece: Scratch s(workspace(total)); float* a = s.take<float>(n); …
  /// (scratch.h).

  /// Bound parameters by address: the bf16 compute form of what lies at `master`; null where the device
  /// computes in f32 or the master was never bound.
  __nv_bfloat16* compute_form(const float* master) const;
  /// The matrix as the products take it: the compute form in bf16, the master in f32. Throws
  /// ERR_ELECTRA_INTERNAL for a master that was never bound.
  Matrix weight_matrix(const Weight& weight) const;

  struct Binding {
    const float* masters;
    int64_t size;
    __nv_bfloat16* compute;
  };
  struct Graphs;  // recorded steps by key (step_graph.cu)
  class Staging;  // pinned memory that uploads pass through (cuda_operators.cu)

  DeviceInfo info_;
  int32_t device_ = 0;
  int32_t multiprocessors_ = 1;
  cudaStream_t stream_ = nullptr;
  char* workspace_ = nullptr;
  size_t workspace_size_ = 0;
  Capacity capacity_;
  std::vector<Binding> bindings_;
  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<Graphs> graphs_;
  std::unique_ptr<Staging> staging_;
};

}  // namespace electra::cuda
