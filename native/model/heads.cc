#include "heads.h"

namespace electra {

TokenPredictionHead::TokenPredictionHead(ParameterTable& table, const std::string& scope, int64_t in,
                                         int table_index, int64_t table_width, int64_t vocabulary,
                                         const TransformerConfig& config)
    : table_(table_index), act_(config.hidden_act) {
  const float range = config.initializer_range;
  dense_ = add_linear(table, scope + "/dense", in, table_width, Initializer::kTruncatedNormal, range);
  beta_ = table.add(scope + "/LayerNorm/beta", {table_width}, Initializer::kZeros, range);
  gamma_ = table.add(scope + "/LayerNorm/gamma", {table_width}, Initializer::kOnes, range);
  output_bias_ = table.add(scope + "/output_bias", {vocabulary}, Initializer::kZeros, range);
}

void TokenPredictionHead::plan(Arena& arena, int64_t rows, bool training, Activations& a) const {
  a = Activations{};
  a.rows = arena.tensor(rows, dense_.in);
  a.dense = arena.tensor(rows, dense_.out);
  a.y = arena.tensor(rows, dense_.out);
  if (training) {
    a.dense_aux = arena.tensor(rows, dense_.out);
    a.normalized = arena.tensor(rows, dense_.out);
    a.rstd = arena.take<float>(rows);
    a.d_dense = arena.tensor(rows, dense_.out);
    a.d_rows = arena.tensor(rows, dense_.in);
  }
}

void TokenPredictionHead::forward(const StepContext& c, Extent rows, Activations& a) const {
  electra::forward(c, rows, dense_, a.rows, a.dense, UseBias::kYes, act_, a.dense_aux);
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
  backward_weight(c, rows, dense_, a.rows, a.d_dense, UseBias::kYes);
  backward_data(c, rows, dense_, a.d_dense, a.d_rows);
}

DiscriminatorHead::DiscriminatorHead(ParameterTable& table, const TransformerConfig& config)
    : act_(config.hidden_act) {
  const std::string scope = "discriminator_predictions";
  const int64_t hidden = config.hidden_size;
  const float range = config.initializer_range;
  dense_ = add_linear(table, scope + "/dense", hidden, hidden, Initializer::kTruncatedNormal, range);
  logit_ = add_linear(table, scope + "/dense_1", hidden, 1, Initializer::kGlorotUniform, range);
}

void DiscriminatorHead::plan(Arena& arena, int64_t tokens, bool training, Activations& a) const {
  a = Activations{};
  a.dense = arena.tensor(tokens, dense_.out);
  a.logits = arena.tensor(tokens, 1, DType::kFloat32);
  if (training) {
    a.dense_aux = arena.tensor(tokens, dense_.out);
    a.d_logits = arena.tensor(tokens, 1, DType::kFloat32);
    a.d_dense = arena.tensor(tokens, dense_.out);
  }
}

void DiscriminatorHead::forward(const StepContext& c, const Tensor& hidden, Activations& a) const {
  electra::forward(c, c.rows.tokens, dense_, hidden, a.dense, UseBias::kYes, act_, a.dense_aux);
  electra::forward(c, c.rows.tokens, logit_, a.dense, a.logits);
}

void DiscriminatorHead::backward(const StepContext& c, const Tensor& hidden, Activations& a,
                                 const Tensor& d_hidden) const {
  const Extent tokens = c.rows.tokens;
  backward_weight(c, tokens, logit_, a.dense, a.d_logits, UseBias::kYes);
  backward_data_through(c, tokens, logit_, a.d_logits, a.d_dense, act_, a.dense_aux, dense_);
  backward_weight(c, tokens, dense_, hidden, a.d_dense, UseBias::kNo);
  backward_data(c, tokens, dense_, a.d_dense, d_hidden);
}

}  // namespace electra
