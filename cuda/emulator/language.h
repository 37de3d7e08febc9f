#pragma once
// What CUDA C++ offers inside a kernel: barriers, warp functions, atomics, caches and intrinsics.

#include <math.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "scheduler.h"

namespace electra::emulator {

template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

/// `valid` false keeps the lane's own value; otherwise `source` must still be there.
template <class T>
T shuffle(const Site& site, uint32_t mask, T value, int source, bool valid) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "up to 64 bits");
  std::memcpy(&lane_slot().bits, &value, sizeof(T));
  const WarpExchange& exchange = warp_exchange(site, mask);
  if (!valid) return value;
  if ((exchange.lanes >> source & 1u) == 0) {
    kernel_error("%s at %s:%d reads lane %d, which has exited", site.what, site.file, site.line, source);
  }
  T result;
  std::memcpy(&result, &exchange.in[source].bits, sizeof(T));
  return result;
}

inline uint32_t ballot(const Site& site, uint32_t mask, bool predicate) {
  lane_slot().bits = predicate ? 1 : 0;
  const WarpExchange& exchange = warp_exchange(site, mask);
  uint32_t result = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (exchange.lanes >> lane & 1u) result |= static_cast<uint32_t>(exchange.in[lane].bits) << lane;
  }
  return result;
}

/// Combines the lanes' values in lane order.
template <class T, class Combine>
T reduce(const Site& site, uint32_t mask, T value, Combine combine) {
  lane_slot().bits = static_cast<uint64_t>(value);
  const WarpExchange& exchange = warp_exchange(site, mask);
  T result = value;
  for (int lane = 0; lane < 32; ++lane) {
    if (lane != lane_id() && (exchange.lanes >> lane & 1u))
      result = combine(result, static_cast<T>(exchange.in[lane].bits));
  }
  return result;
}

template <class T, class Change>
T atomic(T* address, Change change) {
  preemption_point();
  const T old = *address;
  *address = change(old);
  return old;
}

}  // namespace electra::emulator

// Every function that waits takes the caller's place for reports.
#define ELECTRA_SITE_PARAMETERS const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define ELECTRA_SITE \
  ::electra::emulator::Site { __func__, file, line }

