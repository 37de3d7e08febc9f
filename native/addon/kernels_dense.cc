// Matrix products, linear layers, activations.

#include <algorithm>
#include <cstring>

#include "kernel_call.h"

namespace electra::addon {
namespace {

Capacity dense_capacity(int64_t tokens, int64_t in, int64_t out) {
  Capacity capacity;
  capacity.tokens = tokens;
  capacity.max_width = static_cast<int32_t>(std::max(in, out));
  return capacity;
}

/// c = alpha · op(a) · op(b) + beta · c on one thread: what the operators build on.
void gemm(KernelContext& context, KernelCall& call) {
  if (context.gemm == nullptr)
    throw EngineError("ERR_ELECTRA_ARGUMENT",
                      "gemm is a product on one thread of the CPU, which %s is not\n"
                      "linear is the product that every device has.",
                      context.operators.info().device);
  const int64_t m = call.count("m"), n = call.count("n"), k = call.count("k");
  const bool transpose_a = call.flag("transposeA"), transpose_b = call.flag("transposeB");
  const float alpha = call.real("alpha", 1), beta = call.real("beta", 0);
  const float* a = call.floats("a", m * k);
  const float* b = call.floats("b", k * n);
  const float* start = call.floats_or_null("c", m * n);
  float* c = call.result("c", {m, n});
  call.run(
      [&] {
        context.gemm->multiply(transpose_a, transpose_b, m, n, k, alpha, a, transpose_a ? m : k, b,
                               transpose_b ? k : n, beta, c, n);
      },
      [&] {
        if (start != nullptr) std::memcpy(c, start, static_cast<size_t>(m * n) * sizeof(float));
      });
}

void linear(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), in = call.count("in"), out = call.count("out");
  LinearForward forward;
  forward.tokens.capacity = tokens;
  forward.x = call.matrix("x", tokens, in);
  forward.weight = call.weight("weight", in, out);
  forward.bias = call.floats_or_null("bias", out);
  forward.activation = kernel_activation(call);
  forward.y = call.result_matrix("y", tokens, out);
  if (forward.activation != Activation::kIdentity) forward.aux = call.result_matrix("aux", tokens, out);
  context.reserve(dense_capacity(tokens, in, out));
  call.run([&] { context.operators.linear_forward(forward); });
}

void linear_backward_data(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), in = call.count("in"), out = call.count("out");
  LinearBackwardData backward;
  backward.tokens.capacity = tokens;
  backward.dy = call.matrix("dy", tokens, out);
  backward.weight = call.weight("weight", in, out);
  backward.activation = kernel_activation(call);
  if (backward.activation != Activation::kIdentity) backward.aux = call.matrix("aux", tokens, in);
  backward.dx = call.result_matrix("dx", tokens, in);
  backward.d_bias_of_input = call.result("dBiasOfInput", {in}, true);
  context.reserve(dense_capacity(tokens, in, out));
  call.run([&] { context.operators.linear_backward_data(backward); });
}

void linear_backward_weight(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), in = call.count("in"), out = call.count("out");
  LinearBackwardWeight backward;
  backward.tokens.capacity = tokens;
  backward.x = call.matrix("x", tokens, in);
  backward.dy = call.matrix("dy", tokens, out);
  backward.d_weight = call.result("dWeight", {in, out}, true);
  backward.d_weight_stride = out;
  backward.d_bias = call.result("dBias", {out}, true);
  context.reserve(dense_capacity(tokens, in, out));
  call.run([&] { context.operators.linear_backward_weight(backward); });
}

void activation(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), width = call.count("width");
  ActivationForward forward;
  forward.tokens.capacity = tokens;
  forward.activation = kernel_activation(call);
  forward.x = call.matrix("x", tokens, width);
  forward.y = call.result_matrix("y", tokens, width);
  forward.aux = call.result_matrix("aux", tokens, width);
  context.reserve(dense_capacity(tokens, width, width));
  call.run([&] { context.operators.activation_forward(forward); });
}

void activation_backward(KernelContext& context, KernelCall& call) {
  const int64_t tokens = call.count("tokens"), width = call.count("width");
  ActivationBackward backward;
  backward.tokens.capacity = tokens;
  backward.activation = kernel_activation(call);
  backward.dy = call.matrix("dy", tokens, width);
  backward.aux = call.matrix("aux", tokens, width);
  backward.dx = call.result_matrix("dx", tokens, width);
  context.reserve(dense_capacity(tokens, width, width));
  call.run([&] { context.operators.activation_backward(backward); });
}

}  // namespace

void add_dense_kernels(KernelFunctions& functions) {
  functions["gemm"] = gemm;
  functions["linear"] = linear;
  functions["linearBackwardData"] = linear_backward_data;
  functions["linearBackwardWeight"] = linear_backward_weight;
  functions["activation"] = activation;
  functions["activationBackward"] = activation_backward;
}

}  // namespace electra::addon
