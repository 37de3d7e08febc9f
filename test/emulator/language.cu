// Barriers, warp functions, tensor cores, shared memory and atomics.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../../cuda/platform/platform.h"
#include "harness.h"

namespace electra::test {

float run_every_wrapper(std::vector<float>& values, std::vector<__nv_bfloat16>& small_values);

namespace {

using cuda::launch;

/// Device memory with values, read back by host().
template <class T>
struct Buffer {
  explicit Buffer(const std::vector<T>& values) : size(values.size()) {
    ELECTRA_CUDA_CHECK(cudaMalloc(&data, size * sizeof(T)));
    ELECTRA_CUDA_CHECK(cudaMemcpy(data, values.data(), size * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(data); }
  std::vector<T> host() const {
    std::vector<T> values(size);
    ELECTRA_CUDA_CHECK(cudaMemcpy(values.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  T* data = nullptr;
  size_t size;
};

std::vector<float> noise(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

TEST(every_wrapper_runs) {
  std::vector<float> values = noise(1024, 1);
  std::vector<__nv_bfloat16> small(1024, __nv_bfloat16(1.5f));
  std::vector<float> before = values;
  EXPECT(run_every_wrapper(values, small) > 0.0f);
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT(values[i] == 2.0f * before[i] && static_cast<float>(small[i]) == 3.0f);
}

__global__ void rotate_kernel(int* data, bool second_barrier) {
  ELECTRA_SHARED(int, box, 256);
  for (int round = 0; round < 3; ++round) {
    box[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = box[(threadIdx.x + 33) % 256];
    if (second_barrier) __syncthreads();
  }
}

bool rotates(bool second_barrier) {
  std::vector<int> values(256);
  for (int i = 0; i < 256; ++i) values[i] = i;
  Buffer<int> buffer(values);
  launch("rotate", rotate_kernel, 1, 256, 0, nullptr, buffer.data, second_barrier);
  const std::vector<int> result = buffer.host();
  for (int i = 0; i < 256; ++i) {
    if (result[i] != (i + 99) % 256) return false;
  }
  return true;
}

TEST(barriers_hold) { EXPECT(rotates(true)); }
TEST(missing_barrier_shows) { EXPECT(!rotates(false)); }

__global__ void early_exit_kernel(int* count) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  atomicAdd(count, 1);
  __syncthreads();
  if (threadIdx.x == 0) count[1] = count[0];
}
TEST(exited_threads_count_as_arrived) {
  Buffer<int> buffer({0, 0});
  launch("early_exit", early_exit_kernel, 1, 128, 0, nullptr, buffer.data);
  EXPECT(buffer.host()[1] == 40);
}

__global__ void divergent_kernel(int* data) {
  if (threadIdx.x < 16)
    __syncwarp();
  else
    __syncthreads();
  data[0] = 1;
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
TEST(divergent_barrier_is_reported) {
  Buffer<int> buffer({0});
  const std::string text = message_of_error(
      [&] { launch("divergent", divergent_kernel, dim3(1, 2), 64, 0, nullptr, buffer.data); });
  EXPECT_CONTAINS(text, "divergent barrier in kernel divergent");
  EXPECT_CONTAINS(text, "16 threads (0..15) wait in __syncwarp at ");
  EXPECT_CONTAINS(text, "48 threads (16..63) wait in __syncthreads at ");
  EXPECT_CONTAINS(message_of_error([] { launch("two_barriers", two_barriers_kernel, 1, 64, 0, nullptr); }),
                  "divergent barrier: threads of one block meet in __syncthreads");
  EXPECT(rotates(true));  // the machine goes on after a failure
}

__global__ void throwing_kernel() {
  __syncthreads();
  if (threadIdx.x == 5) throw EngineError("ERR_ELECTRA_VALUE", "from thread %u", threadIdx.x);
  __syncthreads();
}
TEST(exceptions_surface) {
  EXPECT(message_of_error([] { launch("throwing", throwing_kernel, 1, 64, 0, nullptr); }) == "from thread 5");
  EXPECT(rotates(true));
}

__global__ void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned all = 0xFFFFFFFFu;
  int* mine = out + lane * 10;
  mine[0] = __shfl_sync(all, lane, 5);
  mine[1] = __shfl_sync(all, lane, 3, 8);
  mine[2] = __shfl_xor_sync(all, lane, 16);
  mine[3] = __shfl_up_sync(all, lane, 3);
  mine[4] = __shfl_down_sync(all, lane, 2, 16);
  mine[5] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  mine[6] = __any_sync(all, lane == 31) + 2 * __all_sync(all, lane < 31) + 4 * __all_sync(all, lane < 32);
  mine[7] = static_cast<int>(__shfl_xor_sync(all, static_cast<double>(lane) + 0.5, 1) * 2.0);
  mine[8] = static_cast<int>(__shfl_sync(all, static_cast<long long>(lane) << 40, 7) >> 40);
  mine[9] =
      __reduce_add_sync(all, lane) + __syncthreads_count(lane < 7) * 1000 + __syncthreads_and(1) * 100000;
}
TEST(warp_functions) {
  Buffer<int> buffer(std::vector<int>(320));
  launch("shuffle", shuffle_kernel, 1, 32, 0, nullptr, buffer.data);
  const std::vector<int> out = buffer.host();
  for (int lane = 0; lane < 32; ++lane) {
    const int* mine = &out[lane * 10];
    EXPECT(mine[0] == 5 && mine[1] == lane / 8 * 8 + 3 && mine[2] == (lane ^ 16));
    EXPECT(mine[3] == (lane < 3 ? lane : lane - 3) && mine[4] == (lane % 16 < 14 ? lane + 2 : lane));
    EXPECT(mine[5] == 0x49249249 && mine[6] == 5);
    EXPECT(mine[7] == 2 * (lane ^ 1) + 1 && mine[8] == 7 && mine[9] == 496 + 7000 + 100000);
  }
}

__global__ void half_warp_kernel(unsigned mask) {
  if (threadIdx.x < 16)
    __shfl_xor_sync(mask, 1.0f, 1);
  else
    __syncwarp(0xFFFF0000u);
}
__global__ void reads_the_dead_kernel() {
  if (threadIdx.x >= 16) return;
  __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 16);
}
TEST(shuffle_masks_are_checked) {
  EXPECT_CONTAINS(message_of_error([] { launch("half", half_warp_kernel, 1, 32, 0, nullptr, 0xFFFF0000u); }),
                  "mask 0xffff0000");
  EXPECT_CONTAINS(message_of_error([] { launch("half", half_warp_kernel, 1, 32, 0, nullptr, 0x0000FFFFu); }),
                  "meet in different places");
  EXPECT_CONTAINS(message_of_error([] { launch("dead", reads_the_dead_kernel, 1, 32, 0, nullptr); }),
                  "has exited");
}

__global__ void product_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int steps,
                               bool transposed) {
  ELECTRA_SHARED(__nv_bfloat16, tile_a, 16 * 16);
  ELECTRA_SHARED(__nv_bfloat16, tile_b, 16 * 8);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4, k = steps * 16;
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int step = 0; step < steps; ++step) {
    // a is [16][k]; b is [k][8]. Transposed: the tiles hold the other order.
    for (int i = lane; i < 256; i += 32) {
      tile_a[transposed ? i % 16 * 16 + i / 16 : i] = a[i / 16 * k + step * 16 + i % 16];
    }
    for (int i = lane; i < 128; i += 32) tile_b[transposed ? i : i % 8 * 16 + i / 8] = b[step * 128 + i];
    __syncwarp();
    uint32_t fa[4], fb[2];
    if (transposed) {
      cuda::ldmatrix_x4_transposed(fa, &tile_a[(lane / 16 * 8 + lane % 8) * 16 + lane / 8 % 2 * 8]);
      cuda::ldmatrix_x2_transposed(fb, &tile_b[lane % 16 * 8]);
    } else {
      cuda::ldmatrix_x4(fa, &tile_a[lane % 16 * 16 + lane / 16 * 8]);
      cuda::ldmatrix_x2(fb, &tile_b[lane % 8 * 16 + lane / 8 % 2 * 8]);
    }
    cuda::mma_m16n8k16(d, fa, fb);
    __syncwarp();
  }
  c[g * 8 + 2 * t] = d[0];
  c[g * 8 + 2 * t + 1] = d[1];
  c[(g + 8) * 8 + 2 * t] = d[2];
  c[(g + 8) * 8 + 2 * t + 1] = d[3];
}
TEST(tensor_core_product) {
  const int steps = 3, k = steps * 16;
  std::vector<__nv_bfloat16> a, b;
  for (float value : noise(16 * k, 2)) a.push_back(value);
  for (float value : noise(k * 8, 3)) b.push_back(value);
  Buffer<__nv_bfloat16> device_a(a), device_b(b);
  for (bool transposed : {false, true}) {
    Buffer<float> c(std::vector<float>(128));
    launch("product", product_kernel, 1, 32, 0, nullptr, device_a.data, device_b.data, c.data, steps,
           transposed);
    const std::vector<float> result = c.host();
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        double sum = 0.0;
        for (int x = 0; x < k; ++x)
          sum += static_cast<double>(a[i * k + x]) * static_cast<double>(b[x * 8 + j]);
        EXPECT(std::fabs(sum - result[i * 8 + j]) < 1e-5);
      }
    }
  }
}

__global__ void fragment_kernel(uint32_t* out) {
  ELECTRA_SHARED(uint16_t, rows, 32 * 8);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) rows[lane * 8 + i] = static_cast<uint16_t>(lane * 8 + i);
  __syncwarp();
  uint32_t r[4];
  cuda::ldmatrix_x4(r, &rows[lane * 8]);
  for (int i = 0; i < 4; ++i) out[lane * 8 + i] = r[i];
  cuda::ldmatrix_x4_transposed(r, &rows[lane * 8]);
  for (int i = 0; i < 4; ++i) out[lane * 8 + 4 + i] = r[i];
}
__global__ void unaligned_fragment_kernel() {
  ELECTRA_SHARED(uint16_t, rows, 33 * 8);
  uint32_t r[4];
  cuda::ldmatrix_x4(r, &rows[threadIdx.x * 8 + 1]);
}
TEST(ldmatrix_layout) {
  Buffer<uint32_t> buffer(std::vector<uint32_t>(256));
  launch("fragment", fragment_kernel, 1, 32, 0, nullptr, buffer.data);
  const std::vector<uint32_t> out = buffer.host();
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t m = 0; m < 4; ++m) {
      const uint32_t g = lane / 4, t = lane % 4, first = m * 64 + g * 8 + 2 * t,
                     above = m * 64 + 2 * t * 8 + g;
      EXPECT(out[lane * 8 + m] == (first | (first + 1) << 16));
      EXPECT(out[lane * 8 + 4 + m] == (above | (above + 8) << 16));
    }
  }
  EXPECT_CONTAINS(message_of_error([] { launch("unaligned", unaligned_fragment_kernel, 1, 32, 0, nullptr); }),
                  "not a multiple of 16");
}

