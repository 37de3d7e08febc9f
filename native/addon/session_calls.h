#pragma once
// What the sessions of all models read from JavaScript, and what they measure.

#include <napi.h>

#include <chrono>
#include <vector>

#include "../model/optimizer.h"
#include "../model/outputs.h"
#include "../model/token_stream.h"
#include "fields.h"

namespace electra::addon {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Rows, copied, so that the caller may refill its arrays at once.
struct RowsCopy {
  RowsCopy(const Fields& fields, HostBatch& batch);
  RowsCopy(const RowsCopy&) = delete;
  RowsCopy& operator=(const RowsCopy&) = delete;

 private:
  std::vector<int32_t> ids_, lengths_, segments_;
};

/// "value", "gradient", "adam_m" or "adam_v".
ParameterKind read_kind(Napi::Value value);
/// Names in options.outputs, if there are any.
void read_wanted(const Fields& fields, Outputs& outputs);
OptimizerOptions read_optimizer(Napi::Value value);
/// Throws ERR_ELECTRA_NOT_FINITE for an update that did not happen.
void require_finite(const OptimizerResult& result, unsigned step);

}  // namespace electra::addon
