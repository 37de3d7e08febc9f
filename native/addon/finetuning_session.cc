#include "finetuning_session.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "model_config.h"

namespace electra::addon {
namespace {

/// M: the classes of the multi-label task that has most.
int32_t widest_labels(const FinetuningConfig& config) {
  int32_t widest = 0;
  for (const TaskConfig& task : config.tasks)
    if (task.kind == TaskHeadKind::kMultiLabel) widest = std::max(widest, task.classes);
  return widest;
}

/// Rows with their words and targets, copied.
struct FinetuningCopy {
  FinetuningCopy(Napi::Value value, const FinetuningConfig& config) : rows_(Fields(value, "batch"), batch) {
    const Fields fields(value, "batch");
    const int64_t rows = batch.rows;
    batch.task_ids = ints(fields, "taskIds", rows);
    int64_t words = 0;
    if (fields.has("words")) {
      const Fields tagged(fields.value("words"), "batch.words");
      batch.word_offsets = ints(tagged, "offsets", rows + 1);
      if (batch.word_offsets == nullptr) tagged.fail("offsets", "an Int32Array");
      words = std::max(0, batch.word_offsets[rows]);
      batch.word_positions = ints(tagged, "positions", words);
      if (batch.word_positions == nullptr) tagged.fail("positions", "an Int32Array");
    }
    if (!fields.has("targets")) return;
    const Fields targets(fields.value("targets"), "batch.targets");
    batch.classes = ints(targets, "classes", rows);
    batch.labels = floats(targets, "labels", rows * widest_labels(config));
    batch.values = floats(targets, "values", rows);
    batch.word_classes = ints(targets, "wordClasses", words);
    batch.starts = ints(targets, "starts", rows);
    batch.ends = ints(targets, "ends", rows);
    batch.impossible = ints(targets, "impossible", rows);
  }

  FinetuningBatch batch;

 private:
  // An inner vector's elements stay where they are when the outer one grows. Room for one more than there
  // are, so that an empty array has a place, too: null means that there is none.
  const int32_t* ints(const Fields& fields, const char* name, int64_t size) {
    if (!fields.has(name)) return nullptr;
    ints_.push_back(copy_ints(fields.value(name), size, fields.path(name).c_str()));
    ints_.back().reserve(static_cast<size_t>(size) + 1);
    return ints_.back().data();
  }
  const float* floats(const Fields& fields, const char* name, int64_t size) {
    if (!fields.has(name)) return nullptr;
    floats_.push_back(copy_floats(fields.value(name), size, fields.path(name).c_str()));
    floats_.back().reserve(static_cast<size_t>(size) + 1);
    return floats_.back().data();
  }

  RowsCopy rows_;
  std::vector<std::vector<int32_t>> ints_;
  std::vector<std::vector<float>> floats_;
};

/// Everything one step needs, from the call to the answer.
struct StepCall {
  StepCall(const Napi::CallbackInfo& info, const FinetuningConfig& config, uint64_t seed)
      : copy(info[1], config) {
    const Fields fields(info[2], "options");
    options.seed = fields.counter("seed", seed);
    options.step = static_cast<uint32_t>(fields.counter("step", 0));
    options.accumulate = fields.flag("accumulate", false);
    read_wanted(fields, outputs);
  }

  Outputs* wanted() { return outputs.wanted.empty() ? nullptr : &outputs; }
  Napi::Object answer(Napi::Env env) {
    Napi::Object object = to_object(env, result);
    object.Set("outputs", hand_over(env, outputs));
    object.Set("seconds", Napi::Number::New(env, seconds));
    return object;
  }

  FinetuningCopy copy;
  FinetuningStepOptions options;
  Outputs outputs;
  FinetuningResult result;
  double seconds = 0;
};

}  // namespace

Napi::Function FinetuningSession::define(Napi::Env env) {
  std::vector<Napi::ClassPropertyDescriptor<FinetuningSession>> methods = shared_methods();
  methods.push_back(InstanceMethod<&FinetuningSession::scale_learning_rates>("scaleLearningRates"));
  methods.push_back(InstanceMethod<&FinetuningSession::train_step>("trainStep"));
  methods.push_back(InstanceMethod<&FinetuningSession::forward_backward>("forwardBackward"));
  methods.push_back(InstanceMethod<&FinetuningSession::predict>("predict"));
  return DefineClass(env, "FinetuningSession", methods);
}

FinetuningSession::FinetuningSession(const Napi::CallbackInfo& info) : ModelSession(info) {
  guarded(info.Env(), [&] { start(info, read_finetuning_config(info[0])); });
}

Napi::Value FinetuningSession::scale_learning_rates(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const KeptFloats given(info[1], "scales");
    auto scales = std::make_shared<std::vector<float>>(given.data(), given.data() + given.size());
    Job job;
    job.changes_weights = true;
    job.work = [state = state_, scales](const std::atomic<bool>&) {
      state->opened().parameters().set_learning_rate_scales(*scales);
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value FinetuningSession::train_step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto call = std::make_shared<StepCall>(info, state_->config, state_->seed);
    const OptimizerOptions optimizer = read_optimizer(info[2]);
    auto update = std::make_shared<OptimizerResult>();
    Job job;
    job.changes_weights = true;
    job.work = [state = state_, call, optimizer, update](const std::atomic<bool>& abort) {
      const Stopwatch watch;
      call->options.abort = &abort;
      call->options.accumulate = false;
      call->result =
          state->ready().train_step(call->copy.batch, call->options, optimizer, update.get(), call->wanted());
      call->seconds = watch.seconds();
      require_finite(*update, call->options.step);
    };
    job.result = [call, update](Napi::Env env) -> Napi::Value {
      Napi::Object object = call->answer(env);
      object.Set("gradientNorm", Napi::Number::New(env, update->gradient_norm));
      return object;
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value FinetuningSession::forward_backward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto call = std::make_shared<StepCall>(info, state_->config, state_->seed);
    Job job;
    job.changes_weights = true;
    job.work = [state = state_, call](const std::atomic<bool>& abort) {
      const Stopwatch watch;
      call->options.abort = &abort;
      call->result = state->ready().forward_backward(call->copy.batch, call->options, call->wanted());
      call->seconds = watch.seconds();
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return call->answer(env); };
    return enqueue(info, std::move(job));
  });
}

Napi::Value FinetuningSession::predict(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto call = std::make_shared<StepCall>(info, state_->config, state_->seed);
    Job job;
    job.work = [state = state_, call](const std::atomic<bool>& abort) {
      const Stopwatch watch;
      call->result = state->ready().predict(call->copy.batch, &abort, call->wanted());
      call->seconds = watch.seconds();
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return call->answer(env); };
    return enqueue(info, std::move(job));
  });
}

}  // namespace electra::addon
