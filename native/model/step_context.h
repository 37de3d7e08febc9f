#pragma once
// What every part of the network needs to know about the step it runs in.

#include <atomic>
#include <vector>

#include "arena.h"
#include "config.h"
#include "outputs.h"
#include "parameters.h"
#include "sites.h"

namespace electra {

/// `rows` rows of a tensor of either type, `stride` apart as on the device.
std::vector<float> download_floats(Operators& operators, const Tensor& tensor, int64_t rows);

struct StepContext {
  StepContext(Operators& ops, Parameters& params) : operators(ops), parameters(params) {}

  Operators& operators;
  Parameters& parameters;
  Rows rows;
  const int32_t* segments = nullptr;  ///< [T] token types
  const StepScalars* scalars = nullptr;
  bool training = false;  ///< dropout on, what backward needs is kept
  const std::atomic<bool>* abort = nullptr;
  Outputs* outputs = nullptr;             ///< null: nothing is collected
  const int32_t* host_offsets = nullptr;  ///< rows.offsets on the host, for unpacking
  int32_t length = 0;                     ///< L that results are unpacked to

  Dropout dropout(float p, uint32_t site) const {
    Dropout result;
    if (training) result = Dropout{p, site, scalars};
    return result;
  }
  bool wants(const std::string& name) const { return outputs != nullptr && outputs->wants(name); }
  void check_abort() const {
    if (abort != nullptr && abort->load(std::memory_order_relaxed))
      throw EngineError("ERR_ELECTRA_ABORTED", "the step was aborted; parameters are unchanged");
  }

  /// Stores a [T, h] tensor under `name` as [B, L, h] ([B, L] for h = 1), zeros at padding.
  void collect_tokens(const std::string& name, const Tensor& tensor) const;
  void collect_tokens(const std::string& name, const int32_t* values) const;
};

}  // namespace electra
