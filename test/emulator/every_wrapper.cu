// One kernel that uses every wrapper of the platform layer. Compiled by nvcc too, where that is the test: the
// PTX must assemble.

#include <cmath>
#include <cstdint>
#include <vector>

#include "../../cuda/platform/platform.h"

namespace electra::test {
namespace {

using Row = float[4];

template <class T, int N>
__global__ void every_wrapper_kernel(const T* __restrict__ input, T* __restrict__ output,
                                     float* __restrict__ sums, int count) {
  ELECTRA_DYNAMIC_SHARED(uint4, stage);
  ELECTRA_SHARED(__nv_bfloat16, tile, 16 * 16);
  ELECTRA_SHARED(Row, rows, 8);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warpSize;
  for (int i = thread; i < 256; i += static_cast<int>(blockDim.x))
    tile[i] = cuda::from_float<__nv_bfloat16>(1.0f);
  if (thread < 8) rows[thread][3] = 2.0f;
  cuda::cp_async16(&stage[thread], input, true);
  cuda::cp_async_commit();
  cuda::cp_async16(&stage[blockDim.x + threadIdx.x], input, false);
  cuda::cp_async_commit();
  cuda::cp_async_wait<1>();
  cuda::cp_async_wait<0>();
  __syncthreads();
  uint32_t a[4], other[4], b[2], c[2];
  cuda::ldmatrix_x4(a, &tile[lane % 16 * 16 + lane / 16 * 8]);
  cuda::ldmatrix_x4_transposed(other, &tile[lane % 16 * 16 + lane / 16 * 8]);
  cuda::ldmatrix_x2(b, &tile[lane % 16 * 16]);
  cuda::ldmatrix_x2_transposed(c, &tile[lane % 16 * 16]);
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  cuda::mma_m16n8k16(d, a, b);
  cuda::mma_m16n8k16(d, other, c);
  float sum =
      d[0] + d[1] + d[2] + d[3] + static_cast<float>(cuda::pack_bf16(0.0f, 0.0f) + stage[blockDim.x].x);
  sum = cuda::block_sum<64>(cuda::warp_sum(sum)) + cuda::block_sum(rows[thread % 8][3]);
  sum += cuda::block_max<64>(cuda::warp_max(sum)) + cuda::block_max(sum);
  sum += static_cast<float>(cuda::block_sum<64>(static_cast<double>(sum)) +
                            cuda::warp_sum(static_cast<double>(sum)));
  sum += static_cast<float>(cuda::warp_sum(thread));
  const int i = (static_cast<int>(blockIdx.x * blockDim.x) + thread) * N;
  if (i < count) {
    cuda::Packed<T, N> packed = cuda::load_packed<N>(input + i);
    const cuda::Packed<T, N> streamed = cuda::load_packed_streaming<N>(input + i);
    for (int j = 0; j < N; ++j)
      packed[j] = cuda::from_float<T>(cuda::to_float(packed[j]) + cuda::to_float(streamed[j]));
    if (cuda::is_aligned(output, 16)) {
      cuda::store_packed<N>(output + i, packed);
    } else {
      cuda::store_packed_streaming<N>(output + i, packed);
    }
  }
  if (thread == 0) sums[blockIdx.x] = sum;
}

template <class T, int N>
float run(cudaStream_t stream, std::vector<T>& host) {
  const size_t count = host.size();
  T *input, *output;
  float *sums, sum;
  ELECTRA_CUDA_CHECK(cudaMalloc(&input, count * sizeof(T)));
  ELECTRA_CUDA_CHECK(cudaMalloc(&output, count * sizeof(T)));
  ELECTRA_CUDA_CHECK(cudaMalloc(&sums, 16 * sizeof(float)));
  ELECTRA_CUDA_CHECK(cudaMemcpy(input, host.data(), count * sizeof(T), cudaMemcpyHostToDevice));
  const unsigned blocks = static_cast<unsigned>((count / N + 63) / 64);
  cuda::launch("every_wrapper", every_wrapper_kernel<T, N>, blocks, 64, 60 * 1024, stream, input, output,
               sums, count);
  cuda::launch("every_wrapper", every_wrapper_kernel<T, N>, 0, 64, 0, stream, input, output, sums, count);
  ELECTRA_CUDA_CHECK(cudaMemcpy(host.data(), output, count * sizeof(T), cudaMemcpyDeviceToHost));
  ELECTRA_CUDA_CHECK(cudaMemcpy(&sum, sums, sizeof(float), cudaMemcpyDeviceToHost));
  ELECTRA_CUDA_CHECK(cudaFree(input));
  ELECTRA_CUDA_CHECK(cudaFree(output));
  ELECTRA_CUDA_CHECK(cudaFree(sums));
  return sum;
}

}  // namespace

/// Doubles both arrays; returns the sums, which are equal.
float run_every_wrapper(std::vector<float>& values, std::vector<__nv_bfloat16>& small_values) {
  const float sum = run<float, 4>(nullptr, values);
  return run<__nv_bfloat16, 8>(nullptr, small_values) == sum ? sum : NAN;
}

}  // namespace electra::test
