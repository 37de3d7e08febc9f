#include "thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "../engine_error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif
#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#endif

namespace electra::cpu {
namespace {

using Clock = std::chrono::steady_clock;
/// How long a thread that has nothing to do looks before it sleeps. Longer than the gap between two
/// operators, shorter than what a neighbour on the same core would notice.
constexpr std::chrono::microseconds kSpin{50};

inline void pause_briefly() {
  for (int i = 0; i < 16; ++i) {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

/// Looks at `ready` for kSpin at most; whether it came true.
template <typename Ready>
bool spin_until(const Ready& ready) {
  const Clock::time_point end = Clock::now() + kSpin;
  do {
    if (ready()) return true;
    pause_briefly();
  } while (Clock::now() < end);
  return ready();
}

constexpr uint64_t kRemaining = 0xffffffffu;

}  // namespace

/// The tasks of a call are dealt out in as many equal stretches as there are workers, one each; a worker that is
/// done with its own takes from the others'. So the same worker meets the same rows of a batch in one operator
/// after the other, and finds in its caches what it wrote there: cores that do not share a last-level cache pay
/// dearly for each other's lines.
///
/// The heart is a word for each stretch: the number of the call (high half) and how many of its tasks nobody has
/// taken (low half). A task is taken by decrementing it with compare-and-swap, so a worker that was descheduled
/// and comes back late can never take a task of another call by mistake. Body and borders are read after that:
/// the call cannot end before the task that was taken has been finished, so they are the right ones.
struct ThreadPool::State {
  struct alignas(64) Stretch {
    std::atomic<uint64_t> ticket{0};
    int64_t end = 0;  ///< the task behind the last one
  };

  std::vector<std::thread> workers;
  std::unique_ptr<Stretch[]> stretches;
  int count = 1;                    // of stretches, and of workers with the caller
  uint64_t call = 0;                // its lower 32 bits stand in the tickets
  std::atomic<int64_t> untaken{0};  // tasks of all stretches
  std::atomic<int64_t> unfinished{0};
  std::atomic<bool> failed{false};
  std::atomic<bool> stop{false};
  std::atomic<int> sleeping{0};  // workers that want a notification
  std::atomic<bool> caller_sleeps{false};
  const std::function<void(int64_t, int)>* body = nullptr;
  std::exception_ptr error;
  std::mutex mutex;
  std::condition_variable wake_workers;
  std::condition_variable wake_caller;

  bool work_waits() const { return untaken.load() > 0; }

  /// Deals out the tasks of a new call.
  void deal(int64_t tasks) {
    ++call;
    unfinished.store(tasks);
    untaken.store(tasks);
    for (int w = 0; w < count; ++w) {
      const int64_t first = tasks * w / count, end = tasks * (w + 1) / count;
      stretches[w].end = end;
      stretches[w].ticket.store((call << 32) | static_cast<uint64_t>(end - first));
    }
  }

  /// Takes a task of a stretch; −1 if none is left.
  int64_t take(Stretch& stretch) {
    uint64_t seen = stretch.ticket.load();
    while ((seen & kRemaining) != 0) {
      if (!stretch.ticket.compare_exchange_weak(seen, seen - 1)) continue;
      untaken.fetch_sub(1);
      return stretch.end - static_cast<int64_t>(seen & kRemaining);
    }
    return -1;
  }

  /// Runs tasks until none is left to take, its own first. With many workers a look at all stretches costs as
  /// much as a small task, so there is none once nothing is left.
  void work(int worker) {
    for (int i = 0; i < count && work_waits(); ++i) {
      Stretch& stretch = stretches[(worker + i) % count];
      for (int64_t task = take(stretch); task >= 0; task = take(stretch)) run_task(task, worker);
    }
  }

  void run_task(int64_t task, int worker) {
    if (!failed.load(std::memory_order_relaxed)) {
      try {
        (*body)(task, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
        failed.store(true);
      }
    }
    if (unfinished.fetch_sub(1) == 1 && caller_sleeps.load()) {
      { const std::lock_guard<std::mutex> lock(mutex); }
      wake_caller.notify_one();
    }
  }

  void worker_main(int worker) {
    const FlushDenormals flush;
    while (true) {
      if (!spin_until([&] { return work_waits() || stop.load(); })) {
        std::unique_lock<std::mutex> lock(mutex);
        sleeping.fetch_add(1);
        wake_workers.wait(lock, [&] { return work_waits() || stop.load(); });
        sleeping.fetch_sub(1);
      }
      if (stop.load()) return;
      work(worker);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > 1024)
    throw EngineError("ERR_ELECTRA_THREADS", "the number of threads must lie between 1 and 1024, not %d",
                      threads);
  State* state = state_.get();
  state->count = threads;
  state->stretches = std::make_unique<State::Stretch[]>(static_cast<size_t>(threads));
#if defined(__linux__) || defined(__APPLE__)
  // Signals belong to the host program's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  try {
    for (int i = 1; i < threads; ++i) {
      state->workers.emplace_back([state, i] { state->worker_main(i); });
#if defined(__linux__)
      pthread_setname_np(state->workers.back().native_handle(), "electra-worker");
#endif
    }
  } catch (const std::exception& e) {
    state->stop.store(true);
    { const std::lock_guard<std::mutex> lock(state->mutex); }
    state->wake_workers.notify_all();
    for (std::thread& worker : state->workers) worker.join();
#if defined(__linux__) || defined(__APPLE__)
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    throw EngineError("ERR_ELECTRA_THREADS", "cannot start %d threads: %s", threads, e.what());
  }
#if defined(__linux__) || defined(__APPLE__)
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  { const std::lock_guard<std::mutex> lock(state_->mutex); }
  state_->wake_workers.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int64_t tasks, const std::function<void(int64_t, int)>& body) {
  if (tasks <= 0) return;
  const FlushDenormals flush;
  State& s = *state_;
  if (tasks == 1 || s.workers.empty()) {
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  if (static_cast<uint64_t>(tasks) > kRemaining)
    throw EngineError("ERR_ELECTRA_SHAPE", "%lld tasks in one call of the thread pool",
                      static_cast<long long>(tasks));
  s.body = &body;
  s.error = nullptr;
  s.failed.store(false);
  s.deal(tasks);
  if (s.sleeping.load() > 0) {
    { const std::lock_guard<std::mutex> lock(s.mutex); }
    s.wake_workers.notify_all();
  }
  s.work(0);
  const auto finished = [&] { return s.unfinished.load() == 0; };
  if (!spin_until(finished)) {
    std::unique_lock<std::mutex> lock(s.mutex);
    s.caller_sleeps.store(true);
    s.wake_caller.wait(lock, finished);
    s.caller_sleeps.store(false);
  }
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

#if defined(__x86_64__) || defined(__i386__)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }  // FTZ | DAZ
// The sticky exception flags that were raised meanwhile stay out of the caller's sight, as before.
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() {
  uint64_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  saved_ = static_cast<unsigned>(fpcr);
  asm volatile("msr fpcr, %0" : : "r"(fpcr | (1u << 24)));  // FZ
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(static_cast<uint64_t>(saved_))); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() {}
#endif

}  // namespace electra::cpu
