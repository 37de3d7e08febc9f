// Attention.

#include <string>

#include "kernel_call.h"

namespace electra::addon {
namespace {

AttentionMask mask_of(const KernelCall& call) {
  const std::string name = call.text("mask", "full");
  if (name == "full") return AttentionMask::kFull;
  if (name == "left_to_right") return AttentionMask::kLeftToRight;
  if (name == "right_to_left") return AttentionMask::kRightToLeft;
  throw EngineError("ERR_ELECTRA_ARGUMENT", "mask is \"%s\"; it must be full, left_to_right or right_to_left",
                    name.c_str());
}

struct AttentionShape {
  explicit AttentionShape(const KernelCall& call) : heads(call.count("heads")), width(call.count("width")) {
    ELECTRA_CHECK_SHAPE(heads > 0 && width % heads == 0, "width %lld is not a multiple of %lld heads",
                        static_cast<long long>(width), static_cast<long long>(heads));
  }
  int64_t heads, width;

  Capacity capacity(const Rows& rows) const {
    Capacity capacity;
    capacity.tokens = rows.tokens.capacity;
    capacity.batch = rows.batch;
    capacity.pitch = rows.pitch;
    capacity.max_width = static_cast<int32_t>(3 * width);
    capacity.max_heads = static_cast<int32_t>(heads);
    return capacity;
  }
};

void attention(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const AttentionShape shape(call);
  AttentionForward forward;
  forward.rows = rows.rows;
  forward.heads = static_cast<int32_t>(shape.heads);
  forward.mask = mask_of(call);
  forward.dropout = kernel_dropout(call);
  forward.qkv = call.matrix("qkv", rows.tokens(), 3 * shape.width);
  forward.context = call.result_matrix("context", rows.tokens(), shape.width);
  forward.log_sum_exp = call.result("logSumExp", {rows.tokens(), shape.heads});
  context.reserve(shape.capacity(rows.rows));
  call.run([&] { context.operators.attention_forward(forward); });
}

void attention_backward(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const AttentionShape shape(call);
  AttentionBackward backward;
  backward.rows = rows.rows;
  backward.heads = static_cast<int32_t>(shape.heads);
  backward.mask = mask_of(call);
  backward.dropout = kernel_dropout(call);
  backward.qkv = call.matrix("qkv", rows.tokens(), 3 * shape.width);
  backward.context = call.matrix("context", rows.tokens(), shape.width);
  backward.log_sum_exp = call.floats("logSumExp", rows.tokens() * shape.heads);
  backward.d_context = call.matrix("dContext", rows.tokens(), shape.width);
  backward.d_qkv = call.result_matrix("dQkv", rows.tokens(), 3 * shape.width);
  context.reserve(shape.capacity(rows.rows));
  call.run([&] { context.operators.attention_backward(backward); });
}

void attention_probabilities(KernelContext& context, KernelCall& call) {
  const KernelRows rows(call);
  const AttentionShape shape(call);
  AttentionProbabilities operation;
  operation.rows = rows.rows;
  operation.heads = static_cast<int32_t>(shape.heads);
  operation.mask = mask_of(call);
  operation.qkv = call.matrix("qkv", rows.tokens(), 3 * shape.width);
  operation.probabilities =
      call.result("probabilities", {rows.rows.batch, shape.heads, rows.rows.pitch, rows.rows.pitch});
  context.reserve(shape.capacity(rows.rows));
  call.run([&] { context.operators.attention_probabilities(operation); });
}

}  // namespace

void add_attention_kernels(KernelFunctions& functions) {
  functions["attention"] = attention;
  functions["attentionBackward"] = attention_backward;
  functions["attentionProbabilities"] = attention_probabilities;
}

}  // namespace electra::addon
