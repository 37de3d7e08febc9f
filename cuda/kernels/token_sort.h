#pragma once
// Brings equal keys of a list together, in list order: what a deterministic scatter-add needs when the keys
// are made on the device (sampled ids, drawn positions). A stable radix sort of (key, place in the list) with
// digits of up to 9 bits: 2 passes for BERT's vocabulary or 2^18 rows.
//
// One kernel counts the digits of the first pass; then one kernel for each pass moves everything: a block
// sums the counts of the blocks before it (they are few: a block moves 2048 keys), ranks its keys by ballots,
// and counts the next pass's digits at the places where its keys arrive. Integer atomics only, whose sums do
// not depend on order; places come from ranks. So a sort is 3 launches of kernels that run for a few
// microseconds, and nothing is read back by the host.

#include <cstdint>

#include "../device_views.h"
#include "../platform/platform.h"
#include "../scratch.h"

namespace electra::cuda {

constexpr int kSortDigitBits = 9;
constexpr int kSortDigits = 1 << kSortDigitBits;
constexpr int kSortThreads = 256;
constexpr int kSortWarps = kSortThreads / 32;
constexpr int kSortRounds = 8;  // keys of a thread
constexpr int kSortBlockKeys = kSortThreads * kSortRounds;
constexpr int kSortMostPasses = 4;

/// A list sorted by key; `key[i]` belongs to place `place[i]` of the original list. Keys outside [0, limit)
/// became `limit` and stand at the end.
struct SortedKeys {
  const int32_t* key = nullptr;
  const int32_t* place = nullptr;
  Extent count;
  int32_t limit = 0;
};

struct SortPass {
  Extent count;
  const int32_t* key = nullptr;
  const int32_t* place = nullptr;  ///< null: the list's own order
  int32_t* sorted_key = nullptr;
  int32_t* sorted_place = nullptr;
  int32_t limit = 0;
  int32_t shift = 0;
  int32_t bits = 0;
  const int32_t* counts = nullptr;  ///< [blocks][kSortDigits] of this pass
  int32_t* next_counts = nullptr;   ///< of the next pass, cleared by the first kernel; null after the last
};

__device__ __forceinline__ int32_t sort_key(const SortPass& p, int64_t i) {
  const int32_t key = p.key[i];
  return key >= 0 && key < p.limit ? key : p.limit;
}

/// Digits of the first pass, by block; and zeros for the counts of the others (`passes` − 1 arrays that
/// follow).
template <int kRounds>
__global__ void __launch_bounds__(kSortThreads) sort_count(SortPass p, int32_t* counts, int32_t passes) {
  ELECTRA_SHARED(int32_t, histogram, kSortDigits);
  for (int d = static_cast<int>(threadIdx.x); d < kSortDigits; d += kSortThreads) histogram[d] = 0;
  __syncthreads();
  const int64_t count = actual_of(p.count);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSortBlockKeys;
  const int32_t mask = (1 << p.bits) - 1;
#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
    const int64_t i = first + r * kSortThreads + threadIdx.x;
    if (i < count) atomicAdd(&histogram[sort_key(p, i) & mask], 1);
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < kSortDigits; d += kSortThreads) {
    const int64_t here = static_cast<int64_t>(blockIdx.x) * kSortDigits + d;
    counts[here] = histogram[d];
    for (int pass = 1; pass < passes; ++pass)
      counts[static_cast<int64_t>(pass) * gridDim.x * kSortDigits + here] = 0;
  }
}

template <int kRounds>
__global__ void __launch_bounds__(kSortThreads) sort_move(SortPass p) {
  ELECTRA_SHARED(int32_t, place_of,
                 kSortWarps* kSortDigits);  // first counts, then where a warp's next key goes
  ELECTRA_SHARED(int32_t, warp_totals, kSortWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t count = actual_of(p.count);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSortBlockKeys;
  if (first >= count) return;  // the whole block
  const int digits = 1 << p.bits;
  int32_t* mine = place_of + warp * kSortDigits;
  for (int d = lane; d < digits; d += 32) mine[d] = 0;
  __syncwarp();

  // A warp's keys are neighbours in the list and are taken in order, 32 at a time: equal digits of a round
  // find each other by ballots, the lowest lane counts for all.
  int32_t key[kRounds], place[kRounds], rank[kRounds];
  const int64_t begin = first + warp * (kRounds * 32);
#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
    const int64_t i = begin + r * 32 + lane;
    const bool counts = i < count;
    key[r] = counts ? sort_key(p, i) : 0;
    place[r] = counts && p.place != nullptr ? p.place[i] : static_cast<int32_t>(i);
  }
#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
    const bool counts = begin + r * 32 + lane < count;
    const int digit = key[r] >> p.shift & (digits - 1);
    uint32_t peers = __ballot_sync(kFullWarp, counts);
    for (int bit = 0; bit < p.bits; ++bit) {
      const bool set = digit >> bit & 1;
      const uint32_t same = __ballot_sync(kFullWarp, set);
      peers &= set ? same : ~same;
    }
    const int leader = counts ? __ffs(static_cast<int>(peers)) - 1 : 0;
    int32_t before = 0;
    if (counts && lane == leader) {
      before = mine[digit];
      mine[digit] = before + __popc(peers);
    }
    before = __shfl_sync(kFullWarp, before, leader);
    rank[r] = before + __popc(peers & ((1u << lane) - 1u));
    __syncwarp();
  }

  // Where each digit begins in the whole list: all smaller digits, then this digit in the blocks before. Two
  // neighbouring digits a thread.
  const int d = static_cast<int>(threadIdx.x) * 2;
  const int64_t blocks = (count + kSortBlockKeys - 1) / kSortBlockKeys;
  int32_t total[2] = {0, 0}, before[2] = {0, 0};
  if (d < digits) {
#pragma unroll 8
    for (int64_t b = 0; b < blocks; ++b) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int32_t n = p.counts[b * kSortDigits + d + i];
        total[i] += n;
        before[i] += b < blockIdx.x ? n : 0;
      }
    }
  }
  const int32_t both = total[0] + total[1];
  int32_t up_to = both;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int32_t other = __shfl_up_sync(kFullWarp, up_to, distance);
    if (lane >= distance) up_to += other;
  }
  if (lane == 31) warp_totals[warp] = up_to;
  __syncthreads();  // and every warp's counts stand
  int32_t place_of_digit = up_to - both;
  for (int w = 0; w < warp; ++w) place_of_digit += warp_totals[w];
  if (d < digits) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      int32_t next = place_of_digit + (i == 1 ? total[0] : 0) + before[i];
      for (int w = 0; w < kSortWarps; ++w) {
        const int32_t n = place_of[w * kSortDigits + d + i];
        place_of[w * kSortDigits + d + i] = next;
        next += n;
      }
    }
  }
  __syncthreads();

