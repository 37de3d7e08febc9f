#include "memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "runtime.h"
#include "scheduler.h"

namespace electra::emulator {
namespace {

constexpr unsigned char kCanary = 0xC5;
constexpr size_t kAlignment = 256;

struct Allocation {
  size_t bytes;
  char* mapping;
  size_t mapping_bytes;
  uint64_t number;
};

struct Memory {
  std::map<char*, Allocation> device;
  std::map<void*, size_t> pinned;
  std::map<char*, uint64_t> freed;  // recent starts, to tell a double free from a wild pointer
  size_t device_bytes = 0;
  uint64_t count = 0;
};
Memory& memory() {
  static Memory* instance = new Memory;
  return *instance;
}

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fputs("emulator: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
  std::fflush(stderr);
  std::abort();
}

bool counted_failure() {
  int64_t& left = options().fail_malloc;
  return left > 0 && --left == 0;
}

/// The memory between an allocation and the pages at its ends; looked at after every kernel, so fast when
/// intact.
bool intact(const char* begin, size_t bytes) {
  static const auto canaries = [] {
    std::array<unsigned char, kAlignment> all;
    all.fill(kCanary);
    return all;
  }();
  return std::memcmp(begin, canaries.data(), bytes) == 0;
}

void check_canaries(char* begin, const Allocation& allocation, const char* when) {
  const char* end = allocation.mapping + allocation.mapping_bytes - page_size();
  const char* last = begin + allocation.bytes;
  const size_t lead = std::min(kAlignment, static_cast<size_t>(begin - allocation.mapping) - page_size());
  if (intact(last, static_cast<size_t>(end - last)) && intact(begin - lead, lead)) return;
  for (const char* byte = last; byte < end; ++byte) {
    if (static_cast<unsigned char>(*byte) != kCanary) {
      die("%s: written %zu bytes past the end of allocation %llu, %zu bytes at %p", when,
          static_cast<size_t>(byte - begin) - allocation.bytes,
          static_cast<unsigned long long>(allocation.number), allocation.bytes, static_cast<void*>(begin));
    }
  }
  for (const char* byte = begin - lead; byte < begin; ++byte) {
    if (static_cast<unsigned char>(*byte) != kCanary) {
      die("%s: written %zu bytes before allocation %llu, %zu bytes at %p", when,
          static_cast<size_t>(begin - byte), static_cast<unsigned long long>(allocation.number),
          allocation.bytes, static_cast<void*>(begin));
    }
  }
}

struct sigaction previous_segv, previous_bus, previous_ill;

/// Best effort: the process is about to end, so formatting in a signal handler is a risk worth taking.
void on_fault(int signal, siginfo_t* info, void* context) {
  char* address = static_cast<char*>(info->si_addr);
  char text[600];
  int length = 0;
  const char* kernel = running_kernel();
  // -fsanitize=bounds leaves an illegal instruction where an index is outside of its array.
  char what[80] = "index outside of an array";
  if (signal != SIGILL) std::snprintf(what, sizeof(what), "invalid access at %p", info->si_addr);
  if (kernel != nullptr) {
    length = std::snprintf(text, sizeof(text),
                           "emulator: %s in kernel %s, block (%u, %u, %u), thread (%u, %u, %u)", what, kernel,
                           blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  } else {
    length = std::snprintf(text, sizeof(text), "emulator: %s outside of kernels", what);
  }
  const Allocation* nearest = nullptr;
  char* nearest_begin = nullptr;
  size_t nearest_distance = 0;
  for (const auto& [begin, allocation] : memory().device) {
    if (signal == SIGILL) break;
    const size_t distance = address < begin ? static_cast<size_t>(begin - address)
                            : address >= begin + allocation.bytes
                                ? static_cast<size_t>(address - begin) - allocation.bytes
                                : 0;
    if (nearest != nullptr && distance >= nearest_distance) continue;
    nearest = &allocation;
    nearest_begin = begin;
    nearest_distance = distance;
  }
  const size_t room = sizeof(text) - static_cast<size_t>(length);
  if (signal != SIGILL && is_fiber_guard(address)) {
    length += std::snprintf(text + length, room, ": the thread's stack is full");
  } else if (nearest != nullptr) {
    length += std::snprintf(text + length, room, ": %zu bytes %s allocation %llu, %zu bytes at %p",
                            nearest_distance, address < nearest_begin ? "before" : "past the end of",
                            static_cast<unsigned long long>(nearest->number), nearest->bytes,
                            static_cast<void*>(nearest_begin));
  }
  text[length++] = '\n';
  if (kernel != nullptr || nearest != nullptr) {
    if (write(STDERR_FILENO, text, static_cast<size_t>(length)) < 0) _exit(134);
  }
  // On to whoever was asked before, by default the end.
  sigaction(SIGSEGV, &previous_segv, nullptr);
  sigaction(SIGBUS, &previous_bus, nullptr);
  sigaction(SIGILL, &previous_ill, nullptr);
  const struct sigaction& previous = signal == SIGSEGV  ? previous_segv
                                     : signal == SIGBUS ? previous_bus
                                                        : previous_ill;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr)
    previous.sa_sigaction(signal, info, context);
}

}  // namespace

void* allocate_device(size_t bytes) {
  Memory& all = memory();
  if (counted_failure() || bytes > options().memory - std::min(options().memory, all.device_bytes))
    return nullptr;
  const size_t page = page_size();
  const size_t inner = (bytes + kAlignment - 1) / page * page + page;
  void* mapping =
      mmap(nullptr, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* first = static_cast<char*>(mapping) + page;
  if (mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, inner + 2 * page);
    return nullptr;
  }
  char* begin = first + (inner - bytes) / kAlignment * kAlignment;
  std::memset(first, kCanary, static_cast<size_t>(begin - first));
  std::memset(begin, 0xFF, bytes);
  std::memset(begin + bytes, kCanary, static_cast<size_t>(first + inner - begin) - bytes);
  all.device[begin] = Allocation{bytes, static_cast<char*>(mapping), inner + 2 * page, ++all.count};
  all.device_bytes += bytes;
  all.freed.erase(begin);
  ++counters().allocations;
  install_fault_handler();
  return begin;
}

void free_device(void* pointer) {
  Memory& all = memory();
  char* begin = static_cast<char*>(pointer);
  const auto found = all.device.find(begin);
  if (found == all.device.end()) {
    const auto old = all.freed.find(begin);
    if (old != all.freed.end()) {
      die("cudaFree: allocation %llu at %p freed twice", static_cast<unsigned long long>(old->second),
          pointer);
    }
    die("cudaFree: %p is not an allocation", pointer);
  }
  check_canaries(begin, found->second, "at cudaFree");
  munmap(found->second.mapping, found->second.mapping_bytes);
  all.device_bytes -= found->second.bytes;
  if (all.freed.size() > 4096) all.freed.clear();
  all.freed[begin] = found->second.number;
  all.device.erase(found);
}

void* allocate_pinned(size_t bytes) {
  if (counted_failure()) return nullptr;
  void* result = nullptr;
  if (posix_memalign(&result, 4096, bytes == 0 ? 1 : bytes) != 0) return nullptr;
  std::memset(result, 0xFF, bytes);
  memory().pinned[result] = bytes;
  return result;
}

void free_pinned(void* pointer) {
  if (memory().pinned.erase(pointer) == 0) die("cudaFreeHost: %p is not an allocation", pointer);
  std::free(pointer);
}

void check_memory(const char* when) {
  for (const auto& [begin, allocation] : memory().device) check_canaries(begin, allocation, when);
}

bool is_device_memory(const void* pointer, size_t bytes) {
  char* begin = const_cast<char*>(static_cast<const char*>(pointer));
  auto found = memory().device.upper_bound(begin);
  if (found == memory().device.begin()) return false;
  --found;
  return begin + bytes <= found->first + found->second.bytes;
}

MemoryUse memory_use() {
  return MemoryUse{memory().device_bytes, memory().device.size(), memory().pinned.size()};
}

void install_fault_handler() {
  // A fault on a fiber's full stack needs another stack to run on.
  static thread_local bool has_stack = false;
  if (!has_stack) {
    has_stack = true;
    stack_t current{};
    sigaltstack(nullptr, &current);
    if ((current.ss_flags & SS_DISABLE) != 0) {
      stack_t stack{};
      stack.ss_size = 64 * 1024;
      stack.ss_sp = std::malloc(stack.ss_size);
      sigaltstack(&stack, nullptr);
    }
  }
  static const bool once = [] {
    struct sigaction action{};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
    sigaction(SIGILL, &action, &previous_ill);
    return true;
  }();
  (void)once;
}

}  // namespace electra::emulator
