#include "kernel_session.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "backend.h"
#include "kernel_call.h"
#include "results.h"

namespace electra::addon {

struct KernelSession::State {
  BackendOptions options;
  std::unique_ptr<Operators> operators;
  KernelFunctions functions;
  Capacity reserved;
  bool any_reserved = false;

  /// The workspace grows with the largest call so far, in every dimension.
  void reserve(const Capacity& wanted) {
    Capacity next = reserved;
    next.tokens = std::max(next.tokens, wanted.tokens);
    next.batch = std::max(next.batch, wanted.batch);
    next.pitch = std::max(next.pitch, wanted.pitch);
    next.slots = std::max(next.slots, wanted.slots);
    next.lm_rows = std::max(next.lm_rows, wanted.lm_rows);
    next.vocabulary = std::max(next.vocabulary, wanted.vocabulary);
    next.max_width = std::max(next.max_width, wanted.max_width);
    next.max_heads = std::max(next.max_heads, wanted.max_heads);
    next.max_segments = std::max(next.max_segments, wanted.max_segments);
    next.parameters = std::max(next.parameters, wanted.parameters);
    const bool grown = next.tokens != reserved.tokens || next.batch != reserved.batch ||
                       next.pitch != reserved.pitch || next.slots != reserved.slots ||
                       next.lm_rows != reserved.lm_rows || next.vocabulary != reserved.vocabulary ||
                       next.max_width != reserved.max_width || next.max_heads != reserved.max_heads ||
                       next.max_segments != reserved.max_segments || next.parameters != reserved.parameters;
    if (any_reserved && !grown) return;
    operators->reserve(next);
    reserved = next;
    any_reserved = true;
  }
};

namespace {

/// A call with the JavaScript arrays that it uses.
struct BoundCall {
  explicit BoundCall(Napi::Value value) {
    if (!value.IsObject()) throw EngineError("ERR_ELECTRA_ARGUMENT", "The arguments must be an object.");
    const Napi::Object object = value.As<Napi::Object>();
    const Napi::Array names = object.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const Napi::Value key = names.Get(i);
      const std::string name = key.ToString().Utf8Value();
      const Napi::Value argument = object.Get(key);
      if (argument.IsNumber()) {
        call.numbers[name] = argument.As<Napi::Number>().DoubleValue();
      } else if (argument.IsBoolean()) {
        call.numbers[name] = argument.As<Napi::Boolean>().Value() ? 1 : 0;
      } else if (argument.IsString()) {
        call.texts[name] = argument.As<Napi::String>().Utf8Value();
      } else if (argument.IsTypedArray()) {
        if (argument.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
          integers.emplace_back(argument, name.c_str());
          call.arrays[name] = {integers.back().data(), integers.back().size(), true};
        } else {
          floats.emplace_back(argument, name.c_str());
          call.arrays[name] = {floats.back().data(), floats.back().size(), false};
        }
      } else if (!argument.IsUndefined()) {
        throw EngineError("ERR_ELECTRA_ARGUMENT", "%s must be a number, a boolean, a string or a typed array",
                          name.c_str());
      }
    }
  }
  KernelCall call;
  std::vector<KeptFloats> floats;
  std::vector<KeptInts> integers;
};

/// What a call holds on the device goes when it is done or has failed, on the thread that the device belongs
/// to.
class Attachment {
 public:
  Attachment(KernelCall& call, Operators& operators) : call_(call) { call.attach(operators); }
  ~Attachment() { call_.detach(); }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

 private:
  KernelCall& call_;
};

Napi::Object answer(Napi::Env env, KernelCall& call) {
  Napi::Object object = Napi::Object::New(env);
  for (auto& [name, array] : call.results) object.Set(name, hand_over(env, std::move(array.f32)));
  for (auto& [name, array] : call.integer_results) object.Set(name, hand_over(env, std::move(array.i32)));
  for (const auto& [name, value] : call.results_by_number) object.Set(name, Napi::Number::New(env, value));
  object.Set("seconds", hand_over(env, std::move(call.seconds)));
  return object;
}

}  // namespace

Napi::Function KernelSession::define(Napi::Env env) {
  return DefineClass(env, "KernelSession",
                     {
                         InstanceMethod<&KernelSession::open>("open"),
                         InstanceMethod<&KernelSession::run>("run"),
                         InstanceMethod<&KernelSession::abort>("abort"),
                         InstanceMethod<&KernelSession::close>("close"),
                     });
}

KernelSession::KernelSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<KernelSession>(info) {
  guarded(info.Env(), [&] {
    state_ = std::make_shared<State>();
    state_->options = read_backend_options(info[0]);
    add_dense_kernels(state_->functions);
    add_norm_kernels(state_->functions);
    add_attention_kernels(state_->functions);
    add_token_kernels(state_->functions);
    add_loss_kernels(state_->functions);
    add_optimizer_kernels(state_->functions);
    EngineThread::Hooks hooks;
    hooks.measure = [state = state_] {
      ModelMemory memory;
      if (state->operators) memory.workspace = state->operators->workspace_bytes();
      return memory;
    };
    hooks.at_exit = [state = state_] { state->operators.reset(); };
    thread_ = EngineThread::start(info.Env(), std::move(hooks));
  });
}

KernelSession::~KernelSession() {
  if (thread_) thread_->close();
}

Napi::Value KernelSession::enqueue(const Napi::CallbackInfo& info, Job job) {
  if (!info[0].IsNumber()) throw EngineError("ERR_ELECTRA_ARGUMENT", "The job has no id.");
  return thread_->enqueue(info.Env(), info[0].As<Napi::Number>().DoubleValue(),
                          info.This().As<Napi::Object>(), std::move(job));
}

Napi::Value KernelSession::open(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Job job;
    job.work = [state = state_](const std::atomic<bool>&) {
      state->operators = make_operators(state->options);
    };
    job.result = [state = state_](Napi::Env env) -> Napi::Value {
      return to_object(env, state->operators->info());
    };
    return enqueue(info, std::move(job));
  });
}

Napi::Value KernelSession::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::string name = info[1].ToString().Utf8Value();
    const auto found = state_->functions.find(name);
    if (found == state_->functions.end())
      throw EngineError("ERR_ELECTRA_ARGUMENT", "There is no operator \"%s\"", name.c_str());
    auto bound = std::make_shared<BoundCall>(info[2]);
    Job job;
    job.work = [state = state_, function = found->second, bound](const std::atomic<bool>&) {
      if (!state->operators)
        throw EngineError("ERR_ELECTRA_INTERNAL", "The kernels were used before they were created.");
      const BackendOptions& options = state->options;
      KernelContext context{*state->operators,
                            options.cuda ? nullptr : &cpu::gemm_provider(options.cpu.gemm, options.cpu.isa),
                            [&state](const Capacity& capacity) { state->reserve(capacity); }};
      const Attachment attachment(bound->call, *state->operators);
      function(context, bound->call);
    };
    job.result = [bound](Napi::Env env) -> Napi::Value { return answer(env, bound->call); };
    return enqueue(info, std::move(job));
  });
}

Napi::Value KernelSession::abort(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) thread_->abort(info[0].As<Napi::Number>().DoubleValue());
  return info.Env().Undefined();
}

Napi::Value KernelSession::close(const Napi::CallbackInfo& info) { return thread_->close(info.Env()); }

}  // namespace electra::addon
