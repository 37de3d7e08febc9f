#pragma once
// From rows of records to the token stream: ids, lengths and offsets, made on the host and sent to the device
// in one copy, with whatever else of a batch is integer.

#include <vector>

#include "arena.h"

namespace electra {

/// Rows as the records hold them, in host memory; padding may hold anything.
struct HostBatch {
  int32_t rows = 0;    ///< B
  int32_t length = 0;  ///< L of the arrays, at most max_seq_length (equal to it in row mode keep)
  const int32_t* input_ids = nullptr;    ///< [B, L]
  const int32_t* lengths = nullptr;      ///< [B] real tokens of each row: input_mask is that many ones
  const int32_t* segment_ids = nullptr;  ///< [B, L] or null: zeros
  int32_t first_row = 0;  ///< number of row 0 in the whole batch (micro-batches and ranks count on)
};

/// What a model says of the rows that it takes.
struct RowLimits {
  int32_t max_seq_length = 0;
  bool keep_padding = false;
  int32_t vocab_size = 0;
  int32_t type_vocab_size = 0;
};

/// The rows on the host, packed.
struct PackedRows {
  int32_t rows = 0;
  int32_t length = 0;       ///< L of the batch
  int32_t pitch = 0;        ///< max_seq_length
  int64_t tokens = 0;       ///< tokens in the stream
  int64_t real_tokens = 0;  ///< without padding
  std::vector<int32_t> ids, segments, token_row, token_position, offsets, valid, global_row;
};

/// Checks ids, lengths and shapes (ERR_ELECTRA_BATCH names row and value) and packs.
void pack_rows(const HostBatch& batch, const RowLimits& limits, PackedRows& packed);

/// The rows on the device. Capacities are functions of (rows, pitch); places are planned once per
/// reservation.
struct DeviceRows {
  int64_t token_capacity = 0;
  // One block of int32, uploaded whole.
  int32_t* block = nullptr;
  int64_t block_size = 0;
  int32_t *ids, *segments, *token_row, *token_position, *offsets, *valid, *global_row;
  int32_t* actual;  ///< [2] tokens, and what the objective counts besides (slots, words)
  int32_t* extra;   ///< the model's own integers

  void plan_rows(Arena& arena, int32_t rows, int32_t pitch, int64_t extra_ints);
};

/// The content of the device's block of integers, on its way there.
class BlockImage {
 public:
  /// With the rows in their places; `items` is the second of the two counts.
  BlockImage(const DeviceRows& device, const PackedRows& packed, int64_t items);
  void place(const int32_t* where, const std::vector<int32_t>& values);
  void upload(Operators& operators) const;

 private:
  const DeviceRows& device_;
  std::vector<int32_t> values_;
};

/// The stream's Rows. Capacities follow the batch's own counts, rounded up so that few shapes occur: padding
/// costs nothing.
Rows rows_of(const PackedRows& packed, const DeviceRows& device, bool keep_padding);
/// The extent of the objective's items, in steps of 64.
Extent item_extent(int64_t items, int64_t capacity, const DeviceRows& device);

}  // namespace electra
