#pragma once
// The contract of native/operators.h as naive scalar code in double, straight from the formulas: the oracle
// of the operator tests. Shares nothing with the backends except native/philox.h. Its backward operators are
// themselves checked against finite differences of its forward operators (mode `grad`).

#include <vector>

#include "wide_memory.h"

namespace electra::test {

class ReferenceOperators final : public Operators {
 public:
  ReferenceOperators();

  /// The doubles behind allocated memory.
  View view(const float* p) const { return memory_.view(p); }

  const DeviceInfo& info() const override { return info_; }
  void* allocate(size_t bytes, const char*) override { return memory_.allocate(bytes); }
  void release(void* memory) override { memory_.release(memory); }
  void upload(void* device, const void* host, size_t bytes) override { memory_.upload(device, host, bytes); }
  void download(void* host, const void* device, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override { memory_.copy(to, from, bytes); }
  void zero(void* device, size_t bytes) override;
  void synchronize() override {}
  void reserve(const Capacity&) override {}
  size_t workspace_bytes() const override { return 0; }
  size_t workspace_bytes_for(const Capacity&) const override { return 0; }
  int64_t memory_available() const override { return -1; }
  bool begin_step(uint64_t) override { return false; }
  void end_step() override {}
  void abandon_step() override {}
  void bind_parameters(const float*, int64_t) override {}
  void refresh_parameters(const float*) override {}
  void unbind_parameters(const float*) override {}
  size_t compute_form_bytes(int64_t) const override { return 0; }

  void embedding_forward(const EmbeddingForward&) override;
  void embedding_backward(const EmbeddingBackward&) override;
  void linear_forward(const LinearForward&) override;
  void linear_backward_data(const LinearBackwardData&) override;
  void linear_backward_weight(const LinearBackwardWeight&) override;
  void activation_forward(const ActivationForward&) override;
  void activation_backward(const ActivationBackward&) override;
  void layer_norm_forward(const LayerNormForward&) override;
  void layer_norm_backward(const LayerNormBackward&) override;
  void dropout_residual_norm_forward(const DropoutResidualNormForward&) override;
  void dropout_residual_norm_backward(const DropoutResidualNormBackward&) override;
  void dropout(const DropoutApply&) override;
  void attention_forward(const AttentionForward&) override;
  void attention_backward(const AttentionBackward&) override;
  void attention_probabilities(const AttentionProbabilities&) override;

  void gather_rows(const GatherRows&) override;
  void scatter_add_rows(const ScatterAddRows&) override;
  void tower_concat(const TowerConcat&) override;
  void tower_concat_backward(const TowerConcatBackward&) override;
  void add_rows(const AddRows&) override;

  void mask_tokens(const MaskTokens&) override;
  void replace_tokens(const ReplaceTokens&) override;
  void sample_uniform(const SampleUniform&) override;

  void language_model_head(const LanguageModelHead&) override;
  void binary_cross_entropy(const BinaryCrossEntropy&) override;
  void class_cross_entropy(const ClassCrossEntropy&) override;
  void mean_squared_error(const MeanSquaredError&) override;
  void multi_label_cross_entropy(const MultiLabelCrossEntropy&) override;

  void ragged_softmax(const RaggedSoftmax&) override;
  void ragged_softmax_backward(const RaggedSoftmaxBackward&) override;
  void ragged_cross_entropy(const RaggedCrossEntropy&) override;
  void ragged_top_k(const RaggedTopK&) override;
  void ragged_weighted_sum(const RaggedWeightedSum&) override;
  void ragged_weighted_sum_backward(const RaggedWeightedSumBackward&) override;
  void broadcast_rows(const BroadcastRows&) override;

  void gradient_norm(const GradientNorm&) override;
  void clip_factor(const ClipFactor&) override;
  void adam_update(const AdamUpdate&) override;

 private:
  WideMemory memory_;
  DeviceInfo info_;
};

/// Rows that count.
inline int64_t count_of(const Extent& extent) {
  return extent.actual != nullptr ? *extent.actual : extent.capacity;
}

/// What dropout multiplies element `column` of a token with: 0 or the inverse of the probability to keep.
double token_dropout_factor(const Dropout& dropout, const Rows& rows, int64_t token, int64_t width,
                            int64_t column);

/// Gumbel noise from a uniform: −log(−log(u + 1e-9) + 1e-9).
double gumbel_noise(float u);

/// y and dy/dx of an activation at x.
double activate(Activation activation, double x);
double activate_slope(Activation activation, double x);

/// Zeros in the rows of a gradient that do not count.
void clear_beyond(const MatrixView& m, const Extent& extent, int64_t columns);

}  // namespace electra::test