__global__ void async_kernel(const float4* in, float4* out, bool wait, bool sync) {
  ELECTRA_DYNAMIC_SHARED(float4, stage);
  const unsigned thread = threadIdx.x;
  cuda::cp_async16(&stage[thread], &in[thread], true);
  cuda::cp_async_commit();
  cuda::cp_async16(&stage[64 + thread], thread == 0 ? &in[thread] : nullptr, thread == 0);
  cuda::cp_async_commit();
  if (wait) cuda::cp_async_wait<1>();
  if (sync) __syncthreads();
  out[thread] = stage[63 - thread];
  cuda::cp_async_wait<0>();
  __syncthreads();
  out[64 + thread] = stage[64 + thread];
}
bool async_copies(bool wait, bool sync) {
  std::vector<float4> values(64);
  for (int i = 0; i < 64; ++i) values[i] = make_float4(static_cast<float>(i), 1.0f, 2.0f, 3.0f);
  Buffer<float4> in(values), out(std::vector<float4>(128));
  launch("async", async_kernel, 1, 64, 128 * sizeof(float4), nullptr, in.data, out.data, wait, sync);
  const std::vector<float4> result = out.host();
  bool good = result[64].y == 1.0f && result[65].y == 0.0f;
  for (int i = 0; i < 64; ++i) good = good && result[i].x == static_cast<float>(63 - i);
  return good;
}
TEST(async_copies_arrive) { EXPECT(async_copies(true, true)); }
TEST(async_copy_without_wait_or_barrier_shows) {
  EXPECT(!async_copies(true, false));
  // Reversed, copies are early on purpose: it is the other orders that show this mistake.
  if (emulator::options().schedule != emulator::Schedule::kReversed) EXPECT(!async_copies(false, true));
}

