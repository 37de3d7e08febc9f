#include "engine_thread.h"

#include <pthread.h>

#include <set>
#include <system_error>
#include <utility>

#include "../cpu/thread_pool.h"

namespace electra::addon {

struct EngineThread::Ticket {
  Ticket(Napi::Env env, double id_, Napi::Object owner_, Job job_, uint64_t generation_)
      : id(id_),
        job(std::move(job_)),
        deferred(Napi::Promise::Deferred::New(env)),
        owner(Napi::Persistent(owner_)),
        generation(generation_) {}

  const double id;
  Job job;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference owner;
  const uint64_t generation;
  std::atomic<bool> abort{false};
  std::unique_ptr<Failure> failure;
};

struct EngineThread::Running {
  std::set<EngineThread*> threads;
};

/// process.exit() runs neither cleanup hooks nor finalizers on the main thread; it goes straight to the
/// destructors of the libraries that the engine is using at that moment. The `exit` event is the last chance
/// to stop before them.
std::shared_ptr<EngineThread::Running> EngineThread::running_of(Napi::Env env) {
  auto* known = env.GetInstanceData<std::shared_ptr<Running>>();
  if (known != nullptr) return *known;
  auto running = std::make_shared<Running>();
  env.SetInstanceData(new std::shared_ptr<Running>(running));
  const Napi::Value process = env.Global().Get("process");
  if (!process.IsObject()) return running;
  const Napi::Value on = process.As<Napi::Object>().Get("on");
  if (!on.IsFunction()) return running;
  const Napi::Function listener = Napi::Function::New(env, [running](const Napi::CallbackInfo&) {
    for (EngineThread* thread : running->threads) thread->close();
    for (EngineThread* thread : running->threads) thread->stop();
  });
  on.As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), listener});
  return running;
}

EngineThread::EngineThread(Hooks hooks) : hooks_(std::move(hooks)) {}
EngineThread::~EngineThread() = default;

std::shared_ptr<EngineThread> EngineThread::start(Napi::Env env, Hooks hooks) {
  std::shared_ptr<EngineThread> self(new EngineThread(std::move(hooks)));
  self->siblings_ = running_of(env);
  // The function's context owns a share of the thread, so that a late notification never meets a dead object.
  auto share = std::make_unique<std::shared_ptr<EngineThread>>(self);
  napi_value name = Napi::String::New(env, "electra engine");
  NAPI_THROW_IF_FAILED(
      env,
      napi_create_threadsafe_function(
          env, nullptr, nullptr, name, 0, 1, share.get(),
          [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<EngineThread>*>(data); },
          share.get(),
          [](napi_env raw, napi_value, void* context, void*) {
            if (raw == nullptr) return;  // The environment is going; on_environment_exit has cleaned up.
            (*static_cast<std::shared_ptr<EngineThread>*>(context))->drain(Napi::Env(raw));
          },
          &self->notify_),
      nullptr);
  share.release();
  napi_unref_threadsafe_function(env, self->notify_);
  try {
    self->thread_ = std::thread([raw = self.get()] { raw->main(); });
  } catch (const std::system_error& error) {
    napi_release_threadsafe_function(self->notify_, napi_tsfn_abort);
    throw EngineError("ERR_ELECTRA_THREAD", "The engine's thread could not be started: %s", error.what());
  }
  // Registered after the function above, hence run before it is torn down.
  napi_add_env_cleanup_hook(env, on_environment_exit, self.get());
  self->siblings_->threads.insert(self.get());
  return self;
}

Napi::Promise EngineThread::enqueue(Napi::Env env, double id, Napi::Object owner, Job job) {
  {
    // Only this thread closes, so the answer still holds below.
    std::lock_guard<std::mutex> lock(mutex_);
    if (closing_) throw EngineError("ERR_ELECTRA_DISPOSED", "The engine has been disposed of.");
  }
  auto ticket = std::make_unique<Ticket>(env, id, owner, std::move(job), generation_);
  const Napi::Promise promise = ticket->deferred.Promise();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(ticket));
  }
  hold(env);
  wake_.notify_one();
  return promise;
}

void EngineThread::abort(double id) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (current_ != nullptr && current_->id == id) current_->abort = true;
  for (const auto& ticket : waiting_)
    if (ticket->id == id) ticket->abort = true;
}

void EngineThread::close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    if (current_ != nullptr) current_->abort = true;
  }
  wake_.notify_one();
}

Napi::Promise EngineThread::close(Napi::Env env) {
  Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
  if (finished_) {
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  hold(env);
  closed_.push_back(deferred);
  close();
  return deferred.Promise();
}

ModelMemory EngineThread::memory() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return memory_;
}

// ---------------------------------------------------------------------------------------------------------------------
// Engine thread

