// LayerNorm, dropout + residual + LayerNorm, embeddings.

#include <algorithm>

#include "kernel_call.h"

namespace electra::addon {
namespace {

Capacity norm_capacity(const Rows& rows, int64_t width) {
  Capacity capacity;
  capacity.tokens = rows.tokens.capacity;
  capacity.batch = rows.batch;
  capacity.pitch = rows.pitch;
  capacity.max_width = static_cast<int32_t>(width);
  return capacity;
}

void layer_norm(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), width = call.count("width");
  LayerNormForward forward;
  forward.tokens.capacity = tokens;
  forward.x = call.matrix("x", tokens, width);
  forward.gamma = call.floats("gamma", width);
  forward.beta = call.floats("beta", width);
  forward.y = call.result_matrix("y", tokens, width);
  forward.normalized = call.result_matrix("normalized", tokens, width);
  forward.rstd = call.result("rstd", {tokens});
  Rows rows;
  rows.tokens.capacity = tokens;
  context.reserve(norm_capacity(rows, width));
  call.run([&] { context.operators.layer_norm_forward(forward); });
}

void layer_norm_backward(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), width = call.count("width");
  LayerNormBackward backward;
  backward.tokens.capacity = tokens;
  backward.dy = call.matrix("dy", tokens, width);
  backward.gamma = call.floats("gamma", width);
  backward.normalized = call.matrix("normalized", tokens, width);
  backward.rstd = call.floats("rstd", tokens);
  backward.dx = call.result_matrix("dx", tokens, width);
  backward.d_gamma = call.result("dGamma", {width}, true);
  backward.d_beta = call.result("dBeta", {width}, true);
  Rows rows;
  rows.tokens.capacity = tokens;
  context.reserve(norm_capacity(rows, width));
  call.run([&] { context.operators.layer_norm_backward(backward); });
}

void dropout_residual_layer_norm(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const int64_t tokens = rows.tokens(), width = call.count("width");
  DropoutResidualNormForward forward;
  forward.rows = rows.rows;
  forward.x = call.matrix("x", tokens, width);
  forward.bias = call.floats_or_null("bias", width);
  forward.residual = call.matrix("residual", tokens, width);
  forward.dropout = kernel_dropout(call);
  forward.gamma = call.floats("gamma", width);
  forward.beta = call.floats("beta", width);
  forward.y = call.result_matrix("y", tokens, width);
  forward.normalized = call.result_matrix("normalized", tokens, width);
  forward.rstd = call.result("rstd", {tokens});
  context.reserve(norm_capacity(rows.rows, width));
  call.run([&] { context.operators.dropout_residual_norm_forward(forward); });
}

void dropout_residual_layer_norm_backward(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const int64_t tokens = rows.tokens(), width = call.count("width");
  DropoutResidualNormBackward backward;
  backward.rows = rows.rows;
  backward.dy = call.matrix("dy", tokens, width);
  backward.dropout = kernel_dropout(call);
  backward.gamma = call.floats("gamma", width);
  backward.normalized = call.matrix("normalized", tokens, width);
  backward.rstd = call.floats("rstd", tokens);
  backward.d_residual = call.result_matrix("dResidual", tokens, width);
  backward.dx = call.result_matrix("dx", tokens, width);
  backward.d_bias = call.result("dBias", {width}, true);
  backward.d_gamma = call.result("dGamma", {width}, true);
  backward.d_beta = call.result("dBeta", {width}, true);
  context.reserve(norm_capacity(rows.rows, width));
  call.run([&] { context.operators.dropout_residual_norm_backward(backward); });
}

struct EmbeddingShape {
  explicit EmbeddingShape(const KernelCall& call)
      : width(call.count("width")),
        vocabulary(call.count("vocabulary")),
        types(call.count("types")),
        positions(call.count("positions")) {}
  int64_t width, vocabulary, types, positions;

