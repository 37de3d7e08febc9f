#include "model_config.h"

#include <initializer_list>
#include <string>
#include <utility>

#include "fields.h"

namespace electra::addon {
namespace {

template <typename Value>
Value choose(const Fields& fields, const char* name,
             std::initializer_list<std::pair<const char*, Value>> choices) {
  const std::string given = fields.text(name);
  std::string known;
  for (const auto& [word, value] : choices) {
    if (given == word) return value;
    known += known.empty() ? word : std::string(", ") + word;
  }
  throw EngineError("ERR_ELECTRA_CONFIG", "%s is \"%s\"; it must be one of: %s", fields.path(name).c_str(),
                    given.c_str(), known.c_str());
}

TransformerConfig read_transformer(Napi::Value value, const std::string& owner) {
  const Fields fields(value, owner);
  TransformerConfig config;
  config.vocab_size = fields.whole("vocab_size");
  config.embedding_size = fields.whole("embedding_size");
  config.hidden_size = fields.whole("hidden_size");
  config.num_hidden_layers = fields.whole("num_hidden_layers");
  config.num_attention_heads = fields.whole("num_attention_heads");
  config.intermediate_size = fields.whole("intermediate_size");
  config.max_position_embeddings = fields.whole("max_position_embeddings");
  config.type_vocab_size = fields.whole("type_vocab_size");
  config.hidden_act = choose<Activation>(fields, "hidden_act",
                                         {{"gelu", Activation::kGeluErf},
                                          {"gelu_new", Activation::kGeluTanh},
                                          {"gelu_tanh", Activation::kGeluTanh},
                                          {"relu", Activation::kRelu}});
  config.hidden_dropout_prob = fields.real("hidden_dropout_prob", config.hidden_dropout_prob);
  config.attention_probs_dropout_prob =
      fields.real("attention_probs_dropout_prob", config.attention_probs_dropout_prob);
  config.initializer_range = fields.real("initializer_range", config.initializer_range);
  return config;
}

TaskConfig read_task(Napi::Value value, const std::string& owner) {
  const Fields fields(value, owner);
  const Fields head(fields.value("head"), owner + ".head");
  TaskConfig task;
  task.name = fields.text("name");
  task.kind = choose<TaskHeadKind>(head, "kind",
                                   {{"classification", TaskHeadKind::kClassification},
                                    {"multi-label", TaskHeadKind::kMultiLabel},
                                    {"regression", TaskHeadKind::kRegression},
                                    {"tagging", TaskHeadKind::kTagging},
                                    {"span", TaskHeadKind::kSpan}});
  if (task.kind == TaskHeadKind::kSpan) {
    task.joint_prediction = head.flag("jointPrediction", task.joint_prediction);
    task.answerable_classifier = head.flag("answerableClassifier", task.answerable_classifier);
    task.answerable_uses_start_logits =
        head.flag("answerableUsesStartLogits", task.answerable_uses_start_logits);
    task.answerable_weight = head.real("answerableWeight", task.answerable_weight);
    task.beam_size = head.whole("beamSize", task.beam_size);
  } else if (task.kind != TaskHeadKind::kRegression) {
    task.classes = head.whole("classes");
  }
  return task;
}

}  // namespace

PretrainingConfig read_pretraining_config(Napi::Value value) {
  const Fields fields(value, "model");
  PretrainingConfig config;
  config.objective = choose<Objective>(fields, "objective",
                                       {{"electra", Objective::kElectra},
                                        {"electric", Objective::kElectric},
                                        {"mlm", Objective::kMaskedLanguageModel}});
  config.generator_kind = choose<GeneratorKind>(fields, "generator_kind",
                                                {{"masked", GeneratorKind::kUntied},
                                                 {"shared", GeneratorKind::kTied},
                                                 {"two_towers", GeneratorKind::kTwoTower},
                                                 {"uniform", GeneratorKind::kUniform}});
  config.discriminator = read_transformer(fields.value("discriminator"), "model.discriminator");
  config.generator = fields.has("generator") ? read_transformer(fields.value("generator"), "model.generator")
                                             : config.discriminator;
  config.untied_generator_embeddings =
      fields.flag("untied_generator_embeddings", config.untied_generator_embeddings);
  config.gen_weight = fields.real("gen_weight", config.gen_weight);
  config.disc_weight = fields.real("disc_weight", config.disc_weight);
  config.mask_prob = fields.real("mask_prob", config.mask_prob);
  config.max_seq_length = fields.whole("max_seq_length");
  config.max_predictions_per_seq = fields.whole("max_predictions_per_seq");
  config.temperature = fields.real("temperature", config.temperature);
  config.disallow_correct = fields.flag("disallow_correct", config.disallow_correct);
  config.mask_without_replacement = fields.flag("mask_without_replacement", config.mask_without_replacement);
  config.keep_padding = fields.flag("keep_padding", config.keep_padding);
  config.cls_id = fields.whole("cls_id");
  config.sep_id = fields.whole("sep_id");
  config.mask_id = fields.whole("mask_id");
  config.weight_decay_rate = fields.real("weight_decay_rate", config.weight_decay_rate);
  return config;
}

FinetuningConfig read_finetuning_config(Napi::Value value) {
  const Fields fields(value, "model");
  FinetuningConfig config;
  config.encoder = read_transformer(fields.value("encoder"), "model.encoder");
  if (!fields.value("tasks").IsArray()) fields.fail("tasks", "an array");
  const Napi::Array tasks = fields.value("tasks").As<Napi::Array>();
  for (uint32_t i = 0; i < tasks.Length(); ++i)
    config.tasks.push_back(read_task(tasks.Get(i), "model.tasks[" + std::to_string(i) + "]"));
  config.max_seq_length = fields.whole("max_seq_length");
  config.keep_padding = fields.flag("keep_padding", config.keep_padding);
  config.weight_decay_rate = fields.real("weight_decay_rate", config.weight_decay_rate);
  config.head_dropout_prob = fields.real("head_dropout_prob", config.head_dropout_prob);
  return config;
}

}  // namespace electra::addon