#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
    if (begin + r * 32 + lane >= count) continue;
    const int32_t to = mine[key[r] >> p.shift & (digits - 1)] + rank[r];
    p.sorted_key[to] = key[r];
    p.sorted_place[to] = place[r];
    if (p.next_counts != nullptr) {
      const int32_t digit = key[r] >> (p.shift + p.bits) & (digits - 1);
      atomicAdd(&p.next_counts[static_cast<int64_t>(to / kSortBlockKeys) * kSortDigits + digit], 1);
    }
  }
}

/// The first place in [low, high) for which `before(place)` is false, found by a whole warp, 32 probes a
/// step; `high` if none. before() must be true up to some place and false from there on.
template <typename Before>
__device__ __forceinline__ int32_t partition_point(int32_t low, int32_t high, int lane, Before before) {
  while (low < high) {
    const int32_t step = (high - low + 31) / 32;
    const int64_t probe = low + static_cast<int64_t>(lane) * step;
    const int found = __popc(__ballot_sync(kFullWarp, probe < high && before(static_cast<int32_t>(probe))));
    if (found == 0) return low;
    const int32_t last = low + (found - 1) * step;
    low = last + 1;
    high = high - last > step ? last + step : high;
  }
  return low;
}

/// The memory of a sort of up to `count` keys.
struct SortScratch {
  int32_t* key[2];
  int32_t* place[2];
  int32_t* counts;

  SortScratch(Scratch& scratch, int64_t count) {
    for (int i = 0; i < 2; ++i) key[i] = scratch.take<int32_t>(count);
    for (int i = 0; i < 2; ++i) place[i] = scratch.take<int32_t>(count);
    counts = scratch.take<int32_t>(ceil_div(count, kSortBlockKeys) * kSortDigits * kSortMostPasses);
  }
};

/// Sorts keys in [0, limit); limit 0: any that is not negative.
inline SortedKeys sort_keys(const int32_t* keys, Extent count, int64_t limit, const SortScratch& scratch,
                            cudaStream_t stream) {
  if (limit <= 0 || limit > INT32_MAX) limit = INT32_MAX;
  int bits = 1;
  while (bits < 31 && (limit >> bits) != 0) ++bits;
  const int passes = static_cast<int>(ceil_div(bits, kSortDigitBits));
  const int digit_bits = static_cast<int>(ceil_div(bits, passes));
  const unsigned blocks = static_cast<unsigned>(ceil_div(count.capacity, kSortBlockKeys));
  SortedKeys sorted;
  sorted.count = count;
  sorted.limit = static_cast<int32_t>(limit);
  if (blocks == 0) return sorted;

  SortPass pass;
  pass.count = count;
  pass.key = keys;
  pass.limit = sorted.limit;
  pass.bits = digit_bits;
  launch("sort_count", sort_count<kSortRounds>, dim3(blocks), dim3(kSortThreads), 0, stream, pass,
         scratch.counts, static_cast<int32_t>(passes));
  const int64_t counts_of_pass = static_cast<int64_t>(blocks) * kSortDigits;
  for (int n = 0; n < passes; ++n) {
    pass.shift = n * digit_bits;
    pass.counts = scratch.counts + n * counts_of_pass;
    pass.next_counts = n + 1 < passes ? scratch.counts + (n + 1) * counts_of_pass : nullptr;
    pass.sorted_key = scratch.key[n % 2];
    pass.sorted_place = scratch.place[n % 2];
    launch("sort_move", sort_move<kSortRounds>, dim3(blocks), dim3(kSortThreads), 0, stream, pass);
    pass.key = pass.sorted_key;
    pass.place = pass.sorted_place;
  }
  sorted.key = pass.key;
  sorted.place = pass.place;
  return sorted;
}

}  // namespace electra::cuda
