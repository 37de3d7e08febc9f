#include "batch_room.h"

#include <algorithm>
#include <cstdio>
#include <string>

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

void BatchRoom::prepare(int32_t rows, bool training) {
  // Inference may use all of the room that training has.
  const int32_t had = training ? training_rows_ : std::max(training_rows_, inference_rows_);
  const int32_t wanted = std::max(rows, had);
  if (planned_rows_ == wanted && planned_training_ == training) return;
  if (rows > had) require_memory(0, wanted, training);
  planned_rows_ = 0;  // until the new one stands: allocating may fail
  arena_.build("activations", [&](Arena& arena) { planner_.lay_out(arena, wanted, training); });
  operators_.reserve(planner_.capacity_for(std::max({wanted, training_rows_, inference_rows_})));
  (training ? training_rows_ : inference_rows_) = wanted;
  planned_rows_ = wanted;
  planned_training_ = training;
}

/// Both blocks only grow, each for itself.
BatchRoom::BatchBytes BatchRoom::bytes_to_hold(int32_t rows, bool training) const {
  BatchBytes bytes;
  if (rows > 0) {
    bytes.activations = planner_.plan_bytes(rows, training);
    bytes.workspace = operators_.workspace_bytes_for(planner_.capacity_for(rows));
  }
  bytes.activations = std::max(bytes.activations, arena_.bytes());
  bytes.workspace = std::max(bytes.workspace, operators_.workspace_bytes());
  return bytes;
}

int32_t BatchRoom::largest_batch(size_t parameter_bytes, int32_t rows, bool training, size_t budget) const {
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

void BatchRoom::require_memory(size_t parameter_bytes, int32_t rows, bool training) const {
  const int64_t available = operators_.memory_available();
  if (available < 0) return;
  // Growing gives the old block back first.
  const size_t budget =
      usable(static_cast<size_t>(available) + arena_.bytes() + operators_.workspace_bytes());
  const BatchBytes batch = bytes_to_hold(rows, training);
  if (parameter_bytes + batch.total() <= budget) return;

  std::string needed;
  if (parameter_bytes > 0)
    needed = "the model's variables, gradients and moments " + in_words(parameter_bytes);
  if (rows > 0) {
    if (!needed.empty()) needed += ", ";
    needed += (training ? "activations for training on " : "activations for ") + std::to_string(rows) +
              " rows of up to " + std::to_string(max_seq_length_) + " tokens " + in_words(batch.activations) +
              ", workspace " + in_words(batch.workspace);
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
                    operators_.info().device, in_words(budget).c_str(),
                    in_words(parameter_bytes + batch.total()).c_str(), needed.c_str(), remedy.c_str());
}

}  // namespace electra
