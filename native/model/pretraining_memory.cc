// What a model and its batches take of the device, before it is taken.

#include <algorithm>
#include <cstdio>
#include <string>

#include "pretraining_implementation.h"

namespace electra {
namespace {

std::string in_words(size_t bytes) {
  constexpr double kMebi = 1024.0 * 1024.0;
  char text[32];
  const double mebi = static_cast<double>(bytes) / kMebi;
  if (mebi < 1024)
    std::snprintf(text, sizeof(text), "%.1f MiB", mebi);
  else
    std::snprintf(text, sizeof(text), "%.2f GiB", mebi / 1024);
  return text;
}

/// What allocators add by rounding up and keeping books: a sixty-fourth is left alone.
size_t usable(size_t budget) { return budget - budget / 64; }

}  // namespace

PretrainingModel::Implementation::BatchBytes PretrainingModel::Implementation::batch_bytes(
    int32_t rows, bool training) const {
  if (rows <= 0) return {};
  BatchBytes bytes;
  Arena probe(operators);
  Places places;
  bytes.activations = probe.measure([&](Arena& a) { lay_out(a, rows, training, places); });
  bytes.workspace = operators.workspace_bytes_for(capacity_for(rows));
  return bytes;
}

/// Both blocks only grow, each for itself.
PretrainingModel::Implementation::BatchBytes PretrainingModel::Implementation::bytes_to_hold(
    int32_t rows, bool training) const {
  BatchBytes bytes = batch_bytes(rows, training);
  bytes.activations = std::max(bytes.activations, arena.bytes());
  bytes.workspace = std::max(bytes.workspace, operators.workspace_bytes());
  return bytes;
}

int32_t PretrainingModel::Implementation::largest_batch(size_t parameter_bytes, int32_t rows, bool training,
                                                        size_t budget) const {
  int32_t fits = 0, too_large = rows;
  while (too_large - fits > 1) {
    const int32_t middle = fits + (too_large - fits) / 2;
    if (parameter_bytes + bytes_to_hold(middle, training).total() <= budget)
      fits = middle;
    else
      too_large = middle;
  }
  return fits;
}

void PretrainingModel::Implementation::require_memory(size_t parameter_bytes, int32_t rows,
                                                      bool training) const {
  const int64_t available = operators.memory_available();
  if (available < 0) return;
  // Growing gives the old block back first.
  const size_t budget = usable(static_cast<size_t>(available) + arena.bytes() + operators.workspace_bytes());
  const BatchBytes batch = bytes_to_hold(rows, training);
  if (parameter_bytes + batch.total() <= budget) return;

  std::string needed;
  if (parameter_bytes > 0)
    needed = "the model's variables, gradients and moments " + in_words(parameter_bytes);
  if (rows > 0) {
    if (!needed.empty()) needed += ", ";
    needed += (training ? "activations for training on " : "activations for ") + std::to_string(rows) +
              " rows of up to " + std::to_string(config.max_seq_length) + " tokens " +
              in_words(batch.activations) + ", workspace " + in_words(batch.workspace);
  }
  std::string remedy;
  if (parameter_bytes > budget) {
    remedy = "No batch is small enough: take a smaller model or a device with more memory.";
  } else if (rows > 0) {
    const int32_t fits = largest_batch(parameter_bytes, rows, training, budget);
    remedy =
        fits > 0
            ? "The largest batch that fits has " + std::to_string(fits) + (fits == 1 ? " row." : " rows.")
            : "Not even one row fits: take shorter rows, a smaller model or a device with more memory.";
    if (fits > 0 && training) remedy += " Set train_batch_size to that.";
  }
  throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "%s has %s free and needs %s: %s\n%s",
                    operators.info().device, in_words(budget).c_str(),
                    in_words(parameter_bytes + batch.total()).c_str(), needed.c_str(), remedy.c_str());
}

}  // namespace electra
