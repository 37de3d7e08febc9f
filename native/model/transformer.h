#pragma once
// Embeddings, projection and the encoder (post-LayerNorm, as BERT's), forward and backward by hand.

#include <string>
#include <vector>

#include "linear.h"

namespace electra {

/// What one layer keeps from forward to backward. In inference all layers share one set.
struct LayerActivations {
  Tensor qkv;                    ///< [T, 3 h]
  float* log_sum_exp = nullptr;  ///< [T, heads]
  Tensor context;                ///< [T, h]
  Tensor attended;               ///< [T, h] LayerNorm(x + attention output)
  Tensor attended_normalized;
  float* attended_rstd = nullptr;
  Tensor intermediate;  ///< [T, i] gelu(…)
  Tensor intermediate_aux;
  Tensor output;  ///< [T, h]
  Tensor output_normalized;
  float* output_rstd = nullptr;
};

struct TransformerActivations {
  const int32_t* ids = nullptr;  ///< [T] set by forward, read by backward
  Tensor embedded;               ///< [T, E]
  Tensor embedded_normalized;
  float* embedded_rstd = nullptr;
  Tensor projected;  ///< [T, h]; empty when E = h
  std::vector<LayerActivations> layers;
  Tensor product;  ///< [T, h] a linear layer's result before dropout, residual and LayerNorm
  // Backward
  Tensor d_hidden;        ///< [T, h] gradient of the sequence output, then of each layer's input
  Tensor d_branch;        ///< [T, h]
  Tensor d_context;       ///< [T, h]
  Tensor d_qkv;           ///< [T, 3 h]
  Tensor d_intermediate;  ///< [T, i]
  Tensor d_embedded;      ///< [T, E]
  Tensor embedding_scratch;

  const Tensor& input() const { return projected ? projected : embedded; }
  const Tensor& sequence_output() const { return layers.empty() ? input() : layers.back().output; }
};

class Transformer {
 public:
  /// Registers the variables that are not registered yet: embeddings under `embedding_scope`/embeddings,
  /// projection (only if the widths differ) and layers under `scope`.
  Transformer(ParameterTable& table, std::string scope, const std::string& embedding_scope,
              const TransformerConfig& config, AttentionMask mask);

  const TransformerConfig& config() const { return config_; }
  const std::string& scope() const { return scope_; }
  /// Index of the word embedding table [V, E].
  int word_embeddings() const { return word_; }

  /// Plans the activations for up to `tokens` tokens. Nothing for backward is planned unless `training`.
  void plan(Arena& arena, int64_t tokens, bool training, TransformerActivations& activations) const;
  void forward(const StepContext& context, const int32_t* ids, Network network,
               TransformerActivations& activations) const;
  /// From activations.d_hidden, the gradient of the sequence output, to all parameter gradients; d_hidden is
  /// used up.
  void backward(const StepContext& context, Network network, TransformerActivations& activations) const;

 private:
  struct Norm {
    int beta, gamma;
  };
  struct Layer {
    Linear query_key_value;
    Linear attention_output;
    Norm attention_norm;
    Linear intermediate;
    Linear output;
    Norm output_norm;
  };
  /// The closing operator of half a layer, all but what differs between the halves.
  DropoutResidualNormForward close_half(const StepContext& context, const Linear& linear, const Norm& norm,
                                        uint32_t site) const;
  DropoutResidualNormBackward open_half(const StepContext& context, const Linear& linear, const Norm& norm,
                                        uint32_t site, const TransformerActivations& activations) const;
  void layer_forward(const StepContext& context, int layer, Network network, const Tensor& x,
                     TransformerActivations& activations) const;
  void layer_backward(const StepContext& context, int layer, Network network, const Tensor& x,
                      TransformerActivations& activations) const;
  void collect_attention(const StepContext& context, int layer, const Tensor& qkv) const;

  std::string scope_;
  TransformerConfig config_;
  AttentionMask mask_;
  int word_ = -1, token_type_ = -1, position_ = -1, embedding_beta_ = -1, embedding_gamma_ = -1;
  Linear projection_;  ///< kernel −1 where the widths agree
  std::vector<Layer> layers_;
};

}  // namespace electra
