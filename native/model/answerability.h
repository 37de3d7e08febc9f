#pragma once
// Whether a question has an answer in its row.

#include "task_head.h"

namespace electra {

/// A positive logit says: no answer. From [h_CLS ; Σ p_t h_t], p the softmax of the start scores, through a
/// hidden layer; or, without the start scores, from h_CLS alone.
class Answerability {
 public:
  struct Places {
    Tensor representation;             ///< [B, 2 h], or [B, h]
    Tensor activated;                  ///< [B, 512]
    Tensor aux;                        ///< [B, 512]
    Tensor logits;                     ///< [B, 1] f32
    float* probabilities = nullptr;    ///< [T]
    float* loss = nullptr;             ///< [B]
    Tensor d_logits;                   ///< [B, 1] f32
    Tensor d_activated;                ///< [B, 512]
    Tensor d_representation;           ///< [B, 2 h], or [B, h]
    float* d_probabilities = nullptr;  ///< [T]
  };

  /// Registers `scope`/dense_2 and, with start logits, `scope`/dense_3.
  Answerability(ParameterTable& table, const std::string& scope, int64_t hidden_size, bool uses_start_logits);

  void plan(Arena& arena, int64_t rows, int64_t tokens, bool training, Places& places) const;
  /// Logits and their loss. `start_scores` [T, 1] f32.
  void forward(const HeadStep& step, Places& places, const Tensor& start_scores) const;
  /// Adds to the gradient of the start scores, and to that of the hidden states.
  void backward(const HeadStep& step, Places& places, const Tensor& d_start_scores) const;

 private:
  int64_t hidden_size_;
  bool uses_start_logits_;
  Linear hidden_, logit_;
};

}  // namespace electra
