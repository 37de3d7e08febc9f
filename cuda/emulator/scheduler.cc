#include "scheduler.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "../../native/engine_error.h"
#include "fiber.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace electra::emulator {
namespace {

constexpr char kCode[] = "ERR_ELECTRA_CUDA";
constexpr size_t kCanaryBytes = 16;
constexpr unsigned char kCanary = 0xC5;

struct AsyncCopy {
  void* to;
  const void* from;
  uint64_t group;
};

struct Thread {
  uint3 index;
  int linear = 0;
  Fiber* fiber = nullptr;  // set while it has begun and not ended
  bool in_block_barrier = false;
  bool waiting = false;
  Site site{};
  uint32_t mask = 0;
  uint64_t committed = 0;
  std::vector<AsyncCopy> copies;
};

struct Warp {
  uint32_t live = 0;
  uint32_t arrived = 0;  // lanes
  int parity = 0;
  Site site{};
  uint32_t mask = 0;
  void (*complete)(WarpExchange&) = nullptr;
  WarpExchange exchange[2];
};

struct Worker : Fiber {
  int colour = 0;
  Thread* assigned = nullptr;
};

/// Mapped memory between two guard pages.
struct Arena {
  char* begin = nullptr;
  size_t bytes = 0;
  void map(size_t wanted) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    bytes = (wanted + page - 1) / page * page;
    void* memory = mmap(nullptr, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "emulator: no shared memory");
    begin = static_cast<char*>(memory) + page;
    mprotect(begin, bytes, PROT_READ | PROT_WRITE);
  }
};

struct SharedArray {
  char* begin;
  size_t bytes;
  const char* name;
};

// One grid runs at a time (runtime.cc holds a lock), so all of this belongs to the process.
struct State {
  Fiber host;
  std::deque<Worker> workers;
  std::vector<Worker*> idle;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Thread*> ready;
  std::vector<int> order;  // of threads not begun, under a random schedule
  int thread_count = 0, begun = 0, live = 0, arrived = 0, votes = 0;
  BlockVote vote{};
  Site site{};  // of the block barrier now filling
  Thread* current = nullptr;
  const std::function<void()>* body = nullptr;
  const char* kernel = nullptr;
  std::exception_ptr failure;
  Schedule schedule = Schedule::kForward;
  uint64_t random = 0;
  uint64_t block = 0;  // serial number
  Arena static_arena, dynamic_arena;
  size_t static_used = 0, static_payload = 0, dynamic_bytes = 0;
  char* dynamic_begin = nullptr;
  std::vector<SharedArray> arrays;
  Counters counters{};
};
State state;

