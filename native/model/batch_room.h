#pragma once
// Room for batches: one arena and the operators' workspace, made as large as the largest batch so far needs,
// after asking whether the device has that much.

#include "arena.h"

namespace electra {

/// What a model must say of its plan.
class BatchPlanner {
 public:
  /// Hands out all places for batches of up to `rows` rows.
  virtual void lay_out(Arena& arena, int32_t rows, bool training) = 0;
  /// Bytes of such a plan; the places in use stay as they are.
  virtual size_t plan_bytes(int32_t rows, bool training) const = 0;
  /// The largest shapes that the operators will be asked for.
  virtual Capacity capacity_for(int32_t rows) const = 0;

 protected:
  ~BatchPlanner() = default;
};

class BatchRoom {
 public:
  /// `max_seq_length` for messages. The planner must outlive the room.
  BatchRoom(Operators& operators, BatchPlanner& planner, int32_t max_seq_length)
      : operators_(operators), planner_(planner), max_seq_length_(max_seq_length), arena_(operators) {}

  /// Makes room for a batch of `rows`, training or not, if there is none, and lays the plan for it. Training
  /// and inference have plans of their own in the same memory, so the plan is laid again when the mode
  /// changes.
  void prepare(int32_t rows, bool training);

  /// Throws ERR_ELECTRA_OUT_OF_MEMORY when the device says that the variables (still to be allocated:
  /// `parameter_bytes`) and batches of `rows` do not fit beside what is there: what is needed for what, what
  /// is free, and the largest batch that fits. The device's word is taken: where it gives none, nothing is
  /// thrown.
  void require_memory(size_t parameter_bytes, int32_t rows, bool training) const;

  /// Rows that the present plan is for.
  int32_t planned_rows() const { return planned_rows_; }
  const Arena& arena() const { return arena_; }

 private:
  struct BatchBytes {
    size_t activations = 0;
    size_t workspace = 0;
    size_t total() const { return activations + workspace; }
  };
  BatchBytes bytes_to_hold(int32_t rows, bool training) const;
  /// The largest batch below `rows` that a device with `budget` bytes has room for; 0: none.
  int32_t largest_batch(size_t parameter_bytes, int32_t rows, bool training, size_t budget) const;

  Operators& operators_;
  BatchPlanner& planner_;
  int32_t max_seq_length_;
  Arena arena_;
  int32_t training_rows_ = 0;   ///< rows of the largest batch trained on so far
  int32_t inference_rows_ = 0;  ///< the same without gradients
  int32_t planned_rows_ = 0;    ///< what the present plan is for; 0: there is none
  bool planned_training_ = false;
};

}  // namespace electra
