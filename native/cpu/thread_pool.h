#pragma once
// One pool of workers for all operators. The caller (the engine thread) is worker 0 and works too.

#include <cstdint>
#include <functional>
#include <memory>

namespace electra::cpu {

/// Runs `body(task, worker)` for task = 0 … tasks − 1. Each worker begins with a stretch of its own, worker 0 with
/// the first, and goes on with what others have left of theirs: neighbouring tasks should belong to
/// neighbouring rows. Which worker runs a task depends on timing; a task may therefore write only what no other
/// task of the call writes, and the number and the borders of tasks must depend on shapes only, never on the
/// number of workers.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  /// The first exception that a task throws is rethrown here, after all workers have left the call.
  void run(int64_t tasks, const std::function<void(int64_t task, int worker)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Flush-to-zero and denormals-are-zero for the life of the object, on this thread only: Adam's decayed
/// moments become denormals, which are an order of magnitude slower. Never set on a thread that is not ours.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

}  // namespace electra::cpu
