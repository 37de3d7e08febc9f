#pragma once
// What the JavaScript classes behind all engines share: one model, one set of operators, one thread.

#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "backend.h"
#include "engine_thread.h"
#include "operator_profile.h"
#include "results.h"
#include "session_calls.h"

namespace electra::addon {

/// What the engine thread owns. Made and destroyed there, by the first job and by the thread's end.
template <typename Model>
struct ModelState {
  typename Model::Config config;
  BackendOptions backend;
  uint64_t seed = 0;
  int32_t reserve_rows = 0;  ///< room for training batches of so many rows is made at once
  bool profiled = false;     ///< every operator is timed
  std::unique_ptr<Operators> operators;
  OperatorProfile* profile = nullptr;  ///< the operators themselves, if they are timed
  std::unique_ptr<Model> model;
  bool written = false;  ///< values came in from outside; the weights' compute forms are behind

  Model& opened() const {
    if (!model) throw EngineError("ERR_ELECTRA_INTERNAL", "The engine was used before it was created.");
    return *model;
  }
  /// For everything that computes: a checkpoint writes hundreds of variables, the compute forms follow once.
  Model& ready() {
    Model& model_in_use = opened();
    if (written) model_in_use.parameters().refresh_weights();
    written = false;
    return model_in_use;
  }
};

/// Self: the class that JavaScript sees, made as new Self(model, options). Every method but abort() and
/// memory() takes a job id first and gives a promise.
template <typename Self, typename Model>
class ModelSession : public Napi::ObjectWrap<Self> {
 public:
  explicit ModelSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {}
  ~ModelSession() override {
    if (thread_) thread_->close();
  }

  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value optimizer_step(const Napi::CallbackInfo& info);
  Napi::Value read_parameter(const Napi::CallbackInfo& info);
  Napi::Value write_parameter(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info) {
    if (info[0].IsNumber()) thread_->abort(info[0].As<Napi::Number>().DoubleValue());
    return info.Env().Undefined();
  }
  Napi::Value memory(const Napi::CallbackInfo& info) { return to_object(info.Env(), thread_->memory()); }
  Napi::Value close(const Napi::CallbackInfo& info) { return thread_->close(info.Env()); }

 protected:
  using State = ModelState<Model>;

  static std::vector<Napi::ClassPropertyDescriptor<Self>> shared_methods() {
    return {
        Self::InstanceMethod("open", &Self::open),
        Self::InstanceMethod("profile", &Self::profile),
        Self::InstanceMethod("optimizerStep", &Self::optimizer_step),
        Self::InstanceMethod("readParameter", &Self::read_parameter),
        Self::InstanceMethod("writeParameter", &Self::write_parameter),
        Self::InstanceMethod("abort", &Self::abort),
        Self::InstanceMethod("memory", &Self::memory),
        Self::InstanceMethod("close", &Self::close),
    };
  }

  /// Reads the options, keeps the configuration, starts the thread.
  void start(const Napi::CallbackInfo& info, typename Model::Config config) {
    state_ = std::make_shared<State>();
    state_->config = std::move(config);
    state_->backend = read_backend_options(info[1]);
    state_->seed = Fields(info[1], "options").counter("seed", 0);
    state_->reserve_rows = Fields(info[1], "options").whole("reserveRows", 0);
    state_->profiled = Fields(info[1], "options").flag("profile", false);
    EngineThread::Hooks hooks;
    hooks.measure = [state = state_] { return state->model ? state->model->memory() : ModelMemory(); };
    hooks.at_exit = [state = state_] {
      state->model.reset();
      state->operators.reset();
    };
    thread_ = EngineThread::start(info.Env(), std::move(hooks));
  }

  Napi::Value enqueue(const Napi::CallbackInfo& info, Job job) {
    if (!info[0].IsNumber()) throw EngineError("ERR_ELECTRA_ARGUMENT", "The job has no id.");
    return thread_->enqueue(info.Env(), info[0].As<Napi::Number>().DoubleValue(),
                            info.This().As<Napi::Object>(), std::move(job));
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<EngineThread> thread_;
};

template <typename Self, typename Model>
Napi::Value ModelSession<Self, Model>::open(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Job job;
    job.work = [state = state_](const std::atomic<bool>&) {
      state->operators = make_operators(state->backend);
      if (state->profiled) {
        // Not before: where a GPU cannot be had, the CPU may be asked next.
        if (state->backend.cuda)
          throw EngineError("ERR_ELECTRA_ARGUMENT",
                            "Operators can be timed one by one on the CPU alone.\n"
                            "Choose the device cpu, or leave the profile out.");
        auto profile = std::make_unique<OperatorProfile>(std::move(state->operators));
        state->profile = profile.get();
        state->operators = std::move(profile);
      }
      state->model =
          std::make_unique<Model>(*state->operators, state->config, state->seed, state->reserve_rows);
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

template <typename Self, typename Model>
Napi::Value ModelSession<Self, Model>::profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto times = std::make_shared<std::vector<OperatorTime>>();
    Job job;
    job.work = [state = state_, times](const std::atomic<bool>&) {
      if (state->profile == nullptr)
        throw EngineError("ERR_ELECTRA_ARGUMENT", "This engine was not created with `profile`.");
      *times = state->profile->take();
    };
    job.result = [times](Napi::Env env) -> Napi::Value { return to_array(env, *times); };
    return enqueue(info, std::move(job));
  });
}

template <typename Self, typename Model>
Napi::Value ModelSession<Self, Model>::optimizer_step(const Napi::CallbackInfo& info) {
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

template <typename Self, typename Model>
Napi::Value ModelSession<Self, Model>::read_parameter(const Napi::CallbackInfo& info) {
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

template <typename Self, typename Model>
Napi::Value ModelSession<Self, Model>::write_parameter(const Napi::CallbackInfo& info) {
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

}  // namespace electra::addon
