// The language-model head: logits, softmax, loss, argmax, Gumbel draws, log q and all gradients.
//
// Rows come in chunks (at most 512 rows and 64 MB of logits). A chunk passes over the vocabulary twice, tile
// by tile of 512 words, each tile a task:
//   1. the product of the chunk's rows with the tile's words; while it lies in cache: bias, maximum,
//   exponentials, draws;
//   2. (between: log Σ exp, loss and samples of every row from the tiles' partial results, in tile order)
//   3. the tile's exponentials become the gradient of its logits; while they lie in cache: bias gradient,
//   table gradient
//      (tiles own their words, chunks come in order) and the tile's share of dx, summed over slices in order.
// No task depends on another of the same pass, and all borders come from shapes.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kTile = kLogitTileColumns;  // words of a tile; a multiple of 64
constexpr int64_t kTileStride = kTile + 16;   // not a power of two, so that rows do not share cache sets
constexpr int64_t kBlockRows = 256;           // rows of a tile that one product makes
constexpr int64_t kChunkRows = 512;
constexpr int64_t kChunkFloats = int64_t{1} << 24;
constexpr int64_t kSlices = 32;
constexpr int64_t kSliceFloats = int64_t{1} << 23;
constexpr int64_t kRowTask = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t rounded(int64_t a) { return ceil_div(a, 16) * 16; }

int64_t tile_count(int64_t vocabulary) { return ceil_div(vocabulary, kTile); }

/// Rows of a chunk when there are `rows`: equal chunks, as few as possible.
int64_t chunk_rows(int64_t rows, int64_t vocabulary) {
  const int64_t limit =
      std::clamp<int64_t>(kChunkFloats / (tile_count(vocabulary) * kTileStride) / 16 * 16, 16, kChunkRows);
  return rounded(ceil_div(rows, std::max<int64_t>(1, ceil_div(rows, limit))));
}

/// How many tiles share a partial sum of dx.
int64_t tiles_per_slice(int64_t tiles, int64_t rows, int64_t width) {
  const int64_t slices = std::clamp<int64_t>(kSliceFloats / std::max<int64_t>(1, rows * width), 1, kSlices);
  return ceil_div(tiles, slices);
}

/// Where a chunk's values lie in the shared scratch.
struct Layout {
  int64_t logits, maximum, exponentials, best, target_logit, onehot, nll, correct, best_value, best_id,
      slices, total;

  Layout(int64_t rows, int64_t tiles, int64_t slots, int64_t slice_floats) {
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
      const int64_t start = at;
      at += rounded(floats);
      return start;
    };
    logits = take(tiles * rows * kTileStride);
    maximum = take(tiles * rows);
    exponentials = take(tiles * rows);
    best = take(tiles * rows);
    target_logit = take(rows);
    onehot = take(rows);
    nll = take(rows);
    correct = take(rows);
    best_value = take(tiles * slots);
    best_id = take(tiles * slots);
    slices = take(slice_floats);
    total = at;
  }
};

int32_t* integers(float* p) { return static_cast<int32_t*>(static_cast<void*>(p)); }

void check(const LanguageModelHead& p, int64_t rows, int64_t slots) {
  const int64_t vocabulary = p.table.rows, width = p.table.cols;
  ELECTRA_CHECK_SHAPE(vocabulary > 0 && width > 0 && p.table.master != nullptr && p.table.stride >= width,
                      "language_model_head: table is [%lld, %lld] with stride %lld",
                      static_cast<long long>(vocabulary), static_cast<long long>(width),
                      static_cast<long long>(p.table.stride));
  check_matrix(p.x, rows, width, "language_model_head", "x");
  if (p.dx) check_matrix(p.dx, rows, width, "language_model_head", "dx");
  ELECTRA_CHECK_SHAPE(!p.dx || (p.targets != nullptr && p.scale != nullptr),
                      "language_model_head: a gradient needs targets and their scale");
  ELECTRA_CHECK_SHAPE(
      !p.sample || (p.sampled != nullptr &&
                    (p.given_uniform != nullptr ? p.slot_local != nullptr
                                                : p.scalars != nullptr && p.slot_coordinate != nullptr)),
      "language_model_head: draws need a place for the samples and coordinates or recorded uniforms");
  ELECTRA_CHECK_SHAPE(!(p.sample && p.disallow_correct) || p.slot_target != nullptr,
                      "language_model_head: disallow_correct needs the slots' targets");
  ELECTRA_CHECK_SHAPE(!p.sample || p.temperature > 0, "language_model_head: temperature %g is not positive",
                      static_cast<double>(p.temperature));
  ELECTRA_CHECK_SHAPE(p.row_slots != nullptr || !p.sample || slots <= rows,
                      "language_model_head: %lld slots, but %lld rows and no row_slots",
                      static_cast<long long>(slots), static_cast<long long>(rows));
}

}  // namespace

