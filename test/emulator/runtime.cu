// Memory with guards, streams that put work off, captured graphs, injected faults.

#include <cstdint>
#include <cstring>
#include <vector>

#include "../../cuda/platform/platform.h"
#include "harness.h"

namespace electra::test {
namespace {

using cuda::launch;
using cuda::load_packed;
using cuda::Packed;

__global__ void write_kernel(char* data, long index) { data[index] = 1; }
__global__ void fill_kernel(int* data, int value) { data[threadIdx.x] = value; }
__global__ void add_kernel(int* data, int value) { data[threadIdx.x] += value; }
__global__ void deep_kernel(int* out) {
  volatile char large[256 * 1024];
  large[0] = static_cast<char>(out[0]);
  out[0] = large[0];
}

int* device_ints(int count) {
  int* data = nullptr;
  ELECTRA_CUDA_CHECK(cudaMalloc(&data, static_cast<size_t>(count) * sizeof(int)));
  return data;
}
int first_int(const int* data) {
  int value = 0;
  ELECTRA_CUDA_CHECK(cudaMemcpy(&value, data, sizeof(int), cudaMemcpyDeviceToHost));
  return value;
}

TEST(device_memory_is_poisoned_and_aligned) {
  for (size_t bytes : {size_t{1}, size_t{255}, size_t{256}, size_t{4096}, size_t{5000}}) {
    unsigned char* data = nullptr;
    ELECTRA_CUDA_CHECK(cudaMalloc(&data, bytes));
    EXPECT(cuda::is_aligned(data, 256));
    std::vector<unsigned char> host(bytes);
    ELECTRA_CUDA_CHECK(cudaMemcpy(host.data(), data, bytes, cudaMemcpyDeviceToHost));
    for (unsigned char byte : host) EXPECT(byte == 0xFF);
    EXPECT(emulator::memory_use().device_bytes == bytes && emulator::memory_use().device_allocations == 1);
    ELECTRA_CUDA_CHECK(cudaFree(data));
  }
  EXPECT(emulator::memory_use().device_allocations == 0);
}

void write_at(size_t bytes, long index) {
  char* data = nullptr;
  ELECTRA_CUDA_CHECK(cudaMalloc(&data, bytes));
  launch("write", write_kernel, 2, 1, 0, nullptr, data, index);
  cudaFree(data);
}
TEST(out_of_bounds_is_reported) {
  EXPECT(message_of_death([] { write_at(1000, 999); }).empty());
  EXPECT_CONTAINS(message_of_death([] { write_at(1000, 1000); }),
                  "write: written 0 bytes past the end of allocation");
  EXPECT_CONTAINS(message_of_death([] { write_at(1000, -1); }), "write: written 1 bytes before allocation");
  const std::string text = message_of_death([] { write_at(1024, 1024); });
  EXPECT_CONTAINS(text, "in kernel write, block (");
  EXPECT_CONTAINS(text, "thread (0, 0, 0): 0 bytes past the end of allocation");
  EXPECT_CONTAINS(text, "1024 bytes at");
  EXPECT_CONTAINS(message_of_death([] { launch("deep", deep_kernel, 1, 1, 0, nullptr, device_ints(1)); }),
                  "the thread's stack is full");
}
__global__ void array_kernel(int* sums, int count) {
  int box[4] = {1, 2, 3, 4};
  for (int i = 0; i < count; ++i) *sums += box[i];
}
__global__ void packed_kernel(float* sum, int count) {
  Packed<float, 4> packed = load_packed<4>(sum);
  for (int i = 0; i < count; ++i) *sum += packed[i];
}
TEST(indices_outside_of_what_a_thread_holds_are_reported) {
  int* const sums = device_ints(1);
  EXPECT(message_of_death([&] { launch("array", array_kernel, 1, 1, 0, nullptr, sums, 4); }).empty());
  EXPECT_CONTAINS(message_of_death([&] { launch("array", array_kernel, 1, 1, 0, nullptr, sums, 5); }),
                  "index outside of an array in kernel array, block (0, 0, 0), thread (0, 0, 0)");
  float* const floats = reinterpret_cast<float*>(device_ints(4));
  EXPECT(message_of_error([&] { launch("packed", packed_kernel, 1, 1, 0, nullptr, floats, 4); }).empty());
  EXPECT_CONTAINS(message_of_error([&] { launch("packed", packed_kernel, 1, 1, 0, nullptr, floats, 5); }),
                  "element 4 of a Packed of 4");
  cudaFree(sums);
  cudaFree(floats);
}
TEST(wrong_frees_are_reported) {
  EXPECT_CONTAINS(message_of_death([] {
                    int* data = device_ints(1);
                    cudaFree(data);
                    cudaFree(data);
                  }),
                  "freed twice");
  EXPECT_CONTAINS(message_of_death([] { cudaFree(device_ints(100) + 1); }), "is not an allocation");
  EXPECT_CONTAINS(message_of_death([] {
                    static int not_pinned;
                    cudaFreeHost(&not_pinned);
                  }),
                  "is not an allocation");
}
TEST(copies_are_checked) {
  int* data = device_ints(4);
  int host[8] = {};
  EXPECT(cudaMemcpy(data, host, 5 * sizeof(int), cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  EXPECT(cudaMemcpy(host, data, sizeof(int), cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  EXPECT(cudaMemset(host, 0, sizeof(int)) == cudaErrorInvalidValue);
  EXPECT(cudaGetLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaSuccess);
  EXPECT(cudaMemcpy2DAsync(data, 8, host, 16, 8, 2, cudaMemcpyHostToDevice) == cudaSuccess);
  cudaFree(data);
}

TEST(deferred_streams_show_missing_synchronisation) {
  emulator::options().defer = true;
  cudaStream_t stream, other;
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  int* data = device_ints(32);
  int* host = nullptr;
  ELECTRA_CUDA_CHECK(cudaMallocHost(&host, sizeof(int)));
  *host = -5;
  launch("fill", fill_kernel, 1, 32, 0, stream, data, 41);
  launch("add", add_kernel, 1, 32, 0, stream, data, 1);
  ELECTRA_CUDA_CHECK(cudaMemcpyAsync(host, data, sizeof(int), cudaMemcpyDeviceToHost, stream));
  EXPECT(*host == -5);  // nothing has waited
  ELECTRA_CUDA_CHECK(cudaStreamSynchronize(other));
  EXPECT(*host == -5);  // for the wrong stream
  ELECTRA_CUDA_CHECK(cudaStreamSynchronize(stream));
  EXPECT(*host == 42);

  // Host memory is read late too, and an event orders streams.
  cudaEvent_t event;
  ELECTRA_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  *host = 1;
  ELECTRA_CUDA_CHECK(cudaMemcpyAsync(data, host, sizeof(int), cudaMemcpyHostToDevice, stream));
  *host = 2;
  ELECTRA_CUDA_CHECK(cudaEventRecord(event, stream));
  EXPECT(cudaEventQuery(event) == cudaErrorNotReady);
  ELECTRA_CUDA_CHECK(cudaStreamWaitEvent(other, event));
  launch("add", add_kernel, 1, 1, 0, other, data, 10);
  launch("add", add_kernel, 1, 1, 0, stream, data, 100);
  ELECTRA_CUDA_CHECK(cudaStreamSynchronize(other));
  EXPECT(first_int(data) == 12);
  ELECTRA_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT(first_int(data) == 112);
  EXPECT(cudaEventQuery(event) == cudaSuccess && cudaEventSynchronize(event) == cudaSuccess);
  cudaEventDestroy(event);
  cudaStreamDestroy(stream);
  cudaStreamDestroy(other);
  cudaFreeHost(host);
  cudaFree(data);
}
TEST(deferred_failures_surface_at_synchronisation) {
  emulator::options().defer = true;
  cudaStream_t stream;
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  launch("fill", fill_kernel, 1, 2048, 0, stream, static_cast<int*>(nullptr), 0);
  EXPECT_CONTAINS(message_of_error([&] { cudaStreamSynchronize(stream); }), "a block of (2048, 1, 1)");
  cudaStreamDestroy(stream);
}

TEST(graphs_take_arguments_by_value) {
  cudaStream_t stream;
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  int* data = device_ints(32);
  int* scalar = nullptr;
  ELECTRA_CUDA_CHECK(cudaMallocHost(&scalar, sizeof(int)));
  int rate = 5;
  *scalar = 100;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaStreamCaptureStatus status;
  ELECTRA_CUDA_CHECK(cudaMemset(data, 0, 32 * sizeof(int)));
  ELECTRA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  ELECTRA_CUDA_CHECK(cudaStreamIsCapturing(stream, &status));
  EXPECT(status == cudaStreamCaptureStatusActive);
  ELECTRA_CUDA_CHECK(cudaMemcpyAsync(data, scalar, sizeof(int), cudaMemcpyHostToDevice, stream));
  launch("add", add_kernel, 1, 1, 0, stream, data, rate);
  ELECTRA_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  EXPECT(first_int(data) == 0);  // recorded, not run
  ELECTRA_CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
  ELECTRA_CUDA_CHECK(cudaGraphDestroy(graph));
  ELECTRA_CUDA_CHECK(cudaGraphUpload(exec, stream));
  ELECTRA_CUDA_CHECK(cudaGraphLaunch(exec, stream));
  EXPECT(first_int(data) == 105);
  rate = 7;       // the graph keeps 5
  *scalar = 200;  // and reads this anew
  ELECTRA_CUDA_CHECK(cudaGraphLaunch(exec, stream));
  EXPECT(first_int(data) == 205 && rate == 7);
  cudaGraphExecDestroy(exec);
  cudaStreamDestroy(stream);
  cudaFreeHost(scalar);
  cudaFree(data);
}
TEST(capture_forbids_what_cuda_forbids) {
  cudaStream_t stream, side;
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  int* data = device_ints(32);
  int value = 0;
  void* memory = nullptr;
  cudaGraph_t graph = nullptr;
  for (int call = 0; call < 4; ++call) {
    ELECTRA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const cudaError_t error = call == 0   ? cudaMalloc(&memory, 16)
                              : call == 1 ? cudaStreamSynchronize(stream)
                              : call == 2 ? cudaMemcpy(&value, data, sizeof(int), cudaMemcpyDeviceToHost)
                                          : cudaDeviceSynchronize();
    EXPECT(error == cudaErrorStreamCaptureUnsupported);
    EXPECT_CONTAINS(message_of_error([&] { launch("fill", fill_kernel, 1, 32, 0, stream, data, 1); }),
                    "cudaErrorStreamCaptureInvalidated");
    EXPECT(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && graph == nullptr);
  }
  // A side stream joins through an event, and must be joined again.
  cudaEvent_t fork, join;
  ELECTRA_CUDA_CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  ELECTRA_CUDA_CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  for (bool joined : {false, true}) {
    ELECTRA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    ELECTRA_CUDA_CHECK(cudaEventRecord(fork, stream));
    ELECTRA_CUDA_CHECK(cudaStreamWaitEvent(side, fork));
    launch("fill", fill_kernel, 1, 32, 0, side, data, 9);
    ELECTRA_CUDA_CHECK(cudaEventRecord(join, side));
    if (joined) ELECTRA_CUDA_CHECK(cudaStreamWaitEvent(stream, join));
    EXPECT(cudaStreamEndCapture(stream, &graph) == (joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
  }
  cudaGraphDestroy(graph);
  cudaGetLastError();
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
  cudaStreamDestroy(stream);
  cudaStreamDestroy(side);
  cudaFree(data);
}

TEST(faults_are_injected) {
  emulator::options().fail_malloc = 2;
  int* data = device_ints(1);
  void* memory = nullptr;
  try {
    ELECTRA_CUDA_CHECK(cudaMalloc(&memory, 16));
    EXPECT(false);
  } catch (const EngineError& error) {
    EXPECT(std::strcmp(error.code(), "ERR_ELECTRA_OUT_OF_MEMORY") == 0);
    EXPECT_CONTAINS(error.what(), "cudaMalloc(&memory, 16): out of memory (cudaErrorMemoryAllocation)");
    EXPECT_CONTAINS(error.what(), "runtime.cu:");
  }
  cudaFree(data);
  emulator::options().memory = 1000;
  size_t free_bytes = 0, total = 0;
  EXPECT(cudaMalloc(&memory, 1001) == cudaErrorMemoryAllocation);
  EXPECT(cudaMalloc(&memory, 600) == cudaSuccess && cudaMemGetInfo(&free_bytes, &total) == cudaSuccess);
  EXPECT(free_bytes == 400 && total == 1000);
  cudaFree(memory);
  int count = 1;
  emulator::options().driver = emulator::Options::Driver::kNone;
  EXPECT(cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0);
  emulator::options().driver = emulator::Options::Driver::kOld;
  EXPECT(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
  emulator::options().driver = emulator::Options::Driver::kPresent;
  cudaDeviceProp properties;
  EXPECT(cudaGetDeviceProperties(&properties, 0) == cudaSuccess && properties.major == 8);
  EXPECT(std::strcmp(properties.name, "emulated") == 0 && cudaSetDevice(1) == cudaErrorInvalidDevice);
  EXPECT(cudaGetLastError() == cudaErrorInvalidDevice);
}
TEST(misaligned_vectors_are_reported) {
  float* data = nullptr;
  ELECTRA_CUDA_CHECK(cudaMalloc(&data, 64));
  EXPECT_CONTAINS(message_of_error([&] { cuda::load_packed<4>(data + 1); }), "is not a multiple of 16");
  cudaFree(data);
}

}  // namespace
}  // namespace electra::test