__global__ void poison_kernel(uint32_t* out) {
  ELECTRA_SHARED(uint32_t, box, 64);
  ELECTRA_DYNAMIC_SHARED(uint32_t, dynamic);
  if (threadIdx.x == 0) {
    out[2 * blockIdx.x] = box[3];
    out[2 * blockIdx.x + 1] = dynamic[5];
    box[3] = dynamic[5] = 7;
  }
}
__global__ void shared_overrun_kernel(int index) {
  ELECTRA_SHARED(int, box, 8);
  int* const place = box;  // an index of the array itself is checked at once
  place[index] = 1;
}
__global__ void dynamic_overrun_kernel(int index) {
  ELECTRA_DYNAMIC_SHARED(char, box);
  box[index] = 1;
}
TEST(shared_memory_is_poisoned_and_fenced) {
  Buffer<uint32_t> buffer(std::vector<uint32_t>(6));
  launch("poison", poison_kernel, 3, 32, 64, nullptr, buffer.data);
  for (uint32_t word : buffer.host()) EXPECT(word == 0xFFFFFFFFu);
  EXPECT_CONTAINS(message_of_error([] { launch("overrun", shared_overrun_kernel, 1, 1, 0, nullptr, 9); }),
                  "past the end of shared array box");
  EXPECT_CONTAINS(
      message_of_error([] { launch("overrun", dynamic_overrun_kernel, 1, 1, 100, nullptr, 100); }),
      "past its 100 bytes");
  EXPECT_CONTAINS(
      message_of_death([] { launch("overrun", dynamic_overrun_kernel, 1, 1, 100, nullptr, 128); }),
      "in kernel overrun, block (0, 0, 0), thread (0, 0, 0)");
}

