#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "../../native/engine_error.h"
#include "memory.h"

struct CUgraph_st {
  std::vector<std::function<void()>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> nodes;
};

namespace {
/// A recording in progress, shared by the stream it began on and those that joined through an event.
struct Capture {
  CUgraph_st graph;
  cudaStream_t origin = nullptr;
  bool relaxed = false;
  bool invalid = false;
};
}  // namespace

struct CUstream_st {
  bool blocking = true;  // waits for the default stream and is waited for by it
  std::deque<std::function<void()>> queue;
  Capture* capture = nullptr;
  bool unjoined = false;  // holds captured work that the origin has not waited for
};

struct CUevent_st {
  bool timing = true;
  cudaStream_t stream = nullptr;
  uint64_t recorded = 0, completed = 0;
  Capture* capture = nullptr;
  std::chrono::steady_clock::time_point time{};
};

namespace electra::emulator {
namespace {

struct Runtime {
  std::recursive_mutex mutex;
  CUstream_st default_stream;
  std::vector<cudaStream_t> streams;  // without the default one
  std::set<cudaEvent_t> events;
  std::vector<Capture*> captures;
  cudaError_t last = cudaSuccess;
};
Runtime& runtime() {
  static Runtime* instance = new Runtime;  // outlives every static that frees memory at exit
  return *instance;
}
using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) runtime().last = error;
  return error;
}

/// Null when there is no such stream.
CUstream_st* find(cudaStream_t stream) {
  if (stream == nullptr) return &runtime().default_stream;
  for (cudaStream_t each : runtime().streams) {
    if (each == stream) return each;
  }
  return nullptr;
}

bool run_one(CUstream_st& stream) {
  if (stream.queue.empty()) return false;
  std::function<void()> work = std::move(stream.queue.front());
  stream.queue.pop_front();
  work();
  return true;
}
void drain(CUstream_st& stream) {
  while (run_one(stream)) {
  }
}
/// What the default stream waits for.
void drain_blocking() {
  drain(runtime().default_stream);
  for (cudaStream_t stream : runtime().streams) {
    if (stream->blocking) drain(*stream);
  }
}
/// Everything; streams that no event orders take turns as the schedule says.
void drain_all() {
  drain_blocking();
  std::vector<cudaStream_t> streams = runtime().streams;
  if (options().schedule == Schedule::kReversed) std::reverse(streams.begin(), streams.end());
  std::minstd_rand random(static_cast<unsigned>(options().seed + counters().launches));
  while (options().schedule == Schedule::kRandom && !streams.empty()) {
    const size_t choice = random() % streams.size();
    if (!run_one(*streams[choice])) streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(choice));
  }
  for (cudaStream_t stream : streams) drain(*stream);
}

/// Calls that a recording forbids end it.
bool forbidden_now(bool allowed_when_relaxed) {
  bool forbidden = false;
  for (Capture* capture : runtime().captures) {
    if (capture->relaxed && allowed_when_relaxed) continue;
    capture->invalid = true;
    forbidden = true;
  }
  return forbidden;
}

cudaError_t submit(CUstream_st& stream, std::function<void()> work) {
  if (stream.capture != nullptr) {
    if (stream.capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
    stream.capture->graph.nodes.push_back(std::move(work));
    stream.unjoined = stream.capture->origin != &stream;
    return cudaSuccess;
  }
  if (&stream == &runtime().default_stream) {
    if (forbidden_now(true)) return fail(cudaErrorStreamCaptureUnsupported);
    for (cudaStream_t other : runtime().streams) {
      if (other->blocking) drain(*other);
    }
  } else if (stream.blocking) {
    drain(runtime().default_stream);
  }
  stream.queue.push_back(std::move(work));
  if (!options().defer) drain(stream);
  return cudaSuccess;
}

bool begins_on_device(cudaMemcpyKind kind, bool source) {
  return kind == cudaMemcpyDeviceToDevice ||
         kind == (source ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice);
}

/// Device ends must lie inside an allocation, host ends must not.
bool copy_makes_sense(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return true;
  if (to == nullptr || from == nullptr) return false;
  if (kind == cudaMemcpyDefault) return true;
  return is_device_memory(from, bytes) == begins_on_device(kind, true) &&
         is_device_memory(to, bytes) == begins_on_device(kind, false);
}

}  // namespace

