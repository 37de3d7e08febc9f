#pragma once
// A linear layer of the model: its two variables, and the three operators around it.

#include <string>

#include "step_context.h"

namespace electra {

struct Linear {
  int kernel = -1;  ///< index of the variable [in, out]
  int bias = -1;    ///< index of the variable [out]
  int64_t in = 0;
  int64_t out = 0;        ///< 3 h for query, key and value together
  int64_t first_row = 0;  ///< of the kernel: another layer may read the rows before (input_rows)
};

/// Registers `scope`/kernel and `scope`/bias.
Linear add_linear(ParameterTable& table, const std::string& scope, int64_t in, int64_t out,
                  Initializer initializer, float range);
/// Registers query, key and value under `scope` as one layer.
Linear add_query_key_value(ParameterTable& table, const std::string& scope, int64_t hidden, float range);

/// The part of a layer that reads `count` of its inputs from `first`: [a ; b] · W = a · W₁ + b · W₂. The bias
/// stays with the whole.
Linear input_rows(const Linear& linear, int64_t first, int64_t count);

Weight weight_of(const Parameters& parameters, const Linear& linear);

enum class UseBias { kYes, kNo };

/// y = activation(x · W + b). Without the bias where a later operator adds it.
void forward(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& x, const Tensor& y,
             UseBias bias = UseBias::kYes, Activation activation = Activation::kIdentity,
             const Tensor& aux = Tensor());
/// Adds the gradients of W and, unless another operator has done so, of b.
void backward_weight(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& x,
                     const Tensor& dy, UseBias bias);
/// dx = or += dy · Wᵀ.
void backward_data(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& dy,
                   const Tensor& dx, Into into = Into::kWrite);
/// dx = (dy · Wᵀ) ⊙ activation'(aux), the gradient at the pre-activation of `before`, the layer that made x;
/// adds the gradient of that layer's bias.
void backward_data_through(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& dy,
                           const Tensor& dx, Activation activation, const Tensor& aux, const Linear& before);

}  // namespace electra
