#pragma once
// What a model is made of, as plain values; the shell resolves hyper-parameters into these.

#include <cstdint>
#include <string>
#include <vector>

#include "../tensor.h"

namespace electra {

struct TransformerConfig {
  int32_t vocab_size = 30522;
  int32_t embedding_size = 128;  ///< width of the embedding tables this network reads
  int32_t hidden_size = 256;
  int32_t num_hidden_layers = 12;
  int32_t num_attention_heads = 4;
  int32_t intermediate_size = 1024;
  int32_t max_position_embeddings = 512;
  int32_t type_vocab_size = 2;
  Activation hidden_act = Activation::kGeluErf;
  float hidden_dropout_prob = 0.1f;
  float attention_probs_dropout_prob = 0.1f;
  float initializer_range = 0.02f;
};

enum class Objective : int32_t {
  kElectra = 0,  ///< replaced-token detection, Clark et al. 2020 (ELECTRA)
  kMaskedLanguageModel =
      1,          ///< the reference's BERT objective: masked language model of the full-size encoder
  kElectric = 2,  ///< noise-contrastive energy model, Clark et al. 2020 (Electric)
};

enum class GeneratorKind : int32_t {
  kUntied = 0,    ///< its own encoder, scope `generator`
  kTied = 1,      ///< the discriminator's encoder (also the BERT objective)
  kTwoTower = 2,  ///< `generator_ltr` and `generator_rtl` over the uncorrupted input
  kUniform = 3,   ///< none: fakes are uniform over the vocabulary
};

struct PretrainingConfig {
  Objective objective = Objective::kElectra;
  GeneratorKind generator_kind = GeneratorKind::kUntied;
  TransformerConfig discriminator;
  TransformerConfig generator;  ///< ignored for kTied and kUniform
  bool untied_generator_embeddings = false;
  float gen_weight = 1;
  float disc_weight = 50;
  float mask_prob = 0.15f;
  int32_t max_seq_length = 128;          ///< L: pitch of every random coordinate, longest row
  int32_t max_predictions_per_seq = 19;  ///< N
  float temperature = 1;
  bool disallow_correct = false;
  bool mask_without_replacement = false;
  bool keep_padding = false;  ///< row mode `keep`
  int32_t cls_id = 101, sep_id = 102, mask_id = 103;
  float weight_decay_rate = 0.01f;
};

/// The network on top of the encoder that a task needs.
enum class TaskHeadKind : int32_t {
  kClassification = 0,  ///< [CLS] → dense → softmax
  kMultiLabel = 1,      ///< [CLS] → dense → a sigmoid for each class
  kRegression = 2,      ///< [CLS] → dense [h, 1]; squared error
  kTagging = 3,         ///< first piece of each word → dense → softmax
  kSpan = 4,            ///< start, end and answerability of an answer
};

struct TaskConfig {
  std::string name;  ///< variables are task_specific/<name>/…
  TaskHeadKind kind = TaskHeadKind::kClassification;
  int32_t classes = 1;  ///< C; 1 for regression, ignored for spans
  // Spans.
  bool joint_prediction = true;  ///< the end is predicted from the start
  bool answerable_classifier = true;
  bool answerable_uses_start_logits = true;
  float answerable_weight = 0.5f;
  int32_t beam_size = 20;  ///< K
};

/// An encoder and the heads of the tasks that it learns together; a task's number is its place.
struct FinetuningConfig {
  TransformerConfig encoder;
  std::vector<TaskConfig> tasks;
  int32_t max_seq_length = 128;  ///< L: pitch of every random coordinate, longest row
  bool keep_padding = false;     ///< row mode `keep`
  float weight_decay_rate = 0.01f;
  float head_dropout_prob = 0.1f;  ///< of the heads that read [CLS]
};

}  // namespace electra