uint64_t random_word() {  // splitmix64
  uint64_t z = state.random += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
size_t random_below(size_t n) { return static_cast<size_t>((random_word() >> 32) * n >> 32); }

Thread& thread_to_begin() {
  const int i = state.begun++;
  if (state.schedule == Schedule::kForward) return state.threads[i];
  if (state.schedule == Schedule::kReversed) return state.threads[state.thread_count - 1 - i];
  return state.threads[state.order[i]];
}

/// The thread to run next; null when none can.
Thread* pick() {
  const size_t waiting = static_cast<size_t>(state.thread_count - state.begun);
  std::vector<Thread*>& ready = state.ready;
  if (ready.empty()) return waiting > 0 ? &thread_to_begin() : nullptr;
  if (state.schedule == Schedule::kRandom) {
    const size_t choice = random_below(ready.size() + waiting);
    if (choice >= ready.size()) return &thread_to_begin();
    std::swap(ready[choice], ready.back());
  }
  Thread* thread = ready.back();
  ready.pop_back();
  return thread;
}

void perform(AsyncCopy& copy) {
  if (copy.to == nullptr) return;
  if (copy.from == nullptr) {
    std::memset(copy.to, 0, 16);
  } else {
    std::memcpy(copy.to, copy.from, 16);
  }
  copy.to = nullptr;
}

void make_ready(Thread* thread) {
  thread->waiting = false;
  state.ready.push_back(thread);
}

/// Releases a range of threads so that pick() meets them in the schedule's order.
template <class Wanted>
void release(int first, int last, Wanted wanted) {
  if (state.schedule == Schedule::kReversed) {
    for (int i = first; i < last; ++i) {
      if (wanted(state.threads[i])) make_ready(&state.threads[i]);
    }
  } else {
    for (int i = last - 1; i >= first; --i) {
      if (wanted(state.threads[i])) make_ready(&state.threads[i]);
    }
  }
}

void release_warp(int index) {
  Warp& warp = state.warps[index];
  ++state.counters.warp_barriers;
  if ((warp.mask & warp.live) != warp.live) {
    kernel_error("%s at %s:%d: mask 0x%08x does not name all live lanes of warp %d, 0x%08x", warp.site.what,
                 warp.site.file, warp.site.line, warp.mask, index, warp.live);
  }
  WarpExchange& exchange = warp.exchange[warp.parity];
  exchange.lanes = warp.live;
  if (warp.complete != nullptr) warp.complete(exchange);
  warp.parity ^= 1;
  warp.arrived = 0;
  const int first = index * 32;
  release(first, std::min(first + 32, state.thread_count),
          [](const Thread& thread) { return thread.waiting && !thread.in_block_barrier; });
}

void release_block() {
  ++state.counters.block_barriers;
  state.vote = BlockVote{state.votes, state.live};
  state.arrived = 0;
  state.votes = 0;
  release(0, state.thread_count,
          [](const Thread& thread) { return thread.waiting && thread.in_block_barrier; });
}

void become(Thread* thread) {
  state.current = thread;
  threadIdx = thread->index;
}

/// Nothing can run although threads are left: says who waits for what.
void report_divergence() {
  struct Group {
    int count = 0, first = 0, last = 0;
    uint32_t mask = 0;
  };
  std::map<std::pair<int, std::string>, Group> groups;
  for (int i = 0; i < state.thread_count; ++i) {
    const Thread& thread = state.threads[i];
    if (!thread.waiting) continue;
    Group& group = groups[{thread.site.line, std::string(thread.site.what) + " at " + thread.site.file}];
    if (group.count++ == 0) group.first = i;
    group.last = i;
    group.mask = thread.mask;
  }
  std::string text;
  for (const auto& [site, group] : groups) {
    char line[400];
    std::snprintf(line, sizeof(line), "; %d threads (%d..%d) wait in %s:%d", group.count, group.first,
                  group.last, site.second.c_str(), site.first);
    text += line;
    if (group.mask != 0) {
      std::snprintf(line, sizeof(line), " with mask 0x%08x", group.mask);
      text += line;
    }
  }
  state.failure = std::make_exception_ptr(EngineError(
      kCode, "emulator: divergent barrier in kernel %s, block (%u, %u, %u): %d of %d threads have exited%s",
      state.kernel, blockIdx.x, blockIdx.y, blockIdx.z, state.thread_count - state.live, state.thread_count,
      text.c_str()));
}

/// Ends the block from within a fiber whose frames are not needed any more.
[[noreturn]] void leave(Fiber& self) {
  fiber_switch(self, state.host);
  std::abort();  // a fiber left this way is prepared anew
}

void worker_main(Fiber& fiber);

Worker* idle_worker() {
  if (state.idle.empty()) {
    Worker& worker = state.workers.emplace_back();
    worker.colour = static_cast<int>(state.workers.size());
    fiber_create(worker);
    fiber_prepare(worker, worker.colour, &worker_main);
    return &worker;
  }
  Worker* worker = state.idle.back();
  state.idle.pop_back();
  return worker;
}

/// Goes on with `thread` from `self`; comes back when someone switches here again.
void switch_to(Fiber& self, Thread* thread) {
  ++state.counters.switches;
  if (thread->fiber == nullptr) {
    Worker* worker = idle_worker();
    worker->assigned = thread;
    fiber_switch(self, *worker);
  } else {
    fiber_switch(self, *thread->fiber);
  }
}

/// The running thread waits, or gives way when it is ready itself.
void suspend() {
  Thread* self = state.current;
  Thread* next = pick();
  if (next == nullptr) {
    report_divergence();
    leave(*self->fiber);
  }
  if (next == self) return;
  switch_to(*self->fiber, next);
  become(self);
}

void exit_thread(Thread* thread) {
  thread->fiber = nullptr;
  --state.live;
  Warp& warp = state.warps[thread->linear / 32];
  warp.live &= ~(1u << (thread->linear % 32));
  if (warp.arrived != 0 && warp.arrived == warp.live) release_warp(thread->linear / 32);
  if (state.arrived != 0 && state.arrived == state.live) release_block();
}

/// A stack's life: run threads one after the other, as long as they end without waiting that costs no switch.
void worker_main(Fiber& fiber) {
  Worker& self = static_cast<Worker&>(fiber);
  for (;;) {
    Thread* thread = self.assigned;
    while (thread != nullptr && thread->fiber == nullptr) {
      become(thread);
      thread->fiber = &self;
      thread->committed = 0;
      thread->copies.clear();
      try {
        (*state.body)();
        exit_thread(thread);
      } catch (...) {
        state.failure = std::current_exception();
      }
      if (state.failure) leave(self);
      thread = pick();
    }
    state.idle.push_back(&self);
    if (thread != nullptr) {
      switch_to(self, thread);
    } else {
      if (state.live > 0) {
        report_divergence();
        leave(self);
      }
      fiber_switch(self, state.host);
    }
  }
}

void check_canaries() {
  for (const SharedArray& array : state.arrays) {
    for (size_t i = 0; i < kCanaryBytes; ++i) {
      if (static_cast<unsigned char>(array.begin[array.bytes + i]) != kCanary) {
        throw EngineError(kCode,
                          "emulator: kernel %s, block (%u, %u, %u) wrote past the end of shared array %s",
                          state.kernel, blockIdx.x, blockIdx.y, blockIdx.z, array.name);
      }
    }
  }
  const char* end = state.dynamic_begin + state.dynamic_bytes;
  for (; state.dynamic_bytes > 0 && end < state.dynamic_arena.begin + state.dynamic_arena.bytes; ++end) {
    if (static_cast<unsigned char>(*end) != kCanary) {
      throw EngineError(
          kCode, "emulator: kernel %s, block (%u, %u, %u) wrote past its %zu bytes of dynamic shared memory",
          state.kernel, blockIdx.x, blockIdx.y, blockIdx.z, state.dynamic_bytes);
    }
  }
}

void run_block() {
  ++state.block;
  ++state.counters.blocks;
  state.counters.threads += static_cast<uint64_t>(state.thread_count);
  for (int w = 0; w * 32 < state.thread_count; ++w) {
    Warp& warp = state.warps[w];
    const int lanes = std::min(32, state.thread_count - w * 32);
    warp.live = lanes == 32 ? 0xFFFFFFFFu : (1u << lanes) - 1;
    warp.arrived = 0;
  }
  state.begun = state.arrived = state.votes = 0;
  state.live = state.thread_count;
  state.ready.clear();
  state.static_used = 0;
  state.arrays.clear();
  if (state.dynamic_bytes > 0) std::memset(state.dynamic_begin, 0xFF, state.dynamic_bytes);
  if (state.schedule == Schedule::kRandom) {
    for (int i = state.thread_count - 1; i > 0; --i)
      std::swap(state.order[i], state.order[random_below(i + 1)]);
  }
  Worker* worker = idle_worker();
  worker->assigned = pick();
  fiber_switch(state.host, *worker);
  state.current = nullptr;
  if (state.failure) {
    // Frames of the other threads are dropped, not unwound; every stack starts afresh.
    state.idle.clear();
    for (Worker& each : state.workers) {
      fiber_prepare(each, each.colour, &worker_main);
      state.idle.push_back(&each);
    }
    for (Thread& thread : state.threads)
      thread.fiber = nullptr, thread.waiting = false, thread.copies.clear();
    std::exception_ptr failure = std::exchange(state.failure, nullptr);
    std::rethrow_exception(failure);
  }
  check_canaries();
}

size_t parse_size(const char* text) { return static_cast<size_t>(std::strtoull(text, nullptr, 0)); }

void read_schedule(Options& options, const char* text) {
  if (std::strcmp(text, "forward") == 0) {
    options.schedule = Schedule::kForward;
  } else if (std::strcmp(text, "reversed") == 0) {
    options.schedule = Schedule::kReversed;
  } else if (std::strncmp(text, "random", 6) == 0 && (text[6] == ':' || text[6] == '\0')) {
    options.schedule = Schedule::kRandom;
    options.seed = text[6] == ':' ? parse_size(text + 7) : 0;
  } else {
    throw EngineError("ERR_ELECTRA_VALUE", "emulator: schedule %s, expected forward, reversed or random:SEED",
                      text);
  }
}

bool same_site(const Site& a, const Site& b) { return a.line == b.line && std::strcmp(a.what, b.what) == 0; }

}  // namespace