inline void __syncthreads(ELECTRA_SITE_PARAMETERS) { electra::emulator::block_barrier(ELECTRA_SITE, false); }
inline int __syncthreads_count(int predicate, ELECTRA_SITE_PARAMETERS) {
  return electra::emulator::block_barrier(ELECTRA_SITE, predicate != 0).count;
}
inline int __syncthreads_or(int predicate, ELECTRA_SITE_PARAMETERS) {
  return electra::emulator::block_barrier(ELECTRA_SITE, predicate != 0).count != 0;
}
inline int __syncthreads_and(int predicate, ELECTRA_SITE_PARAMETERS) {
  const electra::emulator::BlockVote vote = electra::emulator::block_barrier(ELECTRA_SITE, predicate != 0);
  return vote.count == vote.threads;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, ELECTRA_SITE_PARAMETERS) {
  electra::emulator::warp_exchange(ELECTRA_SITE, mask);
}
inline unsigned __activemask() { return electra::emulator::live_lanes(); }
inline void __threadfence() { electra::emulator::preemption_point(); }
inline void __threadfence_block() { electra::emulator::preemption_point(); }
inline void __threadfence_system() { electra::emulator::preemption_point(); }
inline void __nanosleep(unsigned) { electra::emulator::preemption_point(); }
[[noreturn]] inline void __trap() { electra::emulator::kernel_error("__trap"); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, ELECTRA_SITE_PARAMETERS) {
  const int lane = electra::emulator::lane_id();
  return electra::emulator::shuffle(ELECTRA_SITE, mask, value, (lane & ~(width - 1)) | (source & (width - 1)),
                                    true);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, ELECTRA_SITE_PARAMETERS) {
  const int lane = electra::emulator::lane_id(), source = lane ^ lane_mask;
  // As the device: a source in a later segment is out of range, one in an earlier segment is not.
  return electra::emulator::shuffle(ELECTRA_SITE, mask, value, source & 31, source <= (lane | (width - 1)));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, ELECTRA_SITE_PARAMETERS) {
  const int lane = electra::emulator::lane_id(), source = lane - static_cast<int>(delta);
  return electra::emulator::shuffle(ELECTRA_SITE, mask, value, source & 31, source >= (lane & ~(width - 1)));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, ELECTRA_SITE_PARAMETERS) {
  const int lane = electra::emulator::lane_id(), source = lane + static_cast<int>(delta);
  return electra::emulator::shuffle(ELECTRA_SITE, mask, value, source & 31, source <= (lane | (width - 1)));
}
inline unsigned __ballot_sync(unsigned mask, int predicate, ELECTRA_SITE_PARAMETERS) {
  return electra::emulator::ballot(ELECTRA_SITE, mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate, ELECTRA_SITE_PARAMETERS) {
  return electra::emulator::ballot(ELECTRA_SITE, mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate, ELECTRA_SITE_PARAMETERS) {
  return electra::emulator::ballot(ELECTRA_SITE, mask, predicate == 0) == 0;
}
#define ELECTRA_REDUCE(name, type, expression)                                           \
  inline type name(unsigned mask, type value, ELECTRA_SITE_PARAMETERS) {                 \
    return electra::emulator::reduce(ELECTRA_SITE, mask, value,                          \
                                     [](type a, type b) -> type { return expression; }); \
  }
ELECTRA_REDUCE(__reduce_add_sync, unsigned, a + b)
ELECTRA_REDUCE(__reduce_add_sync, int, a + b)
ELECTRA_REDUCE(__reduce_min_sync, unsigned, std::min(a, b))
ELECTRA_REDUCE(__reduce_min_sync, int, std::min(a, b))
ELECTRA_REDUCE(__reduce_max_sync, unsigned, std::max(a, b))
ELECTRA_REDUCE(__reduce_max_sync, int, std::max(a, b))
ELECTRA_REDUCE(__reduce_or_sync, unsigned, a | b)
ELECTRA_REDUCE(__reduce_and_sync, unsigned, a& b)
#undef ELECTRA_REDUCE

#define ELECTRA_ATOMIC(name, type, expression)                                                   \
  inline type name(type* address, type value) {                                                  \
    return electra::emulator::atomic(address, [value](type old) -> type { return expression; }); \
  }
#define ELECTRA_INTEGER_ATOMICS(type)                                                                   \
  ELECTRA_ATOMIC(atomicAdd, type, old + value)                                                          \
  ELECTRA_ATOMIC(atomicMax, type, std::max(old, value))                                                 \
  ELECTRA_ATOMIC(atomicMin, type, std::min(old, value))                                                 \
  ELECTRA_ATOMIC(atomicOr, type, old | value)                                                           \
  ELECTRA_ATOMIC(atomicAnd, type, old& value)                                                           \
  ELECTRA_ATOMIC(atomicXor, type, old ^ value)                                                          \
  ELECTRA_ATOMIC(atomicExch, type, ((void)old, value))                                                  \
  inline type atomicCAS(type* address, type expected, type value) {                                     \
    return electra::emulator::atomic(address, [=](type old) { return old == expected ? value : old; }); \
  }
ELECTRA_INTEGER_ATOMICS(int)
ELECTRA_INTEGER_ATOMICS(unsigned)
ELECTRA_INTEGER_ATOMICS(unsigned long long)
ELECTRA_ATOMIC(atomicSub, int, old - value)
ELECTRA_ATOMIC(atomicSub, unsigned, old - value)
ELECTRA_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
ELECTRA_ATOMIC(atomicAdd, float, old + value)
ELECTRA_ATOMIC(atomicAdd, double, old + value)
ELECTRA_ATOMIC(atomicExch, float, ((void)old, value))
#undef ELECTRA_INTEGER_ATOMICS
#undef ELECTRA_ATOMIC

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldca(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
void __stwt(T* address, T value) {
  *address = value;
}

inline unsigned __float_as_uint(float value) { return electra::emulator::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return electra::emulator::bit_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return electra::emulator::bit_cast<float>(value); }
inline float __int_as_float(int value) { return electra::emulator::bit_cast<float>(value); }
inline long long __double_as_longlong(double value) { return electra::emulator::bit_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return electra::emulator::bit_cast<double>(value); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<int64_t>(a) * b) >> 32); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __clzll(long long value) {
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
inline unsigned __brev(unsigned value) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (value >> i & 1u) << (31 - i);
  return result;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> ((selector >> (4 * i) & 7u) * 8) & 0xFFu) << (8 * i);
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<unsigned>((both << (shift & 31u)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<unsigned>(both >> (shift & 31u));
}

// Needs -ffp-contract=off where the compiler could fuse.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frsqrt_rn(float a) { return 1.0f / std::sqrt(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __float2int_rn(float a) { return static_cast<int>(std::nearbyint(a)); }
inline int __float2int_rz(float a) { return static_cast<int>(a); }
inline int __float2int_rd(float a) { return static_cast<int>(std::floor(a)); }
inline int __float2int_ru(float a) { return static_cast<int>(std::ceil(a)); }
inline unsigned __float2uint_rn(float a) { return static_cast<unsigned>(std::nearbyint(a)); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }

// Macros, because the C library keeps some of these names for itself.
#define __expf(x) std::exp(static_cast<float>(x))
#define __exp10f(x) std::pow(10.0f, static_cast<float>(x))
#define __logf(x) std::log(static_cast<float>(x))
#define __log2f(x) std::log2(static_cast<float>(x))
#define __log10f(x) std::log10(static_cast<float>(x))
#define __powf(x, y) std::pow(static_cast<float>(x), static_cast<float>(y))
#define __sinf(x) std::sin(static_cast<float>(x))
#define __cosf(x) std::cos(static_cast<float>(x))
#define __tanhf(x) std::tanh(static_cast<float>(x))
#define rsqrtf(x) (1.0f / std::sqrt(static_cast<float>(x)))
#define rsqrt(x) (1.0 / std::sqrt(static_cast<double>(x)))

#define ELECTRA_MIN_MAX(type)                               \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
ELECTRA_MIN_MAX(int)
ELECTRA_MIN_MAX(unsigned)
ELECTRA_MIN_MAX(long)
ELECTRA_MIN_MAX(unsigned long)
ELECTRA_MIN_MAX(long long)
ELECTRA_MIN_MAX(unsigned long long)
#undef ELECTRA_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
inline unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
inline unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
