#pragma once
// Where the time of a step goes: operators that note how long each call of the wrapped ones took.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../operators.h"

namespace electra::addon {

/// All calls of one operator at one shape.
struct OperatorTime {
  std::string name;   ///< as in the microbenchmarks: "linearBackwardWeight"
  std::string shape;  ///< "256 to 1024, gelu"; empty where there is no product
  int64_t calls = 0;
  double seconds = 0;
  double flop = 0;  ///< multiplications and additions of the matrix products, of rows that count
};

/// Passes every call on and times it. Meaningful only where an operator is done when it returns and its
/// arguments can be read, which is the CPU: a GPU would be asked after each operator, and a recorded step
/// makes no calls at all.
class OperatorProfile final : public Operators {
 public:
  explicit OperatorProfile(std::unique_ptr<Operators> operators) : inner_(std::move(operators)) {}

  /// What was noted since the last call of this, slowest first.
  std::vector<OperatorTime> take();

  const DeviceInfo& info() const override { return inner_->info(); }
  void* allocate(size_t bytes, const char* purpose) override { return inner_->allocate(bytes, purpose); }
  void release(void* memory) override { inner_->release(memory); }
  void upload(void* device, const void* host, size_t bytes) override;
  void download(void* host, const void* device, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void zero(void* device, size_t bytes) override;
  void synchronize() override { inner_->synchronize(); }
  void reserve(const Capacity& capacity) override { inner_->reserve(capacity); }
  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t workspace_bytes_for(const Capacity& c) const override { return inner_->workspace_bytes_for(c); }
  int64_t memory_available() const override { return inner_->memory_available(); }
  bool begin_step(uint64_t key) override { return inner_->begin_step(key); }
  void end_step() override { inner_->end_step(); }
  void abandon_step() override { inner_->abandon_step(); }
  void bind_parameters(const float* m, int64_t size) override { inner_->bind_parameters(m, size); }
  void refresh_parameters(const float* masters) override;
  void unbind_parameters(const float* masters) override { inner_->unbind_parameters(masters); }
  size_t compute_form_bytes(int64_t size) const override { return inner_->compute_form_bytes(size); }

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
  /// What tells one line of the profile from another; names are literals.
  struct Key {
    const char* name;
    int64_t from, to;
    bool activated;
    bool operator<(const Key& other) const;
  };
  struct Sum {
    int64_t calls = 0;
    double seconds = 0, flop = 0;
  };
  /// Calls and adds the time to the key's sum.
  template <typename Call>
  void timed(const Key& key, double flop, const Call& call);
  static std::string shape_of(const Key& key);

  std::unique_ptr<Operators> inner_;
  std::map<Key, Sum> sums_;
};

}  // namespace electra::addon