using BigArray = float[13 * 1024];
__global__ void big_shared_kernel() {
  ELECTRA_SHARED(BigArray, box, 1);
  box[0][0] = 1.0f;
}
TEST(limits_are_checked) {
  EXPECT_CONTAINS(message_of_error([] { launch("two", two_barriers_kernel, 1, 1025, 0, nullptr); }), "1025");
  EXPECT_CONTAINS(
      message_of_error([] { launch("two", two_barriers_kernel, dim3(1, 65536), 32, 0, nullptr); }), "65536");
  EXPECT_CONTAINS(
      message_of_error([] { launch("two", two_barriers_kernel, 1, 32, 227 * 1024 + 1, nullptr); }),
      "kernel two, grid (1, 1, 1), block (32, 1, 1), 232449 bytes");
  EXPECT_CONTAINS(message_of_error([] { launch("big", big_shared_kernel, 1, 32, 0, nullptr); }),
                  "static shared");
}

__global__ void index_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  atomicAdd(&out[block * blockDim.x * blockDim.y * blockDim.z + thread], 1);
}
TEST(every_thread_runs_once) {
  Buffer<int> buffer(std::vector<int>(2 * 3 * 4 * 5 * 6 * 7));
  launch("index", index_kernel, dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, buffer.data);
  for (int value : buffer.host()) EXPECT(value == 1);
}
TEST(threads_that_never_wait_cost_no_switch) {
  emulator::reset_counters();
  Buffer<int> buffer(std::vector<int>(2000 * 256));
  launch("index", index_kernel, 2000, 256, 0, nullptr, buffer.data);
  EXPECT(emulator::counters().launches == 1 && emulator::counters().threads == 2000 * 256);
  if (emulator::options().schedule != emulator::Schedule::kRandom) EXPECT(emulator::counters().switches == 0);
}

