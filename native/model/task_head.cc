#include "task_head.h"

#include "cls_head.h"
#include "span_head.h"
#include "tagging_head.h"

namespace electra {

std::unique_ptr<TaskHead> make_task_head(ParameterTable& table, const TaskConfig& task, int32_t hidden_size,
                                         float dropout) {
  switch (task.kind) {
    case TaskHeadKind::kTagging:
      return std::make_unique<TaggingHead>(table, task, hidden_size);
    case TaskHeadKind::kSpan:
      return std::make_unique<SpanHead>(table, task, hidden_size);
    default:
      return std::make_unique<ClsHead>(table, task, hidden_size, dropout);
  }
}

Linear add_dense(ParameterTable& table, const std::string& scope, int64_t in, int64_t out) {
  return add_linear(table, scope, in, out, Initializer::kGlorotUniform, 0);
}

}  // namespace electra
