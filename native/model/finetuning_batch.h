#pragma once
// A batch of fine-tuning: the token stream, what each head reads of it, and what it is to learn.

#include "finetuning_model.h"
#include "token_stream.h"

namespace electra {

/// What one task adds to a batch, on the host; empty where its head has no use for it.
struct TaskArrays {
  std::vector<float>
      row_weight;  ///< [B] weight of a row's loss; 0 for rows of other tasks and without target
  std::vector<float> answer_weight;  ///< [B] spans: weight of the answerability's loss
  std::vector<float> word_weight;    ///< [W] tagging
  std::vector<float> labels;         ///< [B, C] multi-label
};

/// The batch on the host. Rows without tokens have no loss.
struct PackedFinetuning : PackedRows {
  std::vector<int32_t> task;          ///< [B]
  std::vector<int64_t> task_rows;     ///< [tasks]
  int64_t words = 0;                  ///< W
  std::vector<int32_t> word_offsets;  ///< [B + 1]
  std::vector<int32_t> cls_token;     ///< [B] place of [CLS] in the stream, −1 for rows without tokens
  std::vector<int32_t> start_token;   ///< [B] place of the answer's first token, −1 where a row has none
  std::vector<int32_t> classes, starts, ends;  ///< [B]
  std::vector<int32_t> word_token;             ///< [W] place of each word's first piece
  std::vector<int32_t> word_class;             ///< [W]
  std::vector<float> values, impossible;       ///< [B]
  std::vector<float> answer_addend;            ///< [T] 1000 · (answer mask − 1); empty without span tasks
  bool has_starts = false;
  std::vector<TaskArrays> tasks;

  bool of_task(int32_t row, int32_t number) const { return task[static_cast<size_t>(row)] == number; }
};

/// Checks everything (ERR_ELECTRA_BATCH names row and value; a second line, what to do) and packs.
/// `needs_targets`: every row of a task must have them.
PackedFinetuning pack_finetuning(const FinetuningBatch& batch, const FinetuningConfig& config,
                                 bool needs_targets);

/// What one task adds to a batch, on the device.
struct DeviceTask {
  float *row_weight = nullptr, *answer_weight = nullptr, *word_weight = nullptr, *labels = nullptr;
};

struct DeviceFinetuning : DeviceRows {
  // Of the block of integers.
  int32_t *cls_token, *start_token, *classes, *starts, *ends, *word_token, *word_class;
  int32_t *each_row, *first_position, *one_token;  ///< [B + 1] 0, 1, …; [B] 0; [B] 1: rows of one token each
  // One block of floats, uploaded whole.
  float* floats = nullptr;
  int64_t floats_size = 0;
  float *values, *impossible, *answer_addend;
  std::vector<DeviceTask> tasks;
  // Written on the device.
  StepScalars* scalars = nullptr;
  double* task_loss = nullptr;  ///< [tasks]

  void plan(Arena& arena, const FinetuningConfig& config, int32_t rows);
};

/// Uploads, and returns the stream's Rows.
Rows upload_finetuning(Operators& operators, const PackedFinetuning& packed, const DeviceFinetuning& device,
                       bool keep_padding);
/// Rows of one token each, [CLS], for dropout before a head.
Rows cls_rows(const Rows& rows, const DeviceFinetuning& device);

}  // namespace electra