Options& options() {
  static Options instance = [] {
    Options result;
    if (const char* text = std::getenv("ELECTRA_EMULATOR_SCHEDULE")) read_schedule(result, text);
    if (const char* text = std::getenv("ELECTRA_EMULATOR_DEFER")) result.defer = std::strcmp(text, "1") == 0;
    if (const char* text = std::getenv("ELECTRA_EMULATOR_FAIL_MALLOC")) result.fail_malloc = std::atoll(text);
    if (const char* text = std::getenv("ELECTRA_EMULATOR_MEMORY")) result.memory = parse_size(text);
    if (const char* text = std::getenv("ELECTRA_EMULATOR_MULTIPROCESSORS"))
      result.multiprocessors = std::atoi(text);
    if (const char* text = std::getenv("ELECTRA_EMULATOR_DRIVER")) {
      if (std::strcmp(text, "none") == 0) result.driver = Options::Driver::kNone;
      if (std::strcmp(text, "old") == 0) result.driver = Options::Driver::kOld;
    }
    return result;
  }();
  return instance;
}

void set_schedule(const char* text) { read_schedule(options(), text); }

Counters& counters() { return state.counters; }
void reset_counters() { state.counters = Counters{}; }

LaneSlot& lane_slot() {
  const int thread = state.current->linear;
  Warp& warp = state.warps[thread / 32];
  return warp.exchange[warp.parity].in[thread % 32];
}

