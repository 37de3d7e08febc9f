#include "operator_profile.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <tuple>

namespace electra::addon {
namespace {

double rows_of(const Extent& extent) {
  return static_cast<double>(extent.actual != nullptr ? *extent.actual : extent.capacity);
}

/// Σ over the batch's rows of their length squared: the scores of one head.
double scores_of(const Rows& rows) {
  double sum = 0;
  for (int32_t b = 0; b < rows.batch; ++b) {
    const double length = rows.offsets[b + 1] - rows.offsets[b];
    sum += length * length;
  }
  return sum;
}

/// A product of [rows, in] with [in, out]: a multiplication and an addition for each of its terms.
double product(double rows, int64_t in, int64_t out) {
  return 2 * rows * static_cast<double>(in) * static_cast<double>(out);
}

}  // namespace

bool OperatorProfile::Key::operator<(const Key& other) const {
  const int order = std::strcmp(name, other.name);
  return order != 0 ? order < 0
                    : std::tie(from, to, activated) < std::tie(other.from, other.to, other.activated);
}

template <typename Call>
void OperatorProfile::timed(const Key& key, double flop, const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  Sum& sum = sums_[key];
  sum.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  sum.flop += flop;
  ++sum.calls;
}

std::string OperatorProfile::shape_of(const Key& key) {
  if (key.from == 0) return "";
  char text[64];
  std::snprintf(text, sizeof(text), "%lld to %lld%s", static_cast<long long>(key.from),
                static_cast<long long>(key.to), key.activated ? ", with activation" : "");
  return text;
}

std::vector<OperatorTime> OperatorProfile::take() {
  std::vector<OperatorTime> times;
  times.reserve(sums_.size());
  for (const auto& [key, sum] : sums_)
    times.push_back({key.name, shape_of(key), sum.calls, sum.seconds, sum.flop});
  sums_.clear();
  std::stable_sort(times.begin(), times.end(),
                   [](const OperatorTime& a, const OperatorTime& b) { return a.seconds > b.seconds; });
  return times;
}

void OperatorProfile::linear_forward(const LinearForward& call) {
  const int64_t in = call.weight.rows, out = call.weight.cols;
  timed({"linear", in, out, call.activation != Activation::kIdentity},
        product(rows_of(call.tokens), in, out), [&] { inner_->linear_forward(call); });
}

void OperatorProfile::linear_backward_data(const LinearBackwardData& call) {
  const int64_t in = call.weight.rows, out = call.weight.cols;
  timed({"linearBackwardData", in, out, call.activation != Activation::kIdentity},
        product(rows_of(call.tokens), in, out), [&] { inner_->linear_backward_data(call); });
}

void OperatorProfile::linear_backward_weight(const LinearBackwardWeight& call) {
  timed({"linearBackwardWeight", call.x.cols, call.dy.cols, false},
        product(rows_of(call.tokens), call.x.cols, call.dy.cols),
        [&] { inner_->linear_backward_weight(call); });
}

// Forward: scores and context. Backward: the scores again, because they are never stored, and the gradients of
// probabilities, value, query and key.
void OperatorProfile::attention_forward(const AttentionForward& call) {
  timed({"attention", call.qkv.cols, call.context.cols, false},
        4 * scores_of(call.rows) * static_cast<double>(call.context.cols),
        [&] { inner_->attention_forward(call); });
}

void OperatorProfile::attention_backward(const AttentionBackward& call) {
  timed({"attentionBackward", call.qkv.cols, call.context.cols, false},
        10 * scores_of(call.rows) * static_cast<double>(call.context.cols),
        [&] { inner_->attention_backward(call); });
}

void OperatorProfile::language_model_head(const LanguageModelHead& call) {
  const int products = 1 + (call.dx ? 1 : 0) + (call.d_table != nullptr ? 1 : 0);
  timed({"languageModelHead", call.table.cols, call.table.rows, false},
        products * product(rows_of(call.rows), call.table.cols, call.table.rows),
        [&] { inner_->language_model_head(call); });
}

void OperatorProfile::upload(void* device, const void* host, size_t bytes) {
  timed({"upload", 0, 0, false}, 0, [&] { inner_->upload(device, host, bytes); });
}
void OperatorProfile::download(void* host, const void* device, size_t bytes) {
  timed({"download", 0, 0, false}, 0, [&] { inner_->download(host, device, bytes); });
}
void OperatorProfile::copy(void* to, const void* from, size_t bytes) {
  timed({"copy", 0, 0, false}, 0, [&] { inner_->copy(to, from, bytes); });
}
void OperatorProfile::zero(void* device, size_t bytes) {
  timed({"zero", 0, 0, false}, 0, [&] { inner_->zero(device, bytes); });
}
void OperatorProfile::refresh_parameters(const float* masters) {
  timed({"refreshParameters", 0, 0, false}, 0, [&] { inner_->refresh_parameters(masters); });
}

// The others have no matrix product.
#define ELECTRA_TIMED(method, Arguments, name)                           \
  void OperatorProfile::method(const Arguments& call) {                  \
    timed({name, 0, 0, false}, 0, [&] { inner_->method(call); });        \
  }
ELECTRA_TIMED(embedding_forward, EmbeddingForward, "embedding")
ELECTRA_TIMED(embedding_backward, EmbeddingBackward, "embeddingBackward")
ELECTRA_TIMED(activation_forward, ActivationForward, "activation")
ELECTRA_TIMED(activation_backward, ActivationBackward, "activationBackward")
ELECTRA_TIMED(layer_norm_forward, LayerNormForward, "layerNorm")
ELECTRA_TIMED(layer_norm_backward, LayerNormBackward, "layerNormBackward")
ELECTRA_TIMED(dropout_residual_norm_forward, DropoutResidualNormForward, "dropoutResidualLayerNorm")
ELECTRA_TIMED(dropout_residual_norm_backward, DropoutResidualNormBackward, "dropoutResidualLayerNormBackward")
ELECTRA_TIMED(dropout, DropoutApply, "dropout")
ELECTRA_TIMED(attention_probabilities, AttentionProbabilities, "attentionProbabilities")
ELECTRA_TIMED(gather_rows, GatherRows, "gatherRows")
ELECTRA_TIMED(scatter_add_rows, ScatterAddRows, "scatterAddRows")
ELECTRA_TIMED(tower_concat, TowerConcat, "towerConcat")
ELECTRA_TIMED(tower_concat_backward, TowerConcatBackward, "towerConcatBackward")
ELECTRA_TIMED(add_rows, AddRows, "addRows")
ELECTRA_TIMED(mask_tokens, MaskTokens, "maskTokens")
ELECTRA_TIMED(replace_tokens, ReplaceTokens, "replaceTokens")
ELECTRA_TIMED(sample_uniform, SampleUniform, "sampleUniform")
ELECTRA_TIMED(binary_cross_entropy, BinaryCrossEntropy, "binaryCrossEntropy")
ELECTRA_TIMED(class_cross_entropy, ClassCrossEntropy, "classCrossEntropy")
ELECTRA_TIMED(mean_squared_error, MeanSquaredError, "meanSquaredError")
ELECTRA_TIMED(multi_label_cross_entropy, MultiLabelCrossEntropy, "multiLabelCrossEntropy")
ELECTRA_TIMED(ragged_softmax, RaggedSoftmax, "raggedSoftmax")
ELECTRA_TIMED(ragged_softmax_backward, RaggedSoftmaxBackward, "raggedSoftmaxBackward")
ELECTRA_TIMED(ragged_cross_entropy, RaggedCrossEntropy, "raggedCrossEntropy")
ELECTRA_TIMED(ragged_top_k, RaggedTopK, "raggedTopK")
ELECTRA_TIMED(ragged_weighted_sum, RaggedWeightedSum, "raggedWeightedSum")
ELECTRA_TIMED(ragged_weighted_sum_backward, RaggedWeightedSumBackward, "raggedWeightedSumBackward")
ELECTRA_TIMED(broadcast_rows, BroadcastRows, "broadcastRows")
ELECTRA_TIMED(gradient_norm, GradientNorm, "gradientNorm")
ELECTRA_TIMED(clip_factor, ClipFactor, "clipFactor")
ELECTRA_TIMED(adam_update, AdamUpdate, "adam")
#undef ELECTRA_TIMED

}  // namespace electra::addon