__global__ void order_kernel(int* counter, int* order) {
  order[atomicAdd(counter, 1)] = threadIdx.x + 64 * blockIdx.x;
}
std::vector<int> order_of_threads() {
  Buffer<int> counter({0}), order(std::vector<int>(512));
  launch("order", order_kernel, 8, 64, 0, nullptr, counter.data, order.data);
  return order.host();
}
TEST(schedules_order_threads_and_blocks) {
  emulator::set_schedule("forward");
  const std::vector<int> forward = order_of_threads();
  emulator::set_schedule("reversed");
  const std::vector<int> reversed = order_of_threads();
  for (int i = 0; i < 512; ++i) EXPECT(forward[i] == i && reversed[i] == 511 - i);
  emulator::set_schedule("random:9");
  const std::vector<int> random = order_of_threads();
  EXPECT(random != forward && random != reversed && random != order_of_threads());
}

template <int Threads>
__global__ void block_reduce_kernel(const float* in, float* out) {
  const float first = cuda::block_sum<Threads>(in[threadIdx.x]);
  const float second = cuda::block_sum<Threads>(in[threadIdx.x] * 2.0f);
  const float largest = cuda::block_max<Threads>(in[threadIdx.x]);
  out[3 * threadIdx.x] = first;
  out[3 * threadIdx.x + 1] = second;
  out[3 * threadIdx.x + 2] = largest;
}
TEST(block_reductions) {
  const std::vector<float> values = noise(256, 4);
  Buffer<float> in(values), out(std::vector<float>(3 * 256)), again(std::vector<float>(3 * 256));
  launch("block_reduce", block_reduce_kernel<256>, 1, 256, 0, nullptr, in.data, out.data);
  launch("block_reduce", block_reduce_kernel<0>, 1, 256, 0, nullptr, in.data, again.data);
  double sum = 0.0;
  float largest = values[0];
  for (float value : values) sum += value, largest = std::fmax(largest, value);
  const std::vector<float> result = out.host();
  EXPECT(result == again.host());
  EXPECT(std::fabs(result[0] - sum) < 1e-5 && result[1] == 2.0f * result[0] && result[2] == largest);
  for (int i = 0; i < 256; ++i) EXPECT(std::memcmp(&result[0], &result[3 * i], 3 * sizeof(float)) == 0);
}

TEST(bf16_rounds_to_even) {
  EXPECT(__float2bfloat16(1.0f).bits == 0x3F80 && __float2bfloat16(-2.0f).bits == 0xC000);
  EXPECT(__float2bfloat16(__uint_as_float(0x3F808000)).bits == 0x3F80);
  EXPECT(__float2bfloat16(__uint_as_float(0x3F818000)).bits == 0x3F82);
  EXPECT(__float2bfloat16(__uint_as_float(0x3F808001)).bits == 0x3F81);
  EXPECT(__float2bfloat16(3.4e38f).bits == 0x7F80 && __float2bfloat16(INFINITY).bits == 0x7F80);
  EXPECT(__float2bfloat16(NAN).bits == 0x7FFF && std::isnan(__bfloat162float(__float2bfloat16(NAN))));
}
TEST(bit_functions) {
  EXPECT(__popc(0xF0F0u) == 8 && __ffs(8) == 4 && __ffs(0) == 0 && __clz(1) == 31 && __clz(0) == 32);
  EXPECT(__brev(1u) == 0x80000000u && __umulhi(0x80000000u, 6u) == 3u &&
         __byte_perm(0x33221100u, 0x77665544u, 0x7410u) == 0x77441100u);
  EXPECT(min(3, 4) == 3 && max(2u, 1) == 2u && max(1.0f, NAN) == 1.0f);
}

}  // namespace
}  // namespace electra::test
