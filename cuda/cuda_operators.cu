// Memory, transfers and parameters of one GPU. The operators themselves are under kernels/.

#include "cuda_operators.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "kernels/optimizer.h"
#include "step_graph.h"

namespace electra::cuda {
namespace {

constexpr size_t kAlignment = 256;

size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Chooses the device and says in its own words why it cannot be used.
void open_device(int32_t device, cudaDeviceProp* properties) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess)
    throw EngineError("ERR_ELECTRA_NO_CUDA", "CUDA cannot be used: %s", cudaGetErrorString(status));
  if (device < 0 || device >= count)
    throw EngineError("ERR_ELECTRA_NO_CUDA", "there is no GPU number %d; CUDA sees %d", device, count);
  ELECTRA_CUDA_CHECK(cudaSetDevice(device));
  ELECTRA_CUDA_CHECK(cudaGetDeviceProperties(properties, device));
  if (properties->major < 8)
    throw EngineError("ERR_ELECTRA_NO_CUDA",
                      "GPU %d (%s) has compute capability %d.%d; the kernels need 8.0 (Ampere) or newer", device,
                      properties->name, properties->major, properties->minor);
}

}  // namespace

/// Pinned memory that uploads pass through, so that the caller's memory is free again at once and the copy
/// overlaps whatever the device is doing. Two halves: one is filled while the other is read.
class CudaOperators::Staging {
 public:
  explicit Staging(cudaStream_t stream) : stream_(stream) {
    try {
      for (Half& half : halves_) {
        ELECTRA_CUDA_CHECK(cudaMallocHost(&half.memory, kHalfBytes));
        ELECTRA_CUDA_CHECK(cudaEventCreateWithFlags(&half.read, cudaEventDisableTiming));
      }
    } catch (...) {
      release();
      throw;
    }
  }
  ~Staging() { release(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(char* device, const char* host, size_t bytes) {
    while (bytes > 0) {
      Half& half = halves_[current_];
      if (used_ == 0 && half.pending) {
        ELECTRA_CUDA_CHECK(cudaEventSynchronize(half.read));
        half.pending = false;
      }
      const size_t part = std::min(bytes, kHalfBytes - used_);
      char* place = static_cast<char*>(half.memory) + used_;
      std::memcpy(place, host, part);
      ELECTRA_CUDA_CHECK(cudaMemcpyAsync(device, place, part, cudaMemcpyHostToDevice, stream_));
      used_ = std::min(kHalfBytes, rounded(used_ + part));
      if (used_ == kHalfBytes) {
        ELECTRA_CUDA_CHECK(cudaEventRecord(half.read, stream_));
        half.pending = true;
        current_ ^= 1;
        used_ = 0;
      }
      device += part;
      host += part;
      bytes -= part;
    }
  }
  /// After the stream has been waited for, everything may be used again.
  void forget() {
    used_ = 0;
    for (Half& half : halves_) half.pending = false;
  }

 private:
  static constexpr size_t kHalfBytes = size_t{8} << 20;
  struct Half {
    void* memory = nullptr;
    cudaEvent_t read = nullptr;
    bool pending = false;
  };
  void release() {
    for (Half& half : halves_) {
      if (half.read != nullptr) cudaEventDestroy(half.read);
      if (half.memory != nullptr) cudaFreeHost(half.memory);
    }
  }

  cudaStream_t stream_;
  Half halves_[2];
  int current_ = 0;
  size_t used_ = 0;
};

CudaOperators::CudaOperators(const CudaOptions& options) : device_(options.device) {
  cudaDeviceProp properties;
  open_device(device_, &properties);
  multiprocessors_ = properties.multiProcessorCount;
  std::snprintf(info_.device, sizeof(info_.device), "cuda:%d %.80s", device_, properties.name);
  std::snprintf(info_.isa, sizeof(info_.isa), "sm_%d%d", properties.major, properties.minor);
  info_.threads = 1;
  info_.compute = options.compute;
  ELECTRA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  try {
    staging_ = std::make_unique<Staging>(stream_);
    graphs_ = std::make_unique<Graphs>();
    gemm_ = std::make_unique<Gemm>(stream_, multiprocessors_);
  } catch (...) {
    gemm_.reset();
    staging_.reset();
    cudaStreamDestroy(stream_);
    throw;
  }
  if (gemm_->reason()[0] != '\0')
    std::snprintf(info_.gemm, sizeof(info_.gemm), "%.20s (%.40s)", gemm_->name(), gemm_->reason());
  else
    std::snprintf(info_.gemm, sizeof(info_.gemm), "%.60s", gemm_->name());
}

CudaOperators::~CudaOperators() {
  // Errors have nowhere to go here; a device that is gone takes its memory along.
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
  graphs_.reset();
  gemm_.reset();
  staging_.reset();
  for (const Binding& binding : bindings_) cudaFree(binding.compute);
  cudaFree(workspace_);
  cudaStreamDestroy(stream_);
}

void* CudaOperators::allocate(size_t bytes, const char* purpose) {
  void* memory = nullptr;
  const size_t size = std::max(rounded(bytes), kAlignment);
  const cudaError_t status = cudaMalloc(&memory, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the error is reported here, and not to whoever asks next
    throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "no GPU memory for %s: %.1f MiB wanted, %.1f MiB free",
                      purpose != nullptr ? purpose : "a buffer", static_cast<double>(bytes) / 1048576.0,
                      static_cast<double>(std::max<int64_t>(0, memory_available())) / 1048576.0);
  }
  ELECTRA_CUDA_CHECK(status);
  ELECTRA_CUDA_CHECK(cudaMemsetAsync(memory, 0, size, stream_));
  return memory;
}

void CudaOperators::release(void* memory) {
  if (memory == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaFree(memory);
}

void CudaOperators::upload(void* device, const void* host, size_t bytes) {
  staging_->upload(static_cast<char*>(device), static_cast<const char*>(host), bytes);
}

void CudaOperators::download(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  ELECTRA_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_));
  synchronize();
}