WorkspaceNeeds language_model_head_needs(const Capacity& capacity) {
  const int64_t vocabulary = std::max<int32_t>(1, capacity.vocabulary);
  // Fewer rows in all may mean more in a chunk (equal chunks): the limit itself is the bound.
  const int64_t rows =
      std::min(rounded(std::max<int64_t>(1, capacity.lm_rows)), chunk_rows(int64_t{1} << 40, vocabulary));
  const int64_t width = std::max<int32_t>(1, capacity.max_width);
  const int64_t slice_floats = std::max(rows * width, std::min(kSliceFloats, kSlices * rows * width));
  WorkspaceNeeds needs;
  needs.shared_floats = static_cast<size_t>(
      Layout(rows, tile_count(vocabulary), std::max<int64_t>(1, capacity.slots), slice_floats).total);
  needs.worker_floats = static_cast<size_t>(2 * kTile);
  return needs;
}

void CpuOperators::language_model_head(const LanguageModelHead& p) {
  const int64_t rows = actual_rows(p.rows, "language_model_head");
  const int64_t slots = actual_rows(p.slots, "language_model_head");
  check(p, rows, slots);
  const int64_t vocabulary = p.table.rows, width = p.table.cols;
  const int64_t tiles = tile_count(vocabulary);
  const bool backward = static_cast<bool>(p.dx);
  const DenseKernels& kernels = kernels_.dense;

  // What lies beyond the actual extents.
  const int64_t idle = p.rows.capacity - rows;
  const auto clear = [&](void* values, size_t size) {
    if (values != nullptr && idle > 0)
      std::memset(static_cast<char*>(values) + static_cast<size_t>(rows) * size, 0,
                  static_cast<size_t>(idle) * size);
  };
  clear(p.log_q, 4);
  clear(p.nll, 4);
  clear(p.predictions, 4);
  clear(p.log_sum_exp, 4);
  clear(p.logits, static_cast<size_t>(vocabulary) * 4);
  if (backward) zero_rows(p.dx, rows, std::min(p.rows.capacity, p.dx.rows));
  if (p.sample) std::memset(p.sampled + slots, 0, static_cast<size_t>(p.slots.capacity - slots) * 4);

  double loss = 0, weight = 0, correct = 0;
  const int64_t chunk = chunk_rows(rows, vocabulary);
  for (int64_t start = 0; start < rows; start += chunk) {
    const int64_t count = std::min(chunk, rows - start);
    const int64_t per_slice = tiles_per_slice(tiles, count, width);
    const int64_t slices = ceil_div(tiles, per_slice);
    const Layout at(count, tiles, slots, backward ? slices * count * width : 0);
    float* memory = scratch(static_cast<size_t>(at.total));
    const float* x = p.x.f32() + start * p.x.stride;
    const int32_t* targets = p.targets != nullptr ? p.targets + start : nullptr;
    float* target_logit = memory + at.target_logit;
    float* onehot = memory + at.onehot;
    float* nll = memory + at.nll;
    float* hit = memory + at.correct;
    for (int64_t r = 0; targets != nullptr && r < count; ++r) {
      const bool counts = p.weights == nullptr || p.weights[start + r] != 0;
      ELECTRA_CHECK_SHAPE(!counts || (targets[r] >= 0 && targets[r] < vocabulary),
                          "language_model_head: target %d of row %lld is outside the vocabulary of %lld",
                          targets[r], static_cast<long long>(start + r), static_cast<long long>(vocabulary));
      target_logit[r] = 0;
    }

    pool_.run(tiles, [&](int64_t t, int worker) {
      const int64_t first = t * kTile, columns = std::min(kTile, vocabulary - first);
      for (int64_t block = 0; block < count; block += kBlockRows) {
        const int64_t block_rows = std::min(kBlockRows, count - block);
        LogitTile tile;
        tile.values = memory + at.logits + (t * count + block) * kTileStride;
        tile.stride = kTileStride;
        tile.rows = block_rows;
        tile.first = first;
        tile.columns = columns;
        tile.bias = p.bias;
        tile.logits = p.logits != nullptr ? p.logits + (start + block) * vocabulary : nullptr;
        tile.vocabulary = vocabulary;
        tile.scratch = worker_scratch(worker, static_cast<size_t>(2 * kTile));
        tile.maximum = memory + at.maximum + t * count + block;
        tile.exponentials = memory + at.exponentials + t * count + block;
        tile.best = integers(memory + at.best) + t * count + block;
        tile.targets = targets != nullptr ? targets + block : nullptr;
        tile.target_logit = target_logit + block;
        gemm_.multiply(false, true, block_rows, columns, width, 1, x + block * p.x.stride, p.x.stride,
                       p.table.master + first * p.table.stride, p.table.stride, 0, tile.values, kTileStride);
        if (!p.sample) {
          kernels.logit_tile(tile, nullptr);
          continue;
        }
        GumbelDraws draws;
        draws.row_slots = p.row_slots != nullptr ? p.row_slots + start + block : nullptr;
        draws.slot_order = p.slot_order;
        draws.first_row = start + block;
        draws.slots = slots;
        draws.slot_target = p.slot_target;
        draws.slot_coordinate = p.slot_coordinate;
        draws.slot_local = p.slot_local;
        draws.given_uniform = p.given_uniform;
        draws.disallow_correct = p.disallow_correct;
        draws.temperature = p.temperature;
        draws.seed = p.scalars != nullptr ? p.scalars->seed : 0;
        draws.step = p.scalars != nullptr ? p.scalars->step : 0;
        draws.best_value = memory + at.best_value + t * slots;
        draws.best_id = integers(memory + at.best_id) + t * slots;
        kernels.logit_tile(tile, &draws);
      }
    });

    // The chosen word of a slot: the best of the tiles' best, lowest word on ties.
    const auto choose = [&](int64_t slot) {
      const float* values = memory + at.best_value + slot;
      const int32_t* ids = integers(memory + at.best_id) + slot;
      int64_t best = 0;
      for (int64_t t = 1; t < tiles; ++t)
        if (values[t * slots] > values[best * slots]) best = t;
      p.sampled[slot] = ids[best * slots];
    };
    pool_.run(ceil_div(count, kRowTask), [&](int64_t task, int) {
      for (int64_t r = task * kRowTask; r < std::min(count, (task + 1) * kRowTask); ++r) {
        const int64_t row = start + r;
        float* maximum = memory + at.maximum + r;
        float* exponentials = memory + at.exponentials + r;
        int64_t peak = 0;
        for (int64_t t = 1; t < tiles; ++t)
          if (maximum[t * count] > maximum[peak * count]) peak = t;
        const double top = maximum[peak * count];
        double total = 0;
        for (int64_t t = 0; t < tiles; ++t)
          total += static_cast<double>(exponentials[t * count]) *
                   std::exp(static_cast<double>(maximum[t * count]) - top);
        const double log_sum = top + std::log(total);
        const int32_t prediction = integers(memory + at.best)[peak * count + r];
        if (p.predictions != nullptr) p.predictions[row] = prediction;
        if (p.log_sum_exp != nullptr) p.log_sum_exp[row] = static_cast<float>(log_sum);
        if (targets != nullptr) {
          const float w = p.weights != nullptr ? p.weights[row] : 1.0f;
          nll[r] = static_cast<float>(log_sum - static_cast<double>(target_logit[r]));
          hit[r] = prediction == targets[r] ? 1.0f : 0.0f;
          if (p.nll != nullptr) p.nll[row] = nll[r];
          if (backward) {
            // From here on `exponentials` holds what turns e^(z − tile maximum) into a gradient.
            onehot[r] = w * *p.scale;
            for (int64_t t = 0; t < tiles; ++t)
              exponentials[t * count] =
                  static_cast<float>(static_cast<double>(onehot[r]) *
                                     std::exp(static_cast<double>(maximum[t * count]) - log_sum));
          }
        }
        const int32_t first_slot = p.row_slots != nullptr ? p.row_slots[row] : static_cast<int32_t>(row);
        const int32_t last_slot = p.row_slots != nullptr
                                      ? p.row_slots[row + 1]
                                      : static_cast<int32_t>(std::min<int64_t>(row + 1, slots));
        int64_t sum = 0, drawn = 0;
        for (int32_t i = first_slot; i < last_slot; ++i) {
          const int64_t slot = p.row_slots != nullptr && p.slot_order != nullptr ? p.slot_order[i] : i;
          if (slot >= slots) continue;
          if (p.sample) choose(slot);
          if (p.sampled != nullptr) sum += p.sampled[slot];
          ++drawn;
        }
        if (p.log_q == nullptr) continue;
        const bool keeps =
            p.sampled == nullptr || drawn == 0 || (p.row_keeps_id != nullptr && p.row_keeps_id[row] != 0);
        const int64_t id = !keeps ? sum / drawn : p.row_ids != nullptr ? p.row_ids[row] : -1;
        if (id < 0 || id >= vocabulary) {
          p.log_q[row] = 0;
          continue;
        }
        // One logit again, rather than keeping all of them: the tiles now hold exponentials.
        const float* word = p.table.master + id * p.table.stride;
        double z = p.bias != nullptr ? static_cast<double>(p.bias[id]) : 0.0;
        for (int64_t e = 0; e < width; ++e)
          z += static_cast<double>(x[r * p.x.stride + e]) * static_cast<double>(word[e]);
        p.log_q[row] = static_cast<float>(z - log_sum);
      }
    });
    for (int64_t r = 0; targets != nullptr && r < count; ++r) {
      const double w = p.weights != nullptr ? static_cast<double>(p.weights[start + r]) : 1.0;
      if (w == 0) continue;
      weight += w;
      loss += w * static_cast<double>(nll[r]);
      correct += w * static_cast<double>(hit[r]);
    }
    if (!backward) continue;

    pool_.run(slices, [&](int64_t slice, int worker) {
      float* share = memory + at.slices + slice * count * width;
      const int64_t first_tile = slice * per_slice;
      for (int64_t t = first_tile; t < std::min(tiles, first_tile + per_slice); ++t) {
        const int64_t first = t * kTile, columns = std::min(kTile, vocabulary - first);
        float* values = memory + at.logits + t * count * kTileStride;
        float* sums = nullptr;
        if (p.d_bias != nullptr) {
          sums = worker_scratch(worker, static_cast<size_t>(2 * kTile));
          std::memset(sums, 0, static_cast<size_t>(columns) * sizeof(float));
        }
        kernels.logit_gradient(values, kTileStride, count, first, columns,
                               memory + at.exponentials + t * count, targets, onehot, sums);
        if (sums != nullptr) kernels.add(columns, sums, p.d_bias + first);
        if (p.d_table != nullptr)
          gemm_.multiply(true, false, columns, width, count, 1, values, kTileStride, x, p.x.stride, 1,
                         p.d_table + first * p.table.stride, p.table.stride);
        gemm_.multiply(false, false, count, width, columns, 1, values, kTileStride,
                       p.table.master + first * p.table.stride, p.table.stride, t == first_tile ? 0.0f : 1.0f,
                       share, width);
      }
    });
    pool_.run(ceil_div(count, kRowTask), [&](int64_t task, int) {
      for (int64_t r = task * kRowTask; r < std::min(count, (task + 1) * kRowTask); ++r) {
        float* dx = p.dx.f32() + (start + r) * p.dx.stride;
        if (p.into == Into::kWrite) std::memset(dx, 0, static_cast<size_t>(width) * sizeof(float));
        for (int64_t slice = 0; slice < slices; ++slice)
          kernels.add(width, memory + at.slices + (slice * count + r) * width, dx);
      }
    });
  }

  if (p.sums == nullptr) return;
  p.sums->loss += loss;
  p.sums->weight += weight;
  p.sums->correct += correct;
  if (p.sampled == nullptr || p.slot_target == nullptr) return;
  for (int64_t slot = 0; slot < slots; ++slot)
    p.sums->sampled_correct += p.sampled[slot] == p.slot_target[slot] ? 1 : 0;
  p.sums->slots += static_cast<double>(slots);
}

}  // namespace electra::cpu