const WarpExchange& warp_exchange(const Site& site, uint32_t mask, void (*complete)(WarpExchange&)) {
  Thread& thread = *state.current;
  const int index = thread.linear / 32;
  Warp& warp = state.warps[index];
  const WarpExchange& exchange = warp.exchange[warp.parity];
  if ((mask >> (thread.linear % 32) & 1u) == 0) {
    kernel_error("%s at %s:%d: mask 0x%08x lacks the calling lane", site.what, site.file, site.line, mask);
  }
  if (warp.arrived == 0) {
    warp.site = site;
    warp.mask = mask;
    warp.complete = complete;
  } else if (!same_site(site, warp.site) || mask != warp.mask) {
    kernel_error(
        "lanes of warp %d meet in different places: %s at %s:%d with mask 0x%08x, %s at %s:%d with mask "
        "0x%08x",
        index, warp.site.what, warp.site.file, warp.site.line, warp.mask, site.what, site.file, site.line,
        mask);
  }
  thread.waiting = true;
  thread.in_block_barrier = false;
  thread.site = site;
  thread.mask = mask;
  warp.arrived |= 1u << (thread.linear % 32);
  if (warp.arrived == warp.live) release_warp(index);
  suspend();
  return exchange;
}

int lane_id() { return state.current->linear % 32; }
uint32_t live_lanes() { return state.warps[state.current->linear / 32].live; }

