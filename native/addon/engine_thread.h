#pragma once
// One thread that does all the work of one engine, in the order in which it was asked for. JavaScript gets a
// promise for each job; its own thread never waits.
//
// Not libuv's pool: that has four threads for all of Node, and an engine wants one thread that is always the
// same (its floating-point mode, its caches, later its device context).

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../model/model_memory.h"
#include "failure.h"

namespace electra::addon {

/// Work for the engine thread. The object is made and destroyed on the JavaScript thread, so what the two
/// functions capture may hold JavaScript references.
struct Job {
  std::function<void(const std::atomic<bool>& abort)> work;  ///< engine thread; may throw
  std::function<Napi::Value(Napi::Env)> result;              ///< JavaScript thread, after work succeeded
  /// Jobs that change weights hang together: when one fails, those queued behind it that JavaScript sent
  /// before it could know are refused, so that nothing is built on a step that did not happen.
  bool changes_weights = false;
};

class EngineThread {
 public:
  /// What the thread does at its two ends: `measure` after every job, `at_exit` once, to free what it owns.
  struct Hooks {
    std::function<ModelMemory()> measure;
    std::function<void()> at_exit;
  };

  static std::shared_ptr<EngineThread> start(Napi::Env env, Hooks hooks);
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // All of these on the JavaScript thread.

  /// Queues a job; `id` is the caller's name for it in abort(), `owner` stays alive until the promise
  /// settles.
  Napi::Promise enqueue(Napi::Env env, double id, Napi::Object owner, Job job);
  /// The job is rejected with ERR_ELECTRA_ABORTED: at its turn, or between two layers if it is running.
  void abort(double id);
  /// Rejects what is queued and what runs with ERR_ELECTRA_DISPOSED and ends the thread. The promise resolves
  /// when all memory is free. May be called again.
  Napi::Promise close(Napi::Env env);
  /// The same without a promise, for a finalizer.
  void close();
  ModelMemory memory() const;

 private:
  struct Ticket;
  explicit EngineThread(Hooks hooks);
  void main();
  void drain(Napi::Env env);
  void settle(Napi::Env env, Ticket& ticket);
  void finish(Napi::Env env);
  void hold(Napi::Env env);
  void let_go(Napi::Env env);
  void report_memory(Napi::Env env);
  void stop();
  static void on_environment_exit(void* self);

  /// The running threads of one JavaScript environment.
  struct Running;
  static std::shared_ptr<Running> running_of(Napi::Env env);

  const Hooks hooks_;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Ticket>> waiting_;
  Ticket* current_ = nullptr;
  std::deque<std::unique_ptr<Ticket>> done_;
  ModelMemory memory_;
  uint64_t refused_generation_ = 0;  ///< weight-changing jobs of generations up to this are refused
  bool closing_ = false;
  bool ended_ = false;

  // JavaScript thread only.
  uint64_t generation_ = 1;  ///< counts the failures that JavaScript has been told of
  std::shared_ptr<Running> siblings_;
  napi_threadsafe_function notify_ = nullptr;
  int64_t holds_ = 0;
  int64_t reported_bytes_ = 0;
  bool finished_ = false;
  std::vector<Napi::Promise::Deferred> closed_;
};

}  // namespace electra::addon
