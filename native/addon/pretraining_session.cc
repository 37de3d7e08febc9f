#include "pretraining_session.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "../model/pretraining_model.h"
#include "arrays.h"
#include "backend.h"
#include "fields.h"
#include "model_config.h"
#include "results.h"

namespace electra::addon {

/// What the engine thread owns. Made and destroyed there, by the first job and by the thread's end.
struct PretrainingSession::State {
  PretrainingConfig config;
  BackendOptions backend;
  uint64_t seed = 0;
  int32_t reserve_rows = 0;  ///< room for training batches of so many rows is made at once
  std::unique_ptr<Operators> operators;
  std::unique_ptr<PretrainingModel> model;
  bool written = false;  ///< values came in from outside; the weights' compute forms are behind

  PretrainingModel& opened() const {
    if (!model) throw EngineError("ERR_ELECTRA_INTERNAL", "The engine was used before it was created.");
    return *model;
  }
  /// For everything that computes: a checkpoint writes hundreds of variables, the compute forms follow once.
  PretrainingModel& ready() {
    PretrainingModel& model_in_use = opened();
    if (written) model_in_use.parameters().refresh_weights();
    written = false;
    return model_in_use;
  }
};

namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

ParameterKind read_kind(Napi::Value value) {
  const std::string kind = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (kind == "value") return ParameterKind::kValue;
  if (kind == "gradient") return ParameterKind::kGradient;
  if (kind == "adam_m") return ParameterKind::kAdamM;
  if (kind == "adam_v") return ParameterKind::kAdamV;
  throw EngineError("ERR_ELECTRA_ARGUMENT",
                    "The kind of tensor is \"%s\"; it must be value, gradient, adam_m or adam_v",
                    kind.c_str());
}

/// A batch, copied, so that the caller may refill its arrays at once.
struct BatchCopy {
  explicit BatchCopy(Napi::Value value) {
    const Fields fields(value, "batch");
    batch.rows = fields.whole("rows");
    batch.length = fields.whole("length");
    batch.first_row = fields.whole("firstRow", 0);
    if (batch.rows < 0 || batch.length < 1)
      throw EngineError("ERR_ELECTRA_SHAPE", "batch: %d rows of length %d", batch.rows, batch.length);
    const int64_t elements = static_cast<int64_t>(batch.rows) * batch.length;
    ids = copy_ints(fields.value("inputIds"), elements, "batch.inputIds");
    lengths = copy_ints(fields.value("lengths"), batch.rows, "batch.lengths");
    batch.input_ids = ids.data();
    batch.lengths = lengths.data();
    if (fields.has("segmentIds")) {
      segments = copy_ints(fields.value("segmentIds"), elements, "batch.segmentIds");
      batch.segment_ids = segments.data();
    }
  }
  BatchCopy(const BatchCopy&) = delete;
  BatchCopy& operator=(const BatchCopy&) = delete;

  HostBatch batch;
  std::vector<int32_t> ids, lengths, segments;
};

void read_wanted(const Fields& fields, Outputs& outputs) {
  if (!fields.has("outputs")) return;
  const Napi::Value value = fields.value("outputs");
  if (!value.IsArray()) fields.fail("outputs", "an array of names");
  const Napi::Array names = value.As<Napi::Array>();
  for (uint32_t i = 0; i < names.Length(); ++i) outputs.wanted.insert(names.Get(i).ToString().Utf8Value());
}

/// Everything one step needs, from the call to the answer.
struct StepCall {
  StepCall(const Napi::CallbackInfo& info, const PretrainingConfig& config, uint64_t seed) : copy(info[1]) {
    const Fields fields(info[2], "options");
    options.seed = fields.counter("seed", seed);
    options.step = static_cast<uint32_t>(fields.counter("step", 0));
    options.accumulate = fields.flag("accumulate", false);
    read_wanted(fields, outputs);
    if (fields.has("denominators")) {
      const Fields denominators(fields.value("denominators"), "options.denominators");
      options.generator_denominator = denominators.number("generator", 0);
      options.discriminator_denominator = denominators.number("discriminator", 0);
    }
    if (!fields.has("draws")) return;
    const Fields draws(fields.value("draws"), "options.draws");
    const int64_t slots = static_cast<int64_t>(copy.batch.rows) * config.max_predictions_per_seq;
    if (draws.has("positions")) {
      positions = KeptInts(draws.value("positions"), "draws.positions");
      options.draws.positions = positions.expect(slots, "draws.positions").data();
    }
    if (draws.has("replaceUniform")) {
      replace_uniform = KeptFloats(draws.value("replaceUniform"), "draws.replaceUniform");
      options.draws.replace_uniform = replace_uniform.expect(slots, "draws.replaceUniform").data();
    }
    if (draws.has("gumbelUniform")) {
      gumbel_uniform = KeptFloats(draws.value("gumbelUniform"), "draws.gumbelUniform");
      options.draws.gumbel_uniform =
          gumbel_uniform.expect(slots * config.discriminator.vocab_size, "draws.gumbelUniform").data();
    }
    if (draws.has("sampledIds")) {
      sampled_ids = KeptInts(draws.value("sampledIds"), "draws.sampledIds");
      options.draws.sampled_ids = sampled_ids.expect(slots, "draws.sampledIds").data();
    }
  }
  StepCall(const StepCall&) = delete;
  StepCall& operator=(const StepCall&) = delete;

