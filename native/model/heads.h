#pragma once
// The two heads of pre-training.

#include "linear.h"

namespace electra {

/// dense -> hidden_act -> LayerNorm -> product with the (tied) word embedding table + output_bias.
class TokenPredictionHead {
 public:
  struct Activations {
    Tensor rows;   ///< [R, in] the hidden states that the head reads
    Tensor dense;  ///< [R, E] hidden_act(rows · W + b)
    Tensor dense_aux;
    Tensor normalized;  ///< [R, E]
    float* rstd = nullptr;
    Tensor y;        ///< [R, E]
    Tensor d_dense;  ///< [R, E]
    Tensor d_rows;   ///< [R, in]
  };
  /// `table_index`: the word embedding table of width `table_width`.
  TokenPredictionHead(ParameterTable& table, const std::string& scope, int64_t in, int table_index,
                      int64_t table_width, int64_t vocabulary, const TransformerConfig& config);
  void plan(Arena& arena, int64_t rows, bool training, Activations& activations) const;
  /// activations.rows -> activations.y. `rows` are not tokens of the stream: no dropout happens here.
  void forward(const StepContext& context, Extent rows, Activations& activations) const;
  /// The language-model operator's inputs that belong to the head: x, table, bias and, if `backward`, the
  /// gradients.
  LanguageModelHead language_model(const StepContext& context, Extent rows, const Activations& activations,
                                   bool backward) const;
  /// activations.d_dense (gradient of y) -> activations.d_rows.
  void backward(const StepContext& context, Extent rows, Activations& activations) const;

 private:
  Linear dense_;
  int beta_, gamma_, output_bias_, table_;
  Activation act_;
};

/// dense -> hidden_act -> dense to one logit a token.
class DiscriminatorHead {
 public:
  struct Activations {
    Tensor dense;  ///< [T, h]
    Tensor dense_aux;
    Tensor logits;    ///< [T, 1] f32, also where the device computes in bf16
    Tensor d_logits;  ///< [T, 1] f32
    Tensor d_dense;   ///< [T, h]
  };
  DiscriminatorHead(ParameterTable& table, const TransformerConfig& config);
  void plan(Arena& arena, int64_t tokens, bool training, Activations& activations) const;
  void forward(const StepContext& context, const Tensor& hidden, Activations& activations) const;
  /// activations.d_logits -> d_hidden (written).
  void backward(const StepContext& context, const Tensor& hidden, Activations& activations,
                const Tensor& d_hidden) const;

 private:
  Linear dense_, logit_;
  Activation act_;
};

}  // namespace electra