void EngineThread::main() {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), "electra-engine");
#endif
  const cpu::FlushDenormals flush;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) break;  // closing, and nobody waits for an answer
    std::unique_ptr<Ticket> ticket = std::move(waiting_.front());
    waiting_.pop_front();
    if (closing_) {
      ticket->failure.reset(
          new Failure{"ERR_ELECTRA_DISPOSED", "The engine was disposed of before this was done."});
    } else if (ticket->abort) {
      ticket->failure.reset(new Failure{"ERR_ELECTRA_ABORTED", "Aborted before it began."});
    } else if (ticket->job.changes_weights && ticket->generation <= refused_generation_) {
      ticket->failure.reset(
          new Failure{"ERR_ELECTRA_STEP_DROPPED",
                      "Not done, because a step queued before it failed; weights are as that step "
                      "found them."});
    } else {
      current_ = ticket.get();
      lock.unlock();
      try {
        ticket->job.work(ticket->abort);
      } catch (...) {
        ticket->failure = std::make_unique<Failure>(current_failure());
      }
      ModelMemory memory;
      if (hooks_.measure) memory = hooks_.measure();
      lock.lock();
      current_ = nullptr;
      memory_ = memory;
      if (ticket->failure && closing_ && ticket->failure->code == "ERR_ELECTRA_ABORTED")
        *ticket->failure = {"ERR_ELECTRA_DISPOSED", "The engine was disposed of before this was done."};
    }
    if (ticket->failure && ticket->job.changes_weights && ticket->generation > refused_generation_)
      refused_generation_ = ticket->generation;
    done_.push_back(std::move(ticket));
    // Fails only when the environment is going, and then nobody listens any more.
    napi_call_threadsafe_function(notify_, nullptr, napi_tsfn_nonblocking);
  }
  lock.unlock();
  if (hooks_.at_exit) hooks_.at_exit();
  lock.lock();
  memory_ = ModelMemory();
  ended_ = true;
  napi_call_threadsafe_function(notify_, nullptr, napi_tsfn_nonblocking);
}

// ---------------------------------------------------------------------------------------------------------------------
// JavaScript thread

void EngineThread::drain(Napi::Env env) {
  Napi::HandleScope scope(env);
  std::deque<std::unique_ptr<Ticket>> done;
  bool ended = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    done.swap(done_);
    ended = ended_;
  }
  report_memory(env);
  for (const auto& ticket : done) settle(env, *ticket);
  if (ended) finish(env);
}

void EngineThread::settle(Napi::Env env, Ticket& ticket) {
  // A worker that is being terminated refuses calls into JavaScript; there is nobody left to tell.
  try {
    Napi::HandleScope scope(env);
    if (ticket.failure) {
      // What JavaScript sends from now on, it sends knowing of the failure.
      if (ticket.job.changes_weights) ++generation_;
      ticket.deferred.Reject(to_error(env, *ticket.failure).Value());
    } else {
      ticket.deferred.Resolve(ticket.job.result ? ticket.job.result(env) : env.Undefined());
    }
  } catch (const Napi::Error& error) {
    try {
      ticket.deferred.Reject(error.Value());
    } catch (const Napi::Error&) {
    }
  }
  let_go(env);
}

void EngineThread::finish(Napi::Env env) {
  if (finished_) return;
  finished_ = true;
  stop();
  siblings_->threads.erase(this);
  napi_remove_env_cleanup_hook(env, on_environment_exit, this);
  try {
    for (const auto& deferred : closed_) {
      deferred.Resolve(env.Undefined());
      let_go(env);
    }
  } catch (const Napi::Error&) {
  }
  closed_.clear();
  // Drops the context's share of this object, later, from the event loop.
  napi_release_threadsafe_function(notify_, napi_tsfn_release);
}

/// While anything is pending, the process stays; while nothing is, an engine keeps nobody from ending.
void EngineThread::hold(Napi::Env env) {
  if (holds_++ == 0) napi_ref_threadsafe_function(env, notify_);
}
void EngineThread::let_go(Napi::Env env) {
  if (--holds_ == 0) napi_unref_threadsafe_function(env, notify_);
}

/// Tells V8 what an innocent-looking object really weighs.
void EngineThread::report_memory(Napi::Env env) {
  const ModelMemory now = memory();
  const int64_t bytes = static_cast<int64_t>(now.parameters + now.activations + now.workspace);
  if (bytes == reported_bytes_) return;
  int64_t total = 0;
  napi_adjust_external_memory(env, bytes - reported_bytes_, &total);
  reported_bytes_ = bytes;
}

/// Waits for the thread: at most as long as one layer takes.
void EngineThread::stop() {
  close();
  if (thread_.joinable()) thread_.join();
}

void EngineThread::on_environment_exit(void* pointer) {
  auto* self = static_cast<EngineThread*>(pointer);
  self->stop();
  self->siblings_->threads.erase(self);
  self->finished_ = true;
  // References to JavaScript objects die here, while their environment still lives.
  self->waiting_.clear();
  self->done_.clear();
  self->closed_.clear();
}

}  // namespace electra::addon