  Outputs* wanted() { return outputs.wanted.empty() ? nullptr : &outputs; }
  Napi::Object answer(Napi::Env env) {
    Napi::Object object = to_object(env, result);
    object.Set("outputs", hand_over(env, outputs));
    object.Set("seconds", Napi::Number::New(env, seconds));
    return object;
  }

  BatchCopy copy;
  KeptInts positions, sampled_ids;
  KeptFloats replace_uniform, gumbel_uniform;
  StepOptions options;
  Outputs outputs;
  StepResult result;
  double seconds = 0;
};

OptimizerOptions read_optimizer(Napi::Value value) {
  const Fields fields(value, "options");
  OptimizerOptions options;
  options.learning_rate = static_cast<float>(fields.number("learningRate"));
  options.max_gradient_norm = fields.real("maxGradientNorm", options.max_gradient_norm);
  options.beta1 = fields.number("beta1", options.beta1);
  options.beta2 = fields.number("beta2", options.beta2);
  options.epsilon = fields.number("epsilon", options.epsilon);
  return options;
}

void require_finite(const OptimizerResult& result, unsigned step) {
  if (result.finite) return;
  throw EngineError(
      "ERR_ELECTRA_NOT_FINITE",
      "Step %u: the gradient of %s holds a NaN or an infinity. Weights and moments are as before the step.",
      step, result.nonfinite_parameter.empty() ? "the model" : result.nonfinite_parameter.c_str());
}

}  // namespace

Napi::Function PretrainingSession::define(Napi::Env env) {
  return DefineClass(env, "PretrainingSession",
                     {
                         InstanceMethod<&PretrainingSession::open>("open"),
                         InstanceMethod<&PretrainingSession::train_step>("trainStep"),
                         InstanceMethod<&PretrainingSession::forward_backward>("forwardBackward"),
                         InstanceMethod<&PretrainingSession::evaluate>("evaluate"),
                         InstanceMethod<&PretrainingSession::optimizer_step>("optimizerStep"),
                         InstanceMethod<&PretrainingSession::forward>("forward"),
                         InstanceMethod<&PretrainingSession::read_parameter>("readParameter"),
                         InstanceMethod<&PretrainingSession::write_parameter>("writeParameter"),
                         InstanceMethod<&PretrainingSession::abort>("abort"),
                         InstanceMethod<&PretrainingSession::memory>("memory"),
                         InstanceMethod<&PretrainingSession::close>("close"),
                     });
}

