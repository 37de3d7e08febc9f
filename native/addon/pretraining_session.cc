#include "pretraining_session.h"

#include <string>
#include <utility>
#include <vector>

#include "model_config.h"

namespace electra::addon {

namespace {

/// Everything one step needs, from the call to the answer.
struct StepCall {
  StepCall(const Napi::CallbackInfo& info, const PretrainingConfig& config, uint64_t seed)
      : copy(Fields(info[1], "batch"), batch) {
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
    const int64_t slots = static_cast<int64_t>(batch.rows) * config.max_predictions_per_seq;
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

  HostBatch batch;
  RowsCopy copy;
  KeptInts positions, sampled_ids;
  KeptFloats replace_uniform, gumbel_uniform;
  StepOptions options;
  Outputs outputs;
  StepResult result;
  double seconds = 0;
};

}  // namespace

Napi::Function PretrainingSession::define(Napi::Env env) {
  std::vector<Napi::ClassPropertyDescriptor<PretrainingSession>> methods = shared_methods();
  methods.push_back(InstanceMethod<&PretrainingSession::train_step>("trainStep"));
  methods.push_back(InstanceMethod<&PretrainingSession::forward_backward>("forwardBackward"));
  methods.push_back(InstanceMethod<&PretrainingSession::evaluate>("evaluate"));
  methods.push_back(InstanceMethod<&PretrainingSession::forward>("forward"));
  return DefineClass(env, "PretrainingSession", methods);
}

PretrainingSession::PretrainingSession(const Napi::CallbackInfo& info) : ModelSession(info) {
  guarded(info.Env(), [&] { start(info, read_pretraining_config(info[0])); });
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
          state->ready().train_step(call->batch, call->options, optimizer, update.get(), call->wanted());
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
      call->result = state->ready().forward_backward(call->batch, call->options, call->wanted());
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
      call->result = state->ready().evaluate(call->batch, call->options, call->wanted());
      call->seconds = watch.seconds();
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return call->answer(env); };
    return enqueue(info, std::move(job));
  });
}

Napi::Value PretrainingSession::forward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    struct Call {
      explicit Call(Napi::Value value) : copy(Fields(value, "batch"), batch) {}
      HostBatch batch;
      RowsCopy copy;
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
      call->positions = copy_ints(fields.value("positions"),
                                  static_cast<int64_t>(call->options.positions_per_row) * call->batch.rows,
                                  "options.positions");
      call->options.positions = call->positions.data();
    }
    Job job;
    job.work = [state = state_, call](const std::atomic<bool>& abort) {
      call->options.abort = &abort;
      state->ready().forward(call->batch, call->options, &call->outputs);
    };
    job.result = [call](Napi::Env env) -> Napi::Value { return hand_over(env, call->outputs); };
    return enqueue(info, std::move(job));
  });
}

}  // namespace electra::addon