  Capacity capacity(const Rows& rows) const {
    Capacity capacity = norm_capacity(rows, width);
    capacity.vocabulary = static_cast<int32_t>(vocabulary);
    return capacity;
  }
  void check(const Rows& rows, const int32_t* ids, const int32_t* segments) const {
    ELECTRA_CHECK_SHAPE(rows.tokens.capacity == 0 || rows.pitch <= positions,
                        "pitch is %d; the position table has %lld rows", rows.pitch,
                        static_cast<long long>(positions));
    for (int64_t t = 0; t < rows.tokens.capacity; ++t) {
      if (ids[t] < 0 || ids[t] >= vocabulary)
        throw EngineError("ERR_ELECTRA_ARGUMENT", "ids[%lld] is %d; the vocabulary has %lld entries",
                          static_cast<long long>(t), ids[t], static_cast<long long>(vocabulary));
      if (segments[t] < 0 || segments[t] >= types)
        throw EngineError("ERR_ELECTRA_ARGUMENT", "segments[%lld] is %d; there are %lld types",
                          static_cast<long long>(t), segments[t], static_cast<long long>(types));
    }
  }
};

void embedding(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const EmbeddingShape shape(call);
  const int64_t tokens = rows.tokens();
  EmbeddingForward forward;
  forward.rows = rows.rows;
  forward.ids = call.integers("ids", tokens);
  forward.segments = call.integers("segments", tokens);
  shape.check(rows.rows, call.host_integers("ids", tokens), call.host_integers("segments", tokens));
  forward.word = call.floats("word", shape.vocabulary * shape.width);
  forward.token_type = call.floats("tokenType", shape.types * shape.width);
  forward.position = call.floats("position", shape.positions * shape.width);
  forward.gamma = call.floats("gamma", shape.width);
  forward.beta = call.floats("beta", shape.width);
  forward.dropout = kernel_dropout(call);
  forward.y = call.result_matrix("y", tokens, shape.width);
  forward.normalized = call.result_matrix("normalized", tokens, shape.width);
  forward.rstd = call.result("rstd", {tokens});
  context.reserve(shape.capacity(rows.rows));
  call.run([&] { context.operators.embedding_forward(forward); });
}

void embedding_backward(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const EmbeddingShape shape(call);
  const int64_t tokens = rows.tokens();
  EmbeddingBackward backward;
  backward.rows = rows.rows;
  backward.ids = call.integers("ids", tokens);
  backward.segments = call.integers("segments", tokens);
  shape.check(rows.rows, call.host_integers("ids", tokens), call.host_integers("segments", tokens));
  backward.gamma = call.floats("gamma", shape.width);
  backward.dropout = kernel_dropout(call);
  backward.dy = call.matrix("dy", tokens, shape.width);
  backward.normalized = call.matrix("normalized", tokens, shape.width);
  backward.rstd = call.floats("rstd", tokens);
  backward.scratch = call.scratch_matrix(tokens, shape.width);
  backward.d_word = call.result("dWord", {shape.vocabulary, shape.width}, true);
  backward.d_token_type = call.result("dTokenType", {shape.types, shape.width}, true);
  backward.d_position = call.result("dPosition", {shape.positions, shape.width}, true);
  backward.d_gamma = call.result("dGamma", {shape.width}, true);
  backward.d_beta = call.result("dBeta", {shape.width}, true);
  context.reserve(shape.capacity(rows.rows));
  call.run([&] { context.operators.embedding_backward(backward); });
}

}  // namespace

void add_norm_kernels(KernelFunctions& functions) {
  functions["layerNorm"] = layer_norm;
  functions["layerNormBackward"] = layer_norm_backward;
  functions["dropoutResidualLayerNorm"] = dropout_residual_layer_norm;
  functions["dropoutResidualLayerNormBackward"] = dropout_residual_layer_norm_backward;
  functions["embedding"] = embedding;
  functions["embeddingBackward"] = embedding_backward;
}

}  // namespace electra::addon