BlockVote block_barrier(const Site& site, bool predicate) {
  Thread& thread = *state.current;
  if (state.arrived == 0) {
    state.site = site;
  } else if (!same_site(site, state.site)) {
    kernel_error("divergent barrier: threads of one block meet in %s at %s:%d and in %s at %s:%d",
                 state.site.what, state.site.file, state.site.line, site.what, site.file, site.line);
  }
  thread.waiting = true;
  thread.in_block_barrier = true;
  thread.site = site;
  thread.mask = 0;
  ++state.arrived;
  state.votes += predicate ? 1 : 0;
  if (state.arrived == state.live) release_block();
  suspend();
  return state.vote;
}

void preemption_point() {
  if (state.schedule != Schedule::kRandom || state.current == nullptr || random_below(4) != 0) return;
  state.ready.push_back(state.current);
  suspend();
}

void* static_shared(SharedSlot& slot, size_t bytes, size_t alignment, const char* name) {
  if (slot.block == state.block) return slot.memory;
  const size_t unit = std::max(alignment, kCanaryBytes);
  const size_t begin = (state.static_used + unit - 1) / unit * unit;
  state.static_payload = (state.arrays.empty() ? 0 : state.static_payload) + bytes;
  if (state.static_payload > kMaxStaticSharedBytes) {
    kernel_error("%zu bytes of static shared memory with %s, at most %zu", state.static_payload, name,
                 kMaxStaticSharedBytes);
  }
  if (state.static_payload + state.dynamic_bytes > kMaxSharedBytes) {
    kernel_error("static and dynamic shared memory beyond %zu bytes", kMaxSharedBytes);
  }
  char* memory = state.static_arena.begin + begin;
  state.static_used = begin + bytes + kCanaryBytes;
  std::memset(memory, 0xFF, bytes);
  std::memset(memory + bytes, kCanary, kCanaryBytes);
  state.arrays.push_back(SharedArray{memory, bytes, name});
  slot.block = state.block;
  slot.memory = memory;
  return memory;
}

void* dynamic_shared(const char* name) {
  if (state.dynamic_bytes == 0) kernel_error("%s: launched without dynamic shared memory", name);
  return state.dynamic_begin;
}

void check_shared(const char* what, const void* address, size_t bytes) {
  const char* begin = static_cast<const char*>(address);
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0)
    kernel_error("%s: address %p is not a multiple of 16", what, address);
  if (begin >= state.dynamic_begin && begin + bytes <= state.dynamic_begin + state.dynamic_bytes) return;
  for (const SharedArray& array : state.arrays) {
    if (begin >= array.begin && begin + bytes <= array.begin + array.bytes) return;
  }
  kernel_error("%s: address %p is not in the block's shared memory", what, address);
}

void async_copy(void* shared, const void* source) {
  check_shared("cp.async", shared, 16);
  if (reinterpret_cast<uintptr_t>(source) % 16 != 0)
    kernel_error("cp.async: source %p is not a multiple of 16", source);
  Thread& thread = *state.current;
  thread.copies.push_back(AsyncCopy{shared, source, thread.committed});
  const bool early =
      state.schedule == Schedule::kReversed || (state.schedule == Schedule::kRandom && random_below(2) == 0);
  if (early) perform(thread.copies.back());
}

void async_commit() { ++state.current->committed; }

void async_wait(int pending_groups) {
  Thread& thread = *state.current;
  size_t kept = 0;
  for (AsyncCopy& copy : thread.copies) {
    if (copy.group + static_cast<uint64_t>(pending_groups) < thread.committed) {
      perform(copy);
    } else {
      thread.copies[kept++] = copy;
    }
  }
  thread.copies.resize(kept);
}