void CudaOperators::copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) ELECTRA_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
}

void CudaOperators::zero(void* device, size_t bytes) {
  if (bytes > 0) ELECTRA_CUDA_CHECK(cudaMemsetAsync(device, 0, bytes, stream_));
}

void CudaOperators::synchronize() {
  ELECTRA_CUDA_CHECK(cudaStreamSynchronize(stream_));
  staging_->forget();
}

size_t CudaOperators::workspace_bytes_for(const Capacity& capacity) const {
  return rounded(std::max({embedding_workspace(capacity), norm_workspace(capacity), linear_workspace(capacity),
                           attention_workspace(capacity), rows_workspace(capacity),
                           corruption_workspace(capacity), language_model_workspace(capacity),
                           losses_workspace(capacity), ragged_workspace(capacity),
                           optimizer_workspace(capacity)}));
}

void CudaOperators::reserve(const Capacity& capacity) {
  capacity_ = capacity;
  const size_t wanted = workspace_bytes_for(capacity);
  if (wanted <= workspace_size_) return;
  // Recorded steps hold addresses of the old block.
  ELECTRA_CUDA_CHECK(cudaStreamSynchronize(stream_));
  graphs_->clear();
  cudaFree(workspace_);
  workspace_ = nullptr;
  workspace_size_ = 0;
  workspace_ = static_cast<char*>(allocate(wanted, "the operators' workspace"));
  workspace_size_ = wanted;
}

void* CudaOperators::workspace(size_t bytes) {
  if (bytes > workspace_size_)
    throw EngineError("ERR_ELECTRA_WORKSPACE",
                      "an operator wants %zu bytes of workspace, %zu are reserved: reserve() a larger capacity "
                      "first",
                      bytes, workspace_size_);
  return workspace_;
}

int64_t CudaOperators::memory_available() const {
  size_t available = 0, total = 0;
  if (cudaMemGetInfo(&available, &total) != cudaSuccess) return -1;
  return static_cast<int64_t>(available);
}

void CudaOperators::bind_parameters(const float* masters, int64_t size) {
  if (compute() == DType::kFloat32 || size <= 0) return;
  Binding binding{masters, size, nullptr};
  binding.compute = static_cast<__nv_bfloat16*>(
      allocate(static_cast<size_t>(size) * sizeof(__nv_bfloat16), "the parameters in bf16"));
  bindings_.push_back(binding);
  convert_to_bf16(masters, binding.compute, size, stream_);
}

void CudaOperators::refresh_parameters(const float* masters) {
  for (const Binding& binding : bindings_)
    if (binding.masters == masters) convert_to_bf16(masters, binding.compute, binding.size, stream_);
}

void CudaOperators::unbind_parameters(const float* masters) {
  for (auto it = bindings_.begin(); it != bindings_.end(); ++it) {
    if (it->masters != masters) continue;
    release(it->compute);
    bindings_.erase(it);
    return;
  }
}

size_t CudaOperators::compute_form_bytes(int64_t size) const {
  return compute() == DType::kFloat32 ? 0 : rounded(static_cast<size_t>(size) * sizeof(__nv_bfloat16));
}

__nv_bfloat16* CudaOperators::compute_form(const float* master) const {
  for (const Binding& binding : bindings_)
    if (master >= binding.masters && master < binding.masters + binding.size)
      return binding.compute + (master - binding.masters);
  return nullptr;
}

Matrix CudaOperators::weight_matrix(const Weight& weight) const {
  Matrix matrix;
  matrix.rows = weight.rows;
  matrix.cols = weight.cols;
  matrix.stride = weight.stride;
  matrix.dtype = compute();
  if (compute() == DType::kFloat32) {
    matrix.data = const_cast<float*>(weight.master);
    return matrix;
  }
  matrix.data = compute_form(weight.master);
  if (matrix.data == nullptr)
    throw EngineError("ERR_ELECTRA_INTERNAL",
                      "a weight of [%lld, %lld] was never bound, so it has no bf16 form",
                      static_cast<long long>(weight.rows), static_cast<long long>(weight.cols));
  return matrix;
}

bool CudaOperators::begin_step(uint64_t key) { return graphs_->begin(key, stream_); }
void CudaOperators::end_step() { graphs_->end(stream_); }
void CudaOperators::abandon_step() { graphs_->abandon(stream_); }

}  // namespace electra::cuda
