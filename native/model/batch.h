#pragma once
// A batch of pre-training: the token stream, and the slots and weights of its objectives.

#include "config.h"
#include "token_stream.h"

namespace electra {

/// How many slots a row of `tokens` real tokens gets: max(1, min(N, round-half-even(float32(n) ·
/// float32(mask_prob)))).
int32_t slots_of_row(int32_t tokens, float mask_prob, int32_t max_predictions);

/// The batch on the device. Capacities are functions of (rows, pitch, N); pointers are planned once per
/// reservation.
struct DeviceBatch : DeviceRows {
  int64_t slot_capacity = 0;
  int32_t* slot_offsets = nullptr;  ///< [B + 1]
  // One block of float and byte weights, uploaded only where an objective needs them.
  float* token_weights = nullptr;  ///< [T] 1 for real tokens (row mode keep)
  float* cloze_weights = nullptr;  ///< [T] 1 for candidates (two towers)
  uint8_t* keeps_id = nullptr;     ///< [T] 1 at position 0 of a row
  // Written on the device.
  int32_t *masked_ids, *replaced_ids, *slot_token, *slot_target, *slot_coordinate, *slot_local, *sampled;
  int32_t *token_slots, *slot_order;
  float* labels = nullptr;         ///< [T]
  float* token_loss = nullptr;     ///< [T]
  float* final_logits = nullptr;   ///< [T]
  float* log_q = nullptr;          ///< [T]
  float* nll = nullptr;            ///< [R] of the language-model head
  int32_t* predictions = nullptr;  ///< [R]
  StepScalars* scalars = nullptr;
  LanguageModelSums* generator_sums = nullptr;
  BinarySums* discriminator_sums = nullptr;

  void plan(Arena& arena, int32_t rows, int32_t pitch, int32_t slots_per_row, int64_t lm_rows);
};

/// The same batch on the host.
struct PackedBatch : PackedRows {
  int64_t slots = 0;
  int32_t slots_per_row = 0;  ///< N of the [B, N] arrays that results come back in
  int64_t candidates = 0;     ///< Σ over rows of tokens that may be corrupted
  std::vector<int32_t> slot_offsets;
  std::vector<float> token_weights, cloze_weights;
  std::vector<uint8_t> keeps_id;
};

/// Checks ids, lengths and shapes (ERR_ELECTRA_BATCH names row and value) and packs.
PackedBatch pack_batch(const HostBatch& batch, const PretrainingConfig& config, bool with_slots);

/// Extents follow the batch's own counts, rounded up so that few shapes occur: padding costs nothing.
Extent slot_extent(const PackedBatch& packed, const DeviceBatch& device);

/// Uploads, and returns the stream's Rows.
Rows upload_batch(Operators& operators, const PackedBatch& packed, const DeviceBatch& device,
                  bool keep_padding, bool cloze);

}  // namespace electra