cudaError_t enqueue(cudaStream_t handle, std::function<void()> work) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle);
  return submit(*stream, std::move(work));
}

cudaError_t enqueue_kernel(const char* name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                           std::function<void()> body) {
  return enqueue(stream, [name, grid, block, shared_bytes, body = std::move(body)] {
    install_fault_handler();
    run_grid(name, grid, block, shared_bytes, body);
    check_memory(name);
  });
}

}  // namespace electra::emulator

using namespace electra::emulator;  // NOLINT: what follows are CUDA's own global names

#define ELECTRA_ERRORS(X)                                                                         \
  X(cudaSuccess, "no error")                                                                      \
  X(cudaErrorInvalidValue, "invalid argument")                                                    \
  X(cudaErrorMemoryAllocation, "out of memory")                                                   \
  X(cudaErrorInitializationError, "initialization error")                                         \
  X(cudaErrorInvalidConfiguration, "invalid configuration argument")                              \
  X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")  \
  X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                      \
  X(cudaErrorInvalidDevice, "invalid device ordinal")                                             \
  X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                    \
  X(cudaErrorNotReady, "device not ready")                                                        \
  X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                          \
  X(cudaErrorLaunchFailure, "unspecified launch failure")                                         \
  X(cudaErrorNotSupported, "operation not supported")                                             \
  X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")        \
  X(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture") \
  X(cudaErrorStreamCaptureUnmatched, "the capture was not initiated in this stream")              \
  X(cudaErrorStreamCaptureUnjoined, "the capture has work that is not joined to its stream")      \
  X(cudaErrorUnknown, "unknown error")

const char* cudaGetErrorString(cudaError_t error) {
#define X(code, text) \
  if (error == code) return text;
  ELECTRA_ERRORS(X)
#undef X
  return "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t error) {
#define X(code, text) \
  if (error == code) return #code;
  ELECTRA_ERRORS(X)
#undef X
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() {
  Lock lock(runtime().mutex);
  return std::exchange(runtime().last, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  Lock lock(runtime().mutex);
  return runtime().last;
}

// ---- Device
// ------------------------------------------------------------------------------------------------

namespace {
cudaError_t driver_state() {
  if (options().driver == Options::Driver::kNone) return fail(cudaErrorNoDevice);
  if (options().driver == Options::Driver::kOld) return fail(cudaErrorInsufficientDriver);
  return cudaSuccess;
}
}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = driver_state() == cudaSuccess ? 1 : 0;
  return driver_state();
}
cudaError_t cudaSetDevice(int device) {
  if (driver_state() != cudaSuccess) return driver_state();
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return driver_state();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (cudaSetDevice(device) != cudaSuccess) return cudaPeekAtLastError();
  *properties = cudaDeviceProp{};
  std::strncpy(properties->name, "emulated", sizeof(properties->name) - 1);
  properties->totalGlobalMem = options().memory;
  properties->sharedMemPerBlock = kMaxStaticSharedBytes;
  properties->sharedMemPerBlockOptin = kMaxSharedBytes;
  properties->sharedMemPerMultiprocessor = kMaxSharedBytes + 1024;
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = options().multiprocessors;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = kMaxThreads;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->regsPerBlock = 65536;
  properties->l2CacheSize = 40 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      break;
    case cudaDevAttrWarpSize:
      *value = properties.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      break;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      break;
    default:
      return fail(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  Lock lock(runtime().mutex);
  if (forbidden_now(false)) return fail(cudaErrorStreamCaptureUnsupported);
  drain_all();
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = options().driver == Options::Driver::kNone  ? 0
             : options().driver == Options::Driver::kOld ? 10000
                                                         : 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  Lock lock(runtime().mutex);
  *total_bytes = options().memory;
  *free_bytes = options().memory - std::min(options().memory, memory_use().device_bytes);
  return driver_state();
}

// ---- Memory
// ------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  Lock lock(runtime().mutex);
  if (forbidden_now(true)) return fail(cudaErrorStreamCaptureUnsupported);
  if (driver_state() != cudaSuccess) return driver_state();
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  *memory = allocate_device(bytes);
  return *memory == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  Lock lock(runtime().mutex);
  if (forbidden_now(true)) return fail(cudaErrorStreamCaptureUnsupported);
  drain_all();
  if (memory != nullptr) free_device(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  Lock lock(runtime().mutex);
  if (forbidden_now(true)) return fail(cudaErrorStreamCaptureUnsupported);
  if (driver_state() != cudaSuccess) return driver_state();
  *memory = allocate_pinned(bytes);
  return *memory == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) { return cudaMallocHost(memory, bytes); }
cudaError_t cudaFreeHost(void* memory) {
  Lock lock(runtime().mutex);
  if (forbidden_now(true)) return fail(cudaErrorStreamCaptureUnsupported);
  drain_all();
  if (memory != nullptr) free_pinned(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  Lock lock(runtime().mutex);
  if (!copy_makes_sense(to, from, bytes, kind)) return fail(cudaErrorInvalidValue);
  return enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Lock lock(runtime().mutex);
  if (forbidden_now(false)) return fail(cudaErrorStreamCaptureUnsupported);
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  if (error == cudaSuccess) drain_blocking();
  return error;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  Lock lock(runtime().mutex);
  if (width > to_pitch || width > from_pitch) return fail(cudaErrorInvalidValue);
  if (width == 0 || height == 0) return cudaSuccess;
  if (kind != cudaMemcpyDefault &&
      (is_device_memory(from, (height - 1) * from_pitch + width) != begins_on_device(kind, true) ||
       is_device_memory(to, (height - 1) * to_pitch + width) != begins_on_device(kind, false))) {
    return fail(cudaErrorInvalidValue);
  }
  return enqueue(stream, [=] {
    for (size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                  width);
    }
  });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  Lock lock(runtime().mutex);
  if (bytes > 0 && !is_device_memory(to, bytes)) return fail(cudaErrorInvalidValue);
  return enqueue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}

// ---- Streams and events
// --------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  Lock lock(runtime().mutex);
  *stream = new CUstream_st;
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  runtime().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Lock lock(runtime().mutex);
  if (stream == nullptr || find(stream) == nullptr) return fail(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return fail(cudaErrorStreamCaptureUnsupported);
  drain(*stream);
  std::vector<cudaStream_t>& streams = runtime().streams;
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  for (cudaEvent_t event : runtime().events) {
    if (event->stream == stream) event->stream = nullptr;
  }
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle);
  if (forbidden_now(stream->capture == nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
  drain(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle);
  if (forbidden_now(stream->capture == nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
  // Who asks in a loop must see progress.
  return run_one(*stream) ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return enqueue(stream, [=] { function(argument); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  Lock lock(runtime().mutex);
  *event = new CUevent_st;
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  runtime().events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Lock lock(runtime().mutex);
  if (runtime().events.count(event) == 0) return fail(cudaErrorInvalidResourceHandle);
  drain_all();  // queued records and waits still name it
  runtime().events.erase(event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr || runtime().events.count(event) == 0) return fail(cudaErrorInvalidResourceHandle);
  event->capture = stream->capture;
  event->stream = stream;
  if (stream->capture != nullptr)
    return stream->capture->invalid ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
  const uint64_t generation = ++event->recorded;
  return submit(*stream, [event, generation] {
    event->completed = generation;
    event->time = std::chrono::steady_clock::now();
  });
}
namespace {
/// Runs the event's stream until the event has happened.
void reach(cudaEvent_t event, uint64_t generation) {
  while (event->completed < generation && event->stream != nullptr && run_one(*event->stream)) {
  }
}
}  // namespace
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr || runtime().events.count(event) == 0) return fail(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) {
    if (stream->capture == nullptr) stream->capture = event->capture;
    if (stream->capture != event->capture) return fail(cudaErrorStreamCaptureUnsupported);
    if (event->stream != stream && stream->capture->origin == stream) event->stream->unjoined = false;
    if (stream->capture->origin != stream) stream->unjoined = true;
    return cudaSuccess;
  }
  if (stream->capture != nullptr)
    return event->recorded == 0 ? cudaSuccess : fail(cudaErrorStreamCaptureUnsupported);
  const uint64_t generation = event->recorded;
  if (generation == 0) return cudaSuccess;
  return submit(*stream, [event, generation] { reach(event, generation); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Lock lock(runtime().mutex);
  if (runtime().events.count(event) == 0) return fail(cudaErrorInvalidResourceHandle);
  if (forbidden_now(event->capture == nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
  reach(event, event->recorded);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  Lock lock(runtime().mutex);
  if (runtime().events.count(event) == 0) return fail(cudaErrorInvalidResourceHandle);
  if (forbidden_now(event->capture == nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
  if (event->completed == event->recorded) return cudaSuccess;
  if (event->stream != nullptr) run_one(*event->stream);  // who asks in a loop must see progress
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  Lock lock(runtime().mutex);
  if (!start->timing || !end->timing || start->recorded == 0 || end->recorded == 0) {
    return fail(cudaErrorInvalidResourceHandle);
  }
  if (start->completed != start->recorded || end->completed != end->recorded) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

// ---- Graphs
// ------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Lock lock(runtime().mutex);
  if (stream == nullptr) return fail(cudaErrorStreamCaptureUnsupported);
  if (find(stream) == nullptr) return fail(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return fail(cudaErrorInvalidValue);
  stream->capture = new Capture;
  stream->capture->origin = stream;
  stream->capture->relaxed = mode == cudaStreamCaptureModeRelaxed;
  runtime().captures.push_back(stream->capture);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Lock lock(runtime().mutex);
  *graph = nullptr;
  if (stream == nullptr || find(stream) == nullptr) return fail(cudaErrorInvalidResourceHandle);
  Capture* capture = stream->capture;
  if (capture == nullptr) return fail(cudaErrorInvalidValue);
  if (capture->origin != stream) return fail(cudaErrorStreamCaptureUnmatched);
  bool unjoined = false;
  for (cudaStream_t each : runtime().streams) {
    if (each->capture != capture) continue;
    unjoined = unjoined || each->unjoined;
    each->capture = nullptr;
    each->unjoined = false;
  }
  for (cudaEvent_t event : runtime().events) {
    if (event->capture == capture) event->capture = nullptr, event->stream = nullptr;
  }
  std::vector<Capture*>& captures = runtime().captures;
  captures.erase(std::find(captures.begin(), captures.end(), capture));
  const bool invalid = capture->invalid;
  if (!invalid && !unjoined) *graph = new CUgraph_st(std::move(capture->graph));
  delete capture;
  if (invalid) return fail(cudaErrorStreamCaptureInvalidated);
  return unjoined ? fail(cudaErrorStreamCaptureUnjoined) : cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  Lock lock(runtime().mutex);
  CUstream_st* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle);
  *status = stream->capture == nullptr ? cudaStreamCaptureStatusNone
            : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return fail(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t) {
  return exec == nullptr ? fail(cudaErrorInvalidValue) : cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (exec == nullptr) return fail(cudaErrorInvalidValue);
  return enqueue(stream, [nodes = exec->nodes] {
    for (const std::function<void()>& node : nodes) node();
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
