#include "token_stream.h"

#include <algorithm>
#include <cstring>

namespace electra {

void pack_rows(const HostBatch& batch, const RowLimits& limits, PackedRows& packed) {
  if (batch.rows < 1 || batch.length < 1)
    throw EngineError("ERR_ELECTRA_BATCH",
                      "a batch needs at least one row and one token; it has %d rows of length %d", batch.rows,
                      batch.length);
  if (batch.length > limits.max_seq_length || (limits.keep_padding && batch.length != limits.max_seq_length))
    throw EngineError("ERR_ELECTRA_BATCH", "rows of length %d do not fit max_seq_length %d%s", batch.length,
                      limits.max_seq_length,
                      limits.keep_padding ? " (row mode keep wants exactly that length)" : "");
  packed.rows = batch.rows;
  packed.length = batch.length;
  packed.pitch = limits.max_seq_length;
  packed.offsets.push_back(0);
  for (int32_t b = 0; b < batch.rows; ++b) {
    const int32_t length = batch.lengths[b];
    if (length < 0 || length > batch.length)
      throw EngineError("ERR_ELECTRA_BATCH", "row %d has length %d, outside 0 … %d", b, length, batch.length);
    const int32_t in_stream = limits.keep_padding ? batch.length : length;
    for (int32_t i = 0; i < in_stream; ++i) {
      const int64_t at = int64_t{b} * batch.length + i;
      const int32_t id = batch.input_ids[at];
      const int32_t segment = batch.segment_ids ? batch.segment_ids[at] : 0;
      if (id < 0 || id >= limits.vocab_size)
        throw EngineError("ERR_ELECTRA_TOKEN_ID",
                          "row %d, position %d: token id %d is outside the vocabulary of %d", b, i, id,
                          limits.vocab_size);
      if (segment < 0 || segment >= limits.type_vocab_size)
        throw EngineError("ERR_ELECTRA_BATCH", "row %d, position %d: segment id %d is outside 0 … %d", b, i,
                          segment, limits.type_vocab_size - 1);
      packed.ids.push_back(id);
      packed.segments.push_back(segment);
      packed.token_row.push_back(b);
      packed.token_position.push_back(i);
    }
    packed.offsets.push_back(static_cast<int32_t>(packed.ids.size()));
    packed.valid.push_back(length);
    packed.global_row.push_back(batch.first_row + b);
    packed.real_tokens += length;
  }
  packed.tokens = static_cast<int64_t>(packed.ids.size());
}

void DeviceRows::plan_rows(Arena& arena, int32_t rows, int32_t pitch, int64_t extra_ints) {
  token_capacity = int64_t{rows} * pitch;
  block_size = 4 * token_capacity + 3 * int64_t{rows} + 1 + 2 + extra_ints;
  block = arena.take<int32_t>(block_size);
  int32_t* next = block;
  const auto cut = [&next](int64_t count) {
    int32_t* place = next;
    if (next != nullptr) next += count;
    return place;
  };
  ids = cut(token_capacity);
  segments = cut(token_capacity);
  token_row = cut(token_capacity);
  token_position = cut(token_capacity);
  offsets = cut(rows + 1);
  valid = cut(rows);
  global_row = cut(rows);
  actual = cut(2);
  extra = cut(extra_ints);
}

BlockImage::BlockImage(const DeviceRows& device, const PackedRows& packed, int64_t items)
    : device_(device), values_(static_cast<size_t>(device.block_size), 0) {
  place(device.ids, packed.ids);
  place(device.segments, packed.segments);
  place(device.token_row, packed.token_row);
  place(device.token_position, packed.token_position);
  place(device.offsets, packed.offsets);
  place(device.valid, packed.valid);
  place(device.global_row, packed.global_row);
  place(device.actual, {static_cast<int32_t>(packed.tokens), static_cast<int32_t>(items)});
}

void BlockImage::place(const int32_t* where, const std::vector<int32_t>& values) {
  if (!values.empty())
    std::memcpy(&values_[static_cast<size_t>(where - device_.block)], values.data(),
                values.size() * sizeof(int32_t));
}

void BlockImage::upload(Operators& operators) const {
  operators.upload(device_.block, values_.data(), values_.size() * sizeof(int32_t));
}

Rows rows_of(const PackedRows& packed, const DeviceRows& device, bool keep_padding) {
  Rows rows;
  rows.batch = packed.rows;
  rows.pitch = packed.pitch;
  rows.keep_padding = keep_padding;
  rows.tokens =
      Extent{std::min(int64_t{packed.rows} * packed.pitch, (packed.tokens + 255) / 256 * 256), device.actual};
  rows.offsets = device.offsets;
  rows.valid = device.valid;
  rows.global_row = device.global_row;
  rows.token_row = device.token_row;
  rows.token_position = device.token_position;
  return rows;
}

Extent item_extent(int64_t items, int64_t capacity, const DeviceRows& device) {
  return Extent{std::min(capacity, (items + 63) / 64 * 64), device.actual + 1};
}

}  // namespace electra
