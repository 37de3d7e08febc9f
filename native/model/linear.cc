#include "linear.h"

namespace electra {

Linear add_linear(ParameterTable& table, const std::string& scope, int64_t in, int64_t out,
                  Initializer initializer, float range) {
  Linear linear;
  linear.kernel = table.add(scope + "/kernel", {in, out}, initializer, range);
  linear.bias = table.add(scope + "/bias", {out}, Initializer::kZeros, range);
  linear.in = in;
  linear.out = out;
  return linear;
}

Linear add_query_key_value(ParameterTable& table, const std::string& scope, int64_t hidden, float range) {
  const ParameterTable::QueryKeyValue indices = table.add_query_key_value(scope, hidden, range);
  return Linear{indices.kernel, indices.bias, hidden, 3 * hidden, 0};
}

Linear input_rows(const Linear& linear, int64_t first, int64_t count) {
  Linear part = linear;
  part.first_row = linear.first_row + first;
  part.in = count;
  return part;
}

Weight weight_of(const Parameters& parameters, const Linear& linear) {
  Weight weight = parameters.weight(linear.kernel, linear.out);
  weight.master += linear.first_row * weight.stride;
  weight.rows = linear.in;
  return weight;
}

void forward(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& x, const Tensor& y,
             UseBias bias, Activation activation, const Tensor& aux) {
  LinearForward operation;
  operation.tokens = tokens;
  operation.x = x;
  operation.weight = weight_of(c.parameters, linear);
  operation.bias = bias == UseBias::kYes ? c.parameters.value(linear.bias) : nullptr;
  operation.activation = activation;
  operation.y = y;
  operation.aux = aux;
  c.operators.linear_forward(operation);
}

void backward_weight(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& x,
                     const Tensor& dy, UseBias bias) {
  LinearBackwardWeight operation;
  operation.tokens = tokens;
  operation.x = x;
  operation.dy = dy;
  operation.d_weight = c.parameters.gradient(linear.kernel) + linear.first_row * linear.out;
  operation.d_weight_stride = linear.out;
  operation.d_bias = bias == UseBias::kYes ? c.parameters.gradient(linear.bias) : nullptr;
  c.operators.linear_backward_weight(operation);
}

void backward_data(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& dy,
                   const Tensor& dx, Into into) {
  LinearBackwardData operation;
  operation.tokens = tokens;
  operation.dy = dy;
  operation.weight = weight_of(c.parameters, linear);
  operation.dx = dx;
  operation.into = into;
  c.operators.linear_backward_data(operation);
}

void backward_data_through(const StepContext& c, Extent tokens, const Linear& linear, const Tensor& dy,
                           const Tensor& dx, Activation activation, const Tensor& aux, const Linear& before) {
  LinearBackwardData operation;
  operation.tokens = tokens;
  operation.dy = dy;
  operation.weight = weight_of(c.parameters, linear);
  operation.activation = activation;
  operation.aux = aux;
  operation.dx = dx;
  operation.d_bias_of_input = c.parameters.gradient(before.bias);
  c.operators.linear_backward_data(operation);
}

}  // namespace electra
