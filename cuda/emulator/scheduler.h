#pragma once
// Runs a grid: one block at a time, every CUDA thread a fiber. Threads give way only where they wait for
// others.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "types.h"

// Of the running thread; the names are CUDA's.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
constexpr int warpSize = 32;

namespace electra::emulator {

constexpr int kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 227 * 1024;       // static and dynamic together
constexpr size_t kMaxStaticSharedBytes = 48 * 1024;  // what ptxas accepts

/// The order of threads wherever there is a choice, and of blocks. `kForward` and `kReversed` let the lowest
/// or highest warp run as far ahead as it can; `kRandom` mixes, and gives way at atomics too.
enum class Schedule { kForward, kReversed, kRandom };

/// From the environment at first use (ELECTRA_EMULATOR_…); tests may change it between launches.
struct Options {
  Schedule schedule = Schedule::kForward;
  uint64_t seed = 0;
  bool defer = false;                // streams run at synchronisation only
  int64_t fail_malloc = 0;           // the n-th allocation from now on fails
  size_t memory = size_t{16} << 30;  // bytes of the device
  enum class Driver { kPresent, kNone, kOld } driver = Driver::kPresent;
  int multiprocessors = 4;
};
Options& options();

/// "forward", "reversed" or "random:SEED".
void set_schedule(const char* text);

/// What happened since the program began, or since reset_counters().
struct Counters {
  uint64_t launches, blocks, threads, switches, block_barriers, warp_barriers, allocations;
};
Counters& counters();
void reset_counters();

/// Where a thread waits.
struct Site {
  const char* what;
  const char* file;
  int line;
};

/// What a lane hands to its warp, and gets back.
union alignas(16) LaneSlot {
  uint64_t bits;
  uint32_t word[8];
  const void* address;
};
struct WarpExchange {
  LaneSlot in[32];
  LaneSlot out[32];  // written by `complete`
  uint32_t lanes;    // those that took part
};

/// A warp-wide operation. Fill lane_slot(), then call warp_exchange: it returns when every live lane of the
/// warp has come, and the result stands until this lane's next exchange but one. The last lane to come runs
/// `complete` for all, before any lane goes on. Lanes that have exited do not count; `mask` must name all
/// others.
LaneSlot& lane_slot();
const WarpExchange& warp_exchange(const Site& site, uint32_t mask, void (*complete)(WarpExchange&) = nullptr);
int lane_id();
uint32_t live_lanes();

/// __syncthreads: how many of the threads that have not exited gave a true predicate.
struct BlockVote {
  int count;
  int threads;
};
BlockVote block_barrier(const Site& site, bool predicate);

/// A place where a random schedule may let others go first.
void preemption_point();

/// Tensor-core operations for warp_exchange (see platform/mma.h for the layouts).
void complete_mma_m16n8k16(WarpExchange& exchange);
void complete_ldmatrix(WarpExchange& exchange);
void complete_ldmatrix_transposed(WarpExchange& exchange);

/// A static shared array, one object for each declaration.
struct SharedSlot {
  uint64_t block;
  void* memory;
};
void* static_shared(SharedSlot& slot, size_t bytes, size_t alignment, const char* name);
void* dynamic_shared(const char* name);

/// cp.async: `source` null means 16 zero bytes. Copied at the wait (forward), at once (reversed) or either
/// (random).
void async_copy(void* shared, const void* source);
void async_commit();
void async_wait(int pending_groups);

/// Throws an EngineError that says which kernel, block and thread is at fault.
[[noreturn]] void kernel_error(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Throws unless 16-byte aligned and inside the block's shared memory.
void check_shared(const char* what, const void* address, size_t bytes);

/// The kernel now running, or null.
const char* running_kernel();
bool is_fiber_guard(const void* address);

/// Runs all blocks. `body` is the kernel with its arguments, called once for each thread.
void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& body);

}  // namespace electra::emulator
