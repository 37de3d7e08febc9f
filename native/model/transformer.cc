#include "transformer.h"

namespace electra {

Transformer::Transformer(ParameterTable& table, std::string scope, const std::string& embedding_scope,
                         const TransformerConfig& config, AttentionMask mask)
    : scope_(std::move(scope)), config_(config), mask_(mask) {
  const int64_t h = config.hidden_size, e = config.embedding_size, i = config.intermediate_size;
  const float range = config.initializer_range;
  if (config.num_attention_heads <= 0 || h % config.num_attention_heads != 0)
    throw EngineError("ERR_ELECTRA_CONFIG", "%s: hidden_size %lld is not a multiple of num_attention_heads %d",
                      scope_.c_str(), static_cast<long long>(h), config.num_attention_heads);
  const auto add = [&table](const std::string& name, std::vector<int64_t> shape, Initializer initializer, float r) {
    const int known = table.find(name);
    return known >= 0 ? known : table.add(name, std::move(shape), initializer, r);
  };
  const std::string embeddings = embedding_scope + "/embeddings";
  word_ = add(embeddings + "/word_embeddings", {config.vocab_size, e}, Initializer::kTruncatedNormal, range);
  token_type_ =
      add(embeddings + "/token_type_embeddings", {config.type_vocab_size, e}, Initializer::kTruncatedNormal, range);
  position_ =
      add(embeddings + "/position_embeddings", {config.max_position_embeddings, e}, Initializer::kTruncatedNormal, range);
  embedding_beta_ = add(embeddings + "/LayerNorm/beta", {e}, Initializer::kZeros, range);
  embedding_gamma_ = add(embeddings + "/LayerNorm/gamma", {e}, Initializer::kOnes, range);
  if (e != h) {
    projection_ = table.add(scope_ + "/embeddings_project/kernel", {e, h}, Initializer::kGlorotUniform, range);
    projection_bias_ = table.add(scope_ + "/embeddings_project/bias", {h}, Initializer::kZeros, range);
  }
  for (int32_t n = 0; n < config.num_hidden_layers; ++n) {
    const std::string layer_scope = scope_ + "/encoder/layer_" + std::to_string(n);
    const auto linear = [&](const std::string& name, int64_t in, int64_t out, int& kernel, int& bias) {
      kernel = table.add(layer_scope + name + "/kernel", {in, out}, Initializer::kTruncatedNormal, range);
      bias = table.add(layer_scope + name + "/bias", {out}, Initializer::kZeros, range);
    };
    const auto norm = [&](const std::string& name, int& beta, int& gamma) {
      beta = table.add(layer_scope + name + "/LayerNorm/beta", {h}, Initializer::kZeros, range);
      gamma = table.add(layer_scope + name + "/LayerNorm/gamma", {h}, Initializer::kOnes, range);
    };
    Layer layer;
    const auto qkv = table.add_query_key_value(layer_scope + "/attention/self", h, range);
    layer.qkv = qkv.kernel;
    layer.qkv_bias = qkv.bias;
    linear("/attention/output/dense", h, h, layer.attention_output, layer.attention_output_bias);
    norm("/attention/output", layer.attention_beta, layer.attention_gamma);
    linear("/intermediate/dense", h, i, layer.intermediate, layer.intermediate_bias);
    linear("/output/dense", i, h, layer.output, layer.output_bias);
    norm("/output", layer.output_beta, layer.output_gamma);
    layers_.push_back(layer);
  }
}

void Transformer::bind(Parameters& parameters) const {
  if (projection_ >= 0) parameters.weight(projection_);
  for (const Layer& layer : layers_) {
    parameters.weight(layer.qkv, 3 * config_.hidden_size);
    parameters.weight(layer.attention_output);
    parameters.weight(layer.intermediate);
    parameters.weight(layer.output);
  }
}

void Transformer::plan(Arena& arena, int64_t tokens, bool training, TransformerActivations& a) const {
  const int64_t h = config_.hidden_size, e = config_.embedding_size, i = config_.intermediate_size;
  a = TransformerActivations{};
  a.embedded = arena.tensor(tokens, e);
  if (training) {
    a.embedded_normalized = arena.tensor(tokens, e);
    a.embedded_rstd = arena.take<float>(tokens);
  }
  if (projection_ >= 0) a.projected = arena.tensor(tokens, h);
  for (int32_t n = 0; n < config_.num_hidden_layers; ++n) {
    LayerActivations layer;
    if (!training && n > 0) {
      // Inference keeps nothing: every layer uses the first one's places. A layer may write its output over its input,
      // because the input is last read before the output is written.
      layer = a.layers[0];
    } else {
      layer.qkv = arena.tensor(tokens, 3 * h);
      layer.context = arena.tensor(tokens, h);
      layer.attended = arena.tensor(tokens, h);
      layer.intermediate = arena.tensor(tokens, i);
      layer.output = arena.tensor(tokens, h);
      if (training) {
        layer.log_sum_exp = arena.take<float>(tokens * config_.num_attention_heads);
        layer.attended_normalized = arena.tensor(tokens, h);
        layer.attended_rstd = arena.take<float>(tokens);
        layer.intermediate_aux = arena.tensor(tokens, i);
        layer.output_normalized = arena.tensor(tokens, h);
        layer.output_rstd = arena.take<float>(tokens);
      }
    }
    a.layers.push_back(layer);
  }
  a.product = arena.tensor(tokens, h);
  if (training) {
    a.d_hidden = arena.tensor(tokens, h);
    a.d_branch = arena.tensor(tokens, h);
    a.d_context = arena.tensor(tokens, h);
    a.d_qkv = arena.tensor(tokens, 3 * h);
    a.d_intermediate = arena.tensor(tokens, i);
    if (projection_ >= 0) a.d_embedded = arena.tensor(tokens, e);
    a.embedding_scratch = arena.tensor(tokens, e);
  }
}

void Transformer::forward(const StepContext& c, const int32_t* ids, Network network, TransformerActivations& a) const {
  a.ids = ids;
  EmbeddingForward embedding;
  embedding.rows = c.rows;
  embedding.ids = ids;
  embedding.segments = c.segments;
  embedding.word = c.parameters.value(word_);
  embedding.token_type = c.parameters.value(token_type_);
  embedding.position = c.parameters.value(position_);
  embedding.gamma = c.parameters.value(embedding_gamma_);
  embedding.beta = c.parameters.value(embedding_beta_);
  embedding.dropout = c.dropout(config_.hidden_dropout_prob, embedding_site(network));
  embedding.y = a.embedded;
  embedding.normalized = a.embedded_normalized;
  embedding.rstd = a.embedded_rstd;
  c.operators.embedding_forward(embedding);

  if (projection_ >= 0) {
    LinearForward projection;
    projection.tokens = c.rows.tokens;
    projection.x = a.embedded;
    projection.weight = c.parameters.weight(projection_);
    projection.bias = c.parameters.value(projection_bias_);
    projection.y = a.projected;
    c.operators.linear_forward(projection);
  }
  const std::string prefix = "hidden/" + scope_ + "/";
  if (c.wants(prefix + "embedding_output")) c.collect_tokens(prefix + "embedding_output", a.input());
  for (int n = 0; n < config_.num_hidden_layers; ++n) {
    c.check_abort();
    layer_forward(c, n, network, n == 0 ? a.input() : a.layers[static_cast<size_t>(n - 1)].output, a);
    const std::string name = prefix + "layer_" + std::to_string(n);
    if (c.wants(name)) c.collect_tokens(name, a.layers[static_cast<size_t>(n)].output);
  }
  if (c.wants(prefix + "sequence_output")) c.collect_tokens(prefix + "sequence_output", a.sequence_output());
}

void Transformer::layer_forward(const StepContext& c, int n, Network network, const Tensor& x,
                                TransformerActivations& a) const {
  const Layer& p = layers_[static_cast<size_t>(n)];
  const LayerActivations& layer = a.layers[static_cast<size_t>(n)];
  const Extent tokens = c.rows.tokens;

  LinearForward qkv;
  qkv.tokens = tokens;
  qkv.x = x;
  qkv.weight = c.parameters.weight(p.qkv, 3 * config_.hidden_size);
  qkv.bias = c.parameters.value(p.qkv_bias);
  qkv.y = layer.qkv;
  c.operators.linear_forward(qkv);

  AttentionForward attention;
  attention.rows = c.rows;
  attention.heads = config_.num_attention_heads;
  attention.mask = mask_;
  attention.dropout = c.dropout(config_.attention_probs_dropout_prob, attention_site(network, n));
  attention.qkv = layer.qkv;
  attention.context = layer.context;
  attention.log_sum_exp = layer.log_sum_exp;
  c.operators.attention_forward(attention);
  collect_attention(c, n, layer.qkv);

  LinearForward dense;
  dense.tokens = tokens;
  dense.x = layer.context;
  dense.weight = c.parameters.weight(p.attention_output);
  dense.y = a.product;
  c.operators.linear_forward(dense);

  DropoutResidualNormForward norm;
  norm.rows = c.rows;
  norm.x = a.product;
  norm.bias = c.parameters.value(p.attention_output_bias);
  norm.residual = x;
  norm.dropout = c.dropout(config_.hidden_dropout_prob, attention_output_site(network, n));
  norm.gamma = c.parameters.value(p.attention_gamma);
  norm.beta = c.parameters.value(p.attention_beta);
  norm.y = layer.attended;
  norm.normalized = layer.attended_normalized;
  norm.rstd = layer.attended_rstd;
  c.operators.dropout_residual_norm_forward(norm);

  LinearForward intermediate;
  intermediate.tokens = tokens;
  intermediate.x = layer.attended;
  intermediate.weight = c.parameters.weight(p.intermediate);
  intermediate.bias = c.parameters.value(p.intermediate_bias);
  intermediate.activation = config_.hidden_act;
  intermediate.y = layer.intermediate;
  intermediate.aux = layer.intermediate_aux;
  c.operators.linear_forward(intermediate);

  dense.x = layer.intermediate;
  dense.weight = c.parameters.weight(p.output);
  c.operators.linear_forward(dense);

  norm.bias = c.parameters.value(p.output_bias);
  norm.residual = layer.attended;
  norm.dropout = c.dropout(config_.hidden_dropout_prob, feed_forward_site(network, n));
  norm.gamma = c.parameters.value(p.output_gamma);
  norm.beta = c.parameters.value(p.output_beta);
  norm.y = layer.output;
  norm.normalized = layer.output_normalized;
  norm.rstd = layer.output_rstd;
  c.operators.dropout_residual_norm_forward(norm);
}

void Transformer::collect_attention(const StepContext& c, int n, const Tensor& qkv) const {
  const std::string name = "attention/" + scope_ + "/layer_" + std::to_string(n);
  if (!c.wants(name)) return;
  HostArray array;
  array.shape = {c.rows.batch, config_.num_attention_heads, c.rows.pitch, c.rows.pitch};
  array.f32.resize(static_cast<size_t>(int64_t{c.rows.batch} * config_.num_attention_heads * c.rows.pitch * c.rows.pitch));
  const size_t bytes = array.f32.size() * sizeof(float);
  // Inspection only: the one place outside reserve() that allocates on the device.
  float* device = static_cast<float*>(c.operators.allocate(bytes, "attention probabilities"));
  AttentionProbabilities probabilities;
  probabilities.rows = c.rows;
  probabilities.heads = config_.num_attention_heads;
  probabilities.mask = mask_;
  probabilities.qkv = qkv;
  probabilities.probabilities = device;
  c.operators.attention_probabilities(probabilities);
  c.operators.download(array.f32.data(), device, bytes);
  c.operators.release(device);
  c.outputs->arrays[name] = std::move(array);
}

void Transformer::backward(const StepContext& c, Network network, TransformerActivations& a) const {
  for (int n = config_.num_hidden_layers - 1; n >= 0; --n) {
    c.check_abort();
    layer_backward(c, n, network, n == 0 ? a.input() : a.layers[static_cast<size_t>(n - 1)].output, a);
  }
  Tensor d_embedded = a.d_hidden;
  if (projection_ >= 0) {
    LinearBackwardWeight weight;
    weight.tokens = c.rows.tokens;
    weight.x = a.embedded;
    weight.dy = a.d_hidden;
    weight.d_weight = c.parameters.gradient(projection_);
    weight.d_weight_stride = config_.hidden_size;
    weight.d_bias = c.parameters.gradient(projection_bias_);
    c.operators.linear_backward_weight(weight);
    LinearBackwardData data;
    data.tokens = c.rows.tokens;
    data.dy = a.d_hidden;
    data.weight = c.parameters.weight(projection_);
    data.dx = a.d_embedded;
    c.operators.linear_backward_data(data);
    d_embedded = a.d_embedded;
  }
  EmbeddingBackward embedding;
  embedding.rows = c.rows;
  embedding.ids = a.ids;
  embedding.segments = c.segments;
  embedding.gamma = c.parameters.value(embedding_gamma_);
  embedding.dropout = c.dropout(config_.hidden_dropout_prob, embedding_site(network));
  embedding.dy = d_embedded;
  embedding.normalized = a.embedded_normalized;
  embedding.rstd = a.embedded_rstd;
  embedding.scratch = a.embedding_scratch;
  embedding.d_word = c.parameters.gradient(word_);
  embedding.d_token_type = c.parameters.gradient(token_type_);
  embedding.d_position = c.parameters.gradient(position_);
  embedding.d_gamma = c.parameters.gradient(embedding_gamma_);
  embedding.d_beta = c.parameters.gradient(embedding_beta_);
  c.operators.embedding_backward(embedding);
}

// d_hidden holds the gradient of the layer's output on entry and of its input on return; on the way it is the residual
// stream's gradient, to which every branch adds.
void Transformer::layer_backward(const StepContext& c, int n, Network network, const Tensor& x,
                                 TransformerActivations& a) const {
  const Layer& p = layers_[static_cast<size_t>(n)];
  const LayerActivations& layer = a.layers[static_cast<size_t>(n)];
  const Extent tokens = c.rows.tokens;

  DropoutResidualNormBackward norm;
  norm.rows = c.rows;
  norm.dy = a.d_hidden;
  norm.dropout = c.dropout(config_.hidden_dropout_prob, feed_forward_site(network, n));
  norm.gamma = c.parameters.value(p.output_gamma);
  norm.normalized = layer.output_normalized;
  norm.rstd = layer.output_rstd;
  norm.d_residual = a.d_hidden;
  norm.dx = a.d_branch;
  norm.d_bias = c.parameters.gradient(p.output_bias);
  norm.d_gamma = c.parameters.gradient(p.output_gamma);
  norm.d_beta = c.parameters.gradient(p.output_beta);
  c.operators.dropout_residual_norm_backward(norm);

  LinearBackwardWeight weight;
  weight.tokens = tokens;
  weight.x = layer.intermediate;
  weight.dy = a.d_branch;
  weight.d_weight = c.parameters.gradient(p.output);
  weight.d_weight_stride = config_.hidden_size;
  c.operators.linear_backward_weight(weight);

  LinearBackwardData data;
  data.tokens = tokens;
  data.dy = a.d_branch;
  data.weight = c.parameters.weight(p.output);
  data.activation = config_.hidden_act;
  data.aux = layer.intermediate_aux;
  data.dx = a.d_intermediate;
  data.d_bias_of_input = c.parameters.gradient(p.intermediate_bias);
  c.operators.linear_backward_data(data);

  weight.x = layer.attended;
  weight.dy = a.d_intermediate;
  weight.d_weight = c.parameters.gradient(p.intermediate);
  weight.d_weight_stride = config_.intermediate_size;
  c.operators.linear_backward_weight(weight);

  LinearBackwardData into_residual;
  into_residual.tokens = tokens;
  into_residual.dy = a.d_intermediate;
  into_residual.weight = c.parameters.weight(p.intermediate);
  into_residual.dx = a.d_hidden;
  into_residual.into = Into::kAdd;
  c.operators.linear_backward_data(into_residual);

  norm.dropout = c.dropout(config_.hidden_dropout_prob, attention_output_site(network, n));
  norm.gamma = c.parameters.value(p.attention_gamma);
  norm.normalized = layer.attended_normalized;
  norm.rstd = layer.attended_rstd;
  norm.d_bias = c.parameters.gradient(p.attention_output_bias);
  norm.d_gamma = c.parameters.gradient(p.attention_gamma);
  norm.d_beta = c.parameters.gradient(p.attention_beta);
  c.operators.dropout_residual_norm_backward(norm);

  weight.x = layer.context;
  weight.dy = a.d_branch;
  weight.d_weight = c.parameters.gradient(p.attention_output);
  weight.d_weight_stride = config_.hidden_size;
  c.operators.linear_backward_weight(weight);

  LinearBackwardData to_context;
  to_context.tokens = tokens;
  to_context.dy = a.d_branch;
  to_context.weight = c.parameters.weight(p.attention_output);
  to_context.dx = a.d_context;
  c.operators.linear_backward_data(to_context);

  AttentionBackward attention;
  attention.rows = c.rows;
  attention.heads = config_.num_attention_heads;
  attention.mask = mask_;
  attention.dropout = c.dropout(config_.attention_probs_dropout_prob, attention_site(network, n));
  attention.qkv = layer.qkv;
  attention.context = layer.context;
  attention.log_sum_exp = layer.log_sum_exp;
  attention.d_context = a.d_context;
  attention.d_qkv = a.d_qkv;
  c.operators.attention_backward(attention);

  weight.x = x;
  weight.dy = a.d_qkv;
  weight.d_weight = c.parameters.gradient(p.qkv);
  weight.d_weight_stride = 3 * config_.hidden_size;
  weight.d_bias = c.parameters.gradient(p.qkv_bias);
  c.operators.linear_backward_weight(weight);

  into_residual.dy = a.d_qkv;
  into_residual.weight = c.parameters.weight(p.qkv, 3 * config_.hidden_size);
  c.operators.linear_backward_data(into_residual);
}

}  // namespace electra
