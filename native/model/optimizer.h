#pragma once
// The update that ends a step: norm of the gradient, clipping, Adam (model/parameters.h holds what it works
// on).

#include <string>

#include "parameters.h"

namespace electra {

struct OptimizerOptions {
  float learning_rate = 0;
  float max_gradient_norm = 1;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-6;
};

struct OptimizerResult {
  double gradient_norm = 0;  ///< before clipping
  bool finite = true;
  std::string nonfinite_parameter;  ///< first variable whose gradient is NaN or Inf; nothing was updated then
};

class Optimizer {
 public:
  /// Both must outlive the optimizer.
  Optimizer(Operators& operators, Parameters& parameters);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Norm, clip, Adam, with the learning rate in `scalars` (device memory), which also receive the results.
  void enqueue(const OptimizerOptions& options, StepScalars* scalars) const;
  /// Downloads what the update left in `scalars`; waits for the device.
  OptimizerResult fetch(const StepScalars* scalars) const;

 private:
  Operators& operators_;
  Parameters& parameters_;
  int64_t partial_count_;
  double* partials_;
};

}  // namespace electra