PretrainingSession::PretrainingSession(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<PretrainingSession>(info) {
  guarded(info.Env(), [&] {
    state_ = std::make_shared<State>();
    state_->config = read_pretraining_config(info[0]);
    state_->backend = read_backend_options(info[1]);
    state_->seed = Fields(info[1], "options").counter("seed", 0);
    state_->reserve_rows = Fields(info[1], "options").whole("reserveRows", 0);
    EngineThread::Hooks hooks;
    hooks.measure = [state = state_] { return state->model ? state->model->memory() : ModelMemory(); };
    hooks.at_exit = [state = state_] {
      state->model.reset();
      state->operators.reset();
    };
    thread_ = EngineThread::start(info.Env(), std::move(hooks));
  });
}

PretrainingSession::~PretrainingSession() {
  if (thread_) thread_->close();
}

Napi::Value PretrainingSession::enqueue(const Napi::CallbackInfo& info, Job job) {
  if (!info[0].IsNumber()) throw EngineError("ERR_ELECTRA_ARGUMENT", "The job has no id.");
  return thread_->enqueue(info.Env(), info[0].As<Napi::Number>().DoubleValue(),
                          info.This().As<Napi::Object>(), std::move(job));
}

Napi::Value PretrainingSession::open(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Job job;
    job.work = [state = state_](const std::atomic<bool>&) {
      state->operators = make_operators(state->backend);
      state->model = std::make_unique<PretrainingModel>(*state->operators, state->config, state->seed,
                                                        state->reserve_rows);
    };
    // The model's table does not change any more, so it may be read from this thread.
    job.result = [state = state_](Napi::Env env) -> Napi::Value {
      Napi::Object object = Napi::Object::New(env);
      object.Set("info", to_object(env, state->operators->info()));
      object.Set("parameters", to_object(env, state->model->parameters().table()));
      return object;
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::train_step(const Napi::CallbackInfo& info) {
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

Napi::Value PretrainingSession::forward_backward(const Napi::CallbackInfo& info) {
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

Napi::Value PretrainingSession::evaluate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto call = std::make_shared<StepCall>(info, state_->config, state_->seed);
    Job job;
    job.work = [state = state_, call](const std::atomic<bool>& abort) {
      const Stopwatch watch;
      call->options.abort = &abort;
      call->result = state->ready().evaluate(call->copy.batch, call->options, call->wanted());
      call->seconds = watch.seconds();
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return call->answer(env); };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::optimizer_step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    struct Call {
      OptimizerOptions options;
      unsigned step = 0;
      OptimizerResult result;
      double seconds = 0;
    };
    auto call = std::make_shared<Call>();
    call->options = read_optimizer(info[1]);
    call->step = static_cast<unsigned>(Fields(info[1], "options").counter("step", 0));
    Job job;
    job.changes_weights = true;
    job.work = [state = state_, call](const std::atomic<bool>&) {
      const Stopwatch watch;
      call->result = state->ready().optimizer_step(call->options);
      call->seconds = watch.seconds();
      require_finite(call->result, call->step);
    };
    job.result = [call](Napi::Env env) -> Napi::Value {
      Napi::Object object = Napi::Object::New(env);
      object.Set("gradientNorm", Napi::Number::New(env, call->result.gradient_norm));
      object.Set("seconds", Napi::Number::New(env, call->seconds));
      return object;
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::forward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    struct Call {
      explicit Call(Napi::Value batch) : copy(batch) {}
      BatchCopy copy;
      std::vector<int32_t> positions;
      ForwardOptions options;
      Outputs outputs;
    };
    auto call = std::make_shared<Call>(info[1]);
    const Fields fields(info[2], "options");
    const std::string network = fields.text("network");
    if (network != "generator" && network != "discriminator")
      fields.fail("network", "generator or discriminator");
    call->options.generator = network == "generator";
    read_wanted(fields, call->outputs);
    if (fields.has("positions")) {
      call->options.positions_per_row = fields.whole("positionsPerRow");
      call->positions = copy_ints(
          fields.value("positions"),
          static_cast<int64_t>(call->options.positions_per_row) * call->copy.batch.rows, "options.positions");
      call->options.positions = call->positions.data();
    }
    Job job;
    job.work = [state = state_, call](const std::atomic<bool>& abort) {
      call->options.abort = &abort;
      state->ready().forward(call->copy.batch, call->options, &call->outputs);
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return hand_over(env, call->outputs); };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::read_parameter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ParameterKind kind = read_kind(info[1]);
    const std::string name = info[2].ToString().Utf8Value();
    auto target = std::make_shared<KeptFloats>(info[3], "the target");
    Job job;
    job.work = [state = state_, kind, name, target](const std::atomic<bool>&) {
      state->opened().parameters().read(kind, name, target->data(), target->size());
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::write_parameter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ParameterKind kind = read_kind(info[1]);
    const std::string name = info[2].ToString().Utf8Value();
    auto source = std::make_shared<KeptFloats>(info[3], "data");
    Job job;
    job.changes_weights = true;
    job.work = [state = state_, kind, name, source](const std::atomic<bool>&) {
      state->written = true;
      state->opened().parameters().write(kind, name, source->data(), source->size());
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::abort(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) thread_->abort(info[0].As<Napi::Number>().DoubleValue());
  return info.Env().Undefined();
}

Napi::Value PretrainingSession::memory(const Napi::CallbackInfo& info) {
  return to_object(info.Env(), thread_->memory());
}

Napi::Value PretrainingSession::close(const Napi::CallbackInfo& info) { return thread_->close(info.Env()); }

}  // namespace electra::addon
