#include "heads.h"

namespace electra {

TokenPredictionHead::TokenPredictionHead(ParameterTable& table, const std::string& scope, int64_t in, int table_index,
                                         int64_t table_width, int64_t vocabulary, const TransformerConfig& config)
    : table_(table_index), in_(in), width_(table_width), act_(config.hidden_act) {
  const float range = config.initializer_range;
  dense_ = table.add(scope + "/dense/kernel", {in, table_width}, Initializer::kTruncatedNormal, range);
  dense_bias_ = table.add(scope + "/dense/bias", {table_width}, Initializer::kZeros, range);
  beta_ = table.add(scope + "/LayerNorm/beta", {table_width}, Initializer::kZeros, range);
  gamma_ = table.add(scope + "/LayerNorm/gamma", {table_width}, Initializer::kOnes, range);
  output_bias_ = table.add(scope + "/output_bias", {vocabulary}, Initializer::kZeros, range);
}

void TokenPredictionHead::bind(Parameters& parameters) const {
  parameters.weight(dense_);
  parameters.weight(table_);
}

void TokenPredictionHead::plan(Arena& arena, int64_t rows, bool training, Activations& a) const {
  a = Activations{};
  a.rows = arena.tensor(rows, in_);
  a.dense = arena.tensor(rows, width_);
  a.y = arena.tensor(rows, width_);
  if (training) {
    a.dense_aux = arena.tensor(rows, width_);
    a.normalized = arena.tensor(rows, width_);
    a.rstd = arena.take<float>(rows);
    a.d_dense = arena.tensor(rows, width_);
    a.d_rows = arena.tensor(rows, in_);
  }
}

void TokenPredictionHead::forward(const StepContext& c, Extent rows, Activations& a) const {
  LinearForward dense;
  dense.tokens = rows;
  dense.x = a.rows;
  dense.weight = c.parameters.weight(dense_);
  dense.bias = c.parameters.value(dense_bias_);
  dense.activation = act_;
  dense.y = a.dense;
  dense.aux = a.dense_aux;
  c.operators.linear_forward(dense);
  LayerNormForward norm;
  norm.tokens = rows;
  norm.x = a.dense;
  norm.gamma = c.parameters.value(gamma_);
  norm.beta = c.parameters.value(beta_);
  norm.y = a.y;
  norm.normalized = a.normalized;
  norm.rstd = a.rstd;
  c.operators.layer_norm_forward(norm);
}

LanguageModelHead TokenPredictionHead::language_model(const StepContext& c, Extent rows, const Activations& a,
                                                      bool backward) const {
  LanguageModelHead head;
  head.rows = rows;
  head.x = a.y;
  head.table = c.parameters.weight(table_);
  head.bias = c.parameters.value(output_bias_);
  if (backward) {
    head.dx = a.d_dense;
    head.d_table = c.parameters.gradient(table_);
    head.d_bias = c.parameters.gradient(output_bias_);
  }
  return head;
}

void TokenPredictionHead::backward(const StepContext& c, Extent rows, Activations& a) const {
  LayerNormBackward norm;
  norm.tokens = rows;
  norm.dy = a.d_dense;
  norm.gamma = c.parameters.value(gamma_);
  norm.normalized = a.normalized;
  norm.rstd = a.rstd;
  norm.dx = a.d_dense;
  norm.d_gamma = c.parameters.gradient(gamma_);
  norm.d_beta = c.parameters.gradient(beta_);
  c.operators.layer_norm_backward(norm);
  ActivationBackward activation;
  activation.tokens = rows;
  activation.activation = act_;
  activation.dy = a.d_dense;
  activation.aux = a.dense_aux;
  activation.dx = a.d_dense;
  c.operators.activation_backward(activation);
  LinearBackwardWeight weight;
  weight.tokens = rows;
  weight.x = a.rows;
  weight.dy = a.d_dense;
  weight.d_weight = c.parameters.gradient(dense_);
  weight.d_weight_stride = width_;
  weight.d_bias = c.parameters.gradient(dense_bias_);
  c.operators.linear_backward_weight(weight);
  LinearBackwardData data;
  data.tokens = rows;
  data.dy = a.d_dense;
  data.weight = c.parameters.weight(dense_);
  data.dx = a.d_rows;
  c.operators.linear_backward_data(data);
}

DiscriminatorHead::DiscriminatorHead(ParameterTable& table, const TransformerConfig& config)
    : hidden_(config.hidden_size), act_(config.hidden_act) {
  const std::string scope = "discriminator_predictions";
  const float range = config.initializer_range;
  dense_ = table.add(scope + "/dense/kernel", {hidden_, hidden_}, Initializer::kTruncatedNormal, range);
  dense_bias_ = table.add(scope + "/dense/bias", {hidden_}, Initializer::kZeros, range);
  logit_ = table.add(scope + "/dense_1/kernel", {hidden_, 1}, Initializer::kGlorotUniform, range);
  logit_bias_ = table.add(scope + "/dense_1/bias", {1}, Initializer::kZeros, range);
}

void DiscriminatorHead::bind(Parameters& parameters) const {
  parameters.weight(dense_);
  parameters.weight(logit_);
}

void DiscriminatorHead::plan(Arena& arena, int64_t tokens, bool training, Activations& a) const {
  a = Activations{};
  a.dense = arena.tensor(tokens, hidden_);
  a.logits = arena.tensor(tokens, 1);
  if (training) {
    a.dense_aux = arena.tensor(tokens, hidden_);
    a.d_logits = arena.tensor(tokens, 1);
    a.d_dense = arena.tensor(tokens, hidden_);
  }
}

void DiscriminatorHead::forward(const StepContext& c, const Tensor& hidden, Activations& a) const {
  LinearForward dense;
  dense.tokens = c.rows.tokens;
  dense.x = hidden;
  dense.weight = c.parameters.weight(dense_);
  dense.bias = c.parameters.value(dense_bias_);
  dense.activation = act_;
  dense.y = a.dense;
  dense.aux = a.dense_aux;
  c.operators.linear_forward(dense);
  LinearForward logit;
  logit.tokens = c.rows.tokens;
  logit.x = a.dense;
  logit.weight = c.parameters.weight(logit_);
  logit.bias = c.parameters.value(logit_bias_);
  logit.y = a.logits;
  c.operators.linear_forward(logit);
}

void DiscriminatorHead::backward(const StepContext& c, const Tensor& hidden, Activations& a,
                                 const Tensor& d_hidden) const {
  LinearBackwardWeight weight;
  weight.tokens = c.rows.tokens;
  weight.x = a.dense;
  weight.dy = a.d_logits;
  weight.d_weight = c.parameters.gradient(logit_);
  weight.d_weight_stride = 1;
  weight.d_bias = c.parameters.gradient(logit_bias_);
  c.operators.linear_backward_weight(weight);
  LinearBackwardData data;
  data.tokens = c.rows.tokens;
  data.dy = a.d_logits;
  data.weight = c.parameters.weight(logit_);
  data.activation = act_;
  data.aux = a.dense_aux;
  data.dx = a.d_dense;
  data.d_bias_of_input = c.parameters.gradient(dense_bias_);
  c.operators.linear_backward_data(data);
  weight.x = hidden;
  weight.dy = a.d_dense;
  weight.d_weight = c.parameters.gradient(dense_);
  weight.d_weight_stride = hidden_;
  weight.d_bias = nullptr;
  c.operators.linear_backward_weight(weight);
  LinearBackwardData into;
  into.tokens = c.rows.tokens;
  into.dy = a.d_dense;
  into.weight = c.parameters.weight(dense_);
  into.dx = d_hidden;
  c.operators.linear_backward_data(into);
}

}  // namespace electra
