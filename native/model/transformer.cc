#include "transformer.h"

namespace electra {

Transformer::Transformer(ParameterTable& table, std::string scope, const std::string& embedding_scope,
                         const TransformerConfig& config, AttentionMask mask)
    : scope_(std::move(scope)), config_(config), mask_(mask) {
  const int64_t h = config.hidden_size, e = config.embedding_size, i = config.intermediate_size;
  const float range = config.initializer_range;
  if (config.num_attention_heads <= 0 || h % config.num_attention_heads != 0)
    throw EngineError("ERR_ELECTRA_CONFIG",
                      "%s: hidden_size %lld is not a multiple of num_attention_heads %d", scope_.c_str(),
                      static_cast<long long>(h), config.num_attention_heads);
  const auto add = [&table](const std::string& name, std::vector<int64_t> shape, Initializer initializer,
                            float r) {
    const int known = table.find(name);
    return known >= 0 ? known : table.add(name, std::move(shape), initializer, r);
  };
  const std::string embeddings = embedding_scope + "/embeddings";
  word_ = add(embeddings + "/word_embeddings", {config.vocab_size, e}, Initializer::kTruncatedNormal, range);
  token_type_ = add(embeddings + "/token_type_embeddings", {config.type_vocab_size, e},
                    Initializer::kTruncatedNormal, range);
  position_ = add(embeddings + "/position_embeddings", {config.max_position_embeddings, e},
                  Initializer::kTruncatedNormal, range);
  embedding_beta_ = add(embeddings + "/LayerNorm/beta", {e}, Initializer::kZeros, range);
  embedding_gamma_ = add(embeddings + "/LayerNorm/gamma", {e}, Initializer::kOnes, range);
  if (e != h)
    projection_ = add_linear(table, scope_ + "/embeddings_project", e, h, Initializer::kGlorotUniform, range);
  for (int32_t n = 0; n < config.num_hidden_layers; ++n) {
    const std::string layer_scope = scope_ + "/encoder/layer_" + std::to_string(n);
    const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
      return add_linear(table, layer_scope + name, in, out, Initializer::kTruncatedNormal, range);
    };
    const auto norm = [&](const std::string& name) {
      Norm result;
      result.beta = table.add(layer_scope + name + "/LayerNorm/beta", {h}, Initializer::kZeros, range);
      result.gamma = table.add(layer_scope + name + "/LayerNorm/gamma", {h}, Initializer::kOnes, range);
      return result;
    };
    Layer layer;
    layer.query_key_value = add_query_key_value(table, layer_scope + "/attention/self", h, range);
    layer.attention_output = linear("/attention/output/dense", h, h);
    layer.attention_norm = norm("/attention/output");
    layer.intermediate = linear("/intermediate/dense", h, i);
    layer.output = linear("/output/dense", i, h);
    layer.output_norm = norm("/output");
    layers_.push_back(layer);
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
  if (projection_.kernel >= 0) a.projected = arena.tensor(tokens, h);
  for (int32_t n = 0; n < config_.num_hidden_layers; ++n) {
    LayerActivations layer;
    if (!training && n > 0) {
      // Inference keeps nothing: every layer uses the first one's places. A layer may write its output over
      // its input, because the input is last read before the output is written.
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
    if (projection_.kernel >= 0) a.d_embedded = arena.tensor(tokens, e);
    a.embedding_scratch = arena.tensor(tokens, e);
  }
}

void Transformer::forward(const StepContext& c, const int32_t* ids, Network network,
                          TransformerActivations& a) const {
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

  if (projection_.kernel >= 0) electra::forward(c, c.rows.tokens, projection_, a.embedded, a.projected);
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

DropoutResidualNormForward Transformer::close_half(const StepContext& c, const Linear& linear,
                                                   const Norm& norm, uint32_t site) const {
  DropoutResidualNormForward half;
  half.rows = c.rows;
  half.bias = c.parameters.value(linear.bias);
  half.dropout = c.dropout(config_.hidden_dropout_prob, site);
  half.gamma = c.parameters.value(norm.gamma);
  half.beta = c.parameters.value(norm.beta);
  return half;
}

void Transformer::layer_forward(const StepContext& c, int n, Network network, const Tensor& x,
                                TransformerActivations& a) const {
  const Layer& p = layers_[static_cast<size_t>(n)];
  const LayerActivations& layer = a.layers[static_cast<size_t>(n)];
  const Extent tokens = c.rows.tokens;

  electra::forward(c, tokens, p.query_key_value, x, layer.qkv);
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

  electra::forward(c, tokens, p.attention_output, layer.context, a.product, UseBias::kNo);
  DropoutResidualNormForward half =
      close_half(c, p.attention_output, p.attention_norm, attention_output_site(network, n));
  half.x = a.product;
  half.residual = x;
  half.y = layer.attended;
  half.normalized = layer.attended_normalized;
  half.rstd = layer.attended_rstd;
  c.operators.dropout_residual_norm_forward(half);

  electra::forward(c, tokens, p.intermediate, layer.attended, layer.intermediate, UseBias::kYes,
                   config_.hidden_act, layer.intermediate_aux);
  electra::forward(c, tokens, p.output, layer.intermediate, a.product, UseBias::kNo);
  half = close_half(c, p.output, p.output_norm, feed_forward_site(network, n));
  half.x = a.product;
  half.residual = layer.attended;
  half.y = layer.output;
  half.normalized = layer.output_normalized;
  half.rstd = layer.output_rstd;
  c.operators.dropout_residual_norm_forward(half);
}

void Transformer::collect_attention(const StepContext& c, int n, const Tensor& qkv) const {
  const std::string name = "attention/" + scope_ + "/layer_" + std::to_string(n);
  if (!c.wants(name)) return;
  HostArray array;
  array.shape = {c.rows.batch, config_.num_attention_heads, c.rows.pitch, c.rows.pitch};
  array.f32.resize(
      static_cast<size_t>(int64_t{c.rows.batch} * config_.num_attention_heads * c.rows.pitch * c.rows.pitch));
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
  if (projection_.kernel >= 0) {
    backward_weight(c, c.rows.tokens, projection_, a.embedded, a.d_hidden, UseBias::kYes);
    backward_data(c, c.rows.tokens, projection_, a.d_hidden, a.d_embedded);
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

DropoutResidualNormBackward Transformer::open_half(const StepContext& c, const Linear& linear,
                                                   const Norm& norm, uint32_t site,
                                                   const TransformerActivations& a) const {
  DropoutResidualNormBackward half;
  half.rows = c.rows;
  half.dy = a.d_hidden;
  half.dropout = c.dropout(config_.hidden_dropout_prob, site);
  half.gamma = c.parameters.value(norm.gamma);
  half.d_residual = a.d_hidden;
  half.dx = a.d_branch;
  half.d_bias = c.parameters.gradient(linear.bias);
  half.d_gamma = c.parameters.gradient(norm.gamma);
  half.d_beta = c.parameters.gradient(norm.beta);
  return half;
}

// d_hidden holds the gradient of the layer's output on entry and of its input on return; on the way it is the
// residual stream's gradient, to which every branch adds.
void Transformer::layer_backward(const StepContext& c, int n, Network network, const Tensor& x,
                                 TransformerActivations& a) const {
  const Layer& p = layers_[static_cast<size_t>(n)];
  const LayerActivations& layer = a.layers[static_cast<size_t>(n)];
  const Extent tokens = c.rows.tokens;

  DropoutResidualNormBackward half = open_half(c, p.output, p.output_norm, feed_forward_site(network, n), a);
  half.normalized = layer.output_normalized;
  half.rstd = layer.output_rstd;
  c.operators.dropout_residual_norm_backward(half);
  backward_weight(c, tokens, p.output, layer.intermediate, a.d_branch, UseBias::kNo);
  backward_data_through(c, tokens, p.output, a.d_branch, a.d_intermediate, config_.hidden_act,
                        layer.intermediate_aux, p.intermediate);
  backward_weight(c, tokens, p.intermediate, layer.attended, a.d_intermediate, UseBias::kNo);
  backward_data(c, tokens, p.intermediate, a.d_intermediate, a.d_hidden, Into::kAdd);

  half = open_half(c, p.attention_output, p.attention_norm, attention_output_site(network, n), a);
  half.normalized = layer.attended_normalized;
  half.rstd = layer.attended_rstd;
  c.operators.dropout_residual_norm_backward(half);
  backward_weight(c, tokens, p.attention_output, layer.context, a.d_branch, UseBias::kNo);
  backward_data(c, tokens, p.attention_output, a.d_branch, a.d_context);

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
  backward_weight(c, tokens, p.query_key_value, x, a.d_qkv, UseBias::kYes);
  backward_data(c, tokens, p.query_key_value, a.d_qkv, a.d_hidden, Into::kAdd);
}

}  // namespace electra