void kernel_error(const char* format, ...) {
  char text[440];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  throw EngineError(kCode, "emulator: kernel %s, block (%u, %u, %u), thread (%u, %u, %u): %s",
                    state.kernel == nullptr ? "(none)" : state.kernel, blockIdx.x, blockIdx.y, blockIdx.z,
                    threadIdx.x, threadIdx.y, threadIdx.z, text);
}

const char* running_kernel() { return state.kernel; }

bool is_fiber_guard(const void* address) {
  const char* byte = static_cast<const char*>(address);
  for (const Worker& worker : state.workers) {
    if (byte < worker.stack && byte >= worker.stack - kFiberGuardBytes) return true;
  }
  return false;
}

void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& body) {
  const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) {
    throw EngineError(kCode, "emulator: kernel %s: a block of (%u, %u, %u) threads", name, block.x, block.y,
                      block.z);
  }
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535 || grid.x == 0 || grid.y == 0 || grid.z == 0) {
    throw EngineError(kCode, "emulator: kernel %s: a grid of (%u, %u, %u) blocks", name, grid.x, grid.y,
                      grid.z);
  }
  if (shared_bytes > kMaxSharedBytes) {
    throw EngineError(kCode, "emulator: kernel %s: %zu bytes of dynamic shared memory, at most %zu", name,
                      shared_bytes, kMaxSharedBytes);
  }
  if (state.kernel != nullptr)
    throw EngineError(kCode, "emulator: kernel %s launched from %s", name, state.kernel);
  if (state.static_arena.begin == nullptr) {
    state.static_arena.map(2 * kMaxStaticSharedBytes);  // room for canaries
    state.dynamic_arena.map(kMaxSharedBytes);
    state.threads.resize(kMaxThreads);
    state.warps.resize(kMaxThreads / 32);
    state.order.resize(kMaxThreads);
  }
  struct Running {  // whatever happens, no kernel is running afterwards
    ~Running() { state.kernel = nullptr; }
  } running;
  state.kernel = name;
  state.body = &body;
  state.schedule = options().schedule;
  state.random = options().seed * 0x9E3779B97F4A7C15u + ++state.counters.launches;
  state.thread_count = static_cast<int>(threads);
  char* end = state.dynamic_arena.begin + state.dynamic_arena.bytes;
  state.dynamic_bytes = shared_bytes;
  state.dynamic_begin = end - (shared_bytes + 127) / 128 * 128;
  std::memset(state.dynamic_begin + shared_bytes, kCanary,
              static_cast<size_t>(end - state.dynamic_begin) - shared_bytes);
  gridDim = grid;
  blockDim = block;
  for (int i = 0; i < state.thread_count; ++i) {
    const unsigned int u = static_cast<unsigned int>(i);
    Thread& thread = state.threads[i];
    thread.linear = i;
    thread.index = uint3{u % block.x, u / block.x % block.y, u / (block.x * block.y)};
    state.order[i] = i;
  }
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  std::vector<uint32_t> order;
  if (state.schedule == Schedule::kRandom && blocks <= UINT32_MAX) {
    order.resize(blocks);
    for (uint64_t i = 0; i < blocks; ++i) {
      const uint64_t j = random_below(i + 1);
      order[i] = order[j];
      order[j] = static_cast<uint32_t>(i);
    }
  }
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t b = !order.empty() ? order[i] : state.schedule == Schedule::kReversed ? blocks - 1 - i : i;
    blockIdx = uint3{static_cast<unsigned int>(b % grid.x), static_cast<unsigned int>(b / grid.x % grid.y),
                     static_cast<unsigned int>(b / (static_cast<uint64_t>(grid.x) * grid.y))};
    run_block();
  }
}

}  // namespace electra::emulator
