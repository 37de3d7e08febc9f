#pragma once
// Where an answer ends, given where it begins.

#include "task_head.h"

namespace electra {

/// Width of the hidden layers of span heads, whatever the model's size (qa_tasks.py of the reference).
constexpr int64_t kSpanHiddenSize = 512;

/// end score of token t = dense(gelu([h_start ; h_t] · W + b)). The kernel is split by rows, [h_start ; h_t]
/// · W = h_start · W₁ + h_t · W₂, so that each token is multiplied once, however many starts are tried.
class JointEnd {
 public:
  struct Places {
    Tensor start_states;    ///< [B, h]
    Tensor from_start;      ///< [B, 512] h_start · W₁
    Tensor from_tokens;     ///< [T, 512] h_t · W₂ + b
    Tensor activated;       ///< [T, 512] gelu of the sum; in training the same place
    Tensor aux;             ///< [T, 512]
    Tensor d_activated;     ///< [T, 512]
    Tensor d_from_start;    ///< [B, 512]
    Tensor d_start_states;  ///< [B, h]
    // Beams, in inference.
    int32_t* beam_token = nullptr;  ///< [K, B]
    Tensor beam_states;             ///< [K · B, h]
    Tensor from_beam;               ///< [K · B, 512]
  };

  /// Registers `scope`/qa_hidden and `scope`/dense_1.
  JointEnd(ParameterTable& table, const std::string& scope, int64_t hidden_size);

  void plan(Arena& arena, int64_t rows, int64_t tokens, int32_t beams, bool training, Places& places) const;

  /// from_tokens.
  void read_tokens(const HeadStep& step, Places& places) const;
  /// The end scores [T, 1] for the gold start of each row, from from_tokens, which training uses up.
  void score_gold(const HeadStep& step, Places& places, const Tensor& scores) const;
  /// From d_scores [T, 1] to gradients of variables and hidden states.
  void backward(const HeadStep& step, Places& places, const Tensor& d_scores) const;

  /// For K starts a row, places in the stream [K, B] (−1: none): from_beam.
  void read_beams(const HeadStep& step, Places& places, const std::vector<int32_t>& beam_token) const;
  /// The end scores [T, 1] for start number k of each row.
  void score_beam(const HeadStep& step, Places& places, int32_t k, const Tensor& scores) const;

 private:
  void score(const HeadStep& step, const Places& places, const Tensor& from_start,
             const Tensor& scores) const;

  Linear hidden_, start_part_, token_part_, end_;
};

}  // namespace electra
