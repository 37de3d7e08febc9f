#include "cpu_operators.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr size_t kAlignment = 64;

size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void out_of_memory(size_t bytes, const char* purpose) {
  throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "no memory for %s: %zu bytes (%.1f MiB)",
                    purpose != nullptr ? purpose : "a buffer", bytes,
                    static_cast<double>(bytes) / (1024.0 * 1024.0));
}

/// Zeroed, 64-byte aligned memory; at least one line, so that it is never null.
void* aligned_zeros(size_t bytes, const char* purpose) {
  if (bytes > SIZE_MAX - kAlignment) out_of_memory(bytes, purpose);
  const size_t size = std::max(rounded(bytes), kAlignment);
  void* memory = std::aligned_alloc(kAlignment, size);
  if (memory == nullptr) out_of_memory(bytes, purpose);
  std::memset(memory, 0, size);
  return memory;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

}  // namespace

struct CpuOperators::Workspace {
  size_t shared_floats = 0;
  size_t worker_floats = 0;  // rounded up to whole lines, so that workers never share one
  std::unique_ptr<float, Free> shared;
  std::unique_ptr<float, Free> workers;
};

CpuOperators::CpuOperators(const CpuOptions& options)
    : pool_(options.threads),
      gemm_(gemm_provider(options.gemm, options.isa)),
      kernels_(kernel_table(options.isa, nullptr)),
      workspace_(std::make_unique<Workspace>()) {
  std::string isa;
  kernel_table(options.isa, &isa);
  std::snprintf(info_.device, sizeof(info_.device), "cpu");
  std::snprintf(info_.gemm, sizeof(info_.gemm), "%s", gemm_.name().c_str());
  std::snprintf(info_.isa, sizeof(info_.isa), "%s", isa.c_str());
  info_.threads = pool_.threads();
  info_.compute = DType::kFloat32;
}

CpuOperators::~CpuOperators() = default;

void* CpuOperators::allocate(size_t bytes, const char* purpose) { return aligned_zeros(bytes, purpose); }

void CpuOperators::release(void* memory) { std::free(memory); }

void CpuOperators::upload(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
  packed_weights_.changed(device, bytes);
}

void CpuOperators::download(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuOperators::copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memmove(to, from, bytes);
  packed_weights_.changed(to, bytes);
}

void CpuOperators::zero(void* device, size_t bytes) {
  // One core alone does not fill the memory bus.
  constexpr size_t kStretch = size_t{1} << 20;
  pool_.run(static_cast<int64_t>((bytes + kStretch - 1) / kStretch), [&](int64_t task, int) {
    const size_t first = static_cast<size_t>(task) * kStretch;
    std::memset(static_cast<char*>(device) + first, 0, std::min(kStretch, bytes - first));
  });
  packed_weights_.changed(device, bytes);
}

WorkspaceNeeds CpuOperators::needs_of(const Capacity& capacity) {
  const WorkspaceNeeds needs[] = {
      linear_needs(capacity),    language_model_head_needs(capacity), optimizer_needs(capacity),
      embedding_needs(capacity), layer_norm_needs(capacity),          attention_needs(capacity),
      rows_needs(capacity),      corruption_needs(capacity),          losses_needs(capacity),
      ragged_needs(capacity),
  };
  WorkspaceNeeds most;
  for (const WorkspaceNeeds& need : needs) {
    most.shared_floats = std::max(most.shared_floats, need.shared_floats);
    most.worker_floats = std::max(most.worker_floats, need.worker_floats);
  }
  most.worker_floats = rounded(most.worker_floats * sizeof(float)) / sizeof(float);
  return most;
}

void CpuOperators::reserve(const Capacity& capacity) {
  const auto [shared, worker] = needs_of(capacity);
  Workspace& w = *workspace_;
  // Never smaller than before: an operator of an earlier, larger shape must still find its scratch.
  if (shared > w.shared_floats) {
    w.shared.reset();
    w.shared_floats = 0;
    w.shared.reset(static_cast<float*>(aligned_zeros(shared * sizeof(float), "the operators' workspace")));
    w.shared_floats = shared;
  }
  if (worker > w.worker_floats) {
    w.workers.reset();
    w.worker_floats = 0;
    w.workers.reset(static_cast<float*>(aligned_zeros(
        worker * sizeof(float) * static_cast<size_t>(pool_.threads()), "the workers' workspace")));
    w.worker_floats = worker;
  }
  capacity_ = capacity;
}

size_t CpuOperators::workspace_bytes() const {
  return (workspace_->shared_floats + workspace_->worker_floats * static_cast<size_t>(pool_.threads())) *
         sizeof(float);
}

size_t CpuOperators::workspace_bytes_for(const Capacity& capacity) const {
  const auto [shared, worker] = needs_of(capacity);
  return (shared + worker * static_cast<size_t>(pool_.threads())) * sizeof(float);
}

float* CpuOperators::scratch(size_t floats) {
  if (floats > workspace_->shared_floats)
    throw EngineError("ERR_ELECTRA_WORKSPACE",
                      "an operator wants %zu floats of workspace, %zu are reserved: reserve() a "
                      "larger capacity first",
                      floats, workspace_->shared_floats);
  return workspace_->shared.get();
}

float* CpuOperators::worker_scratch(int worker, size_t floats) {
  if (floats > workspace_->worker_floats)
    throw EngineError(
        "ERR_ELECTRA_WORKSPACE",
        "an operator wants %zu floats of workspace for each worker, %zu are reserved: reserve() a larger "
        "capacity first",
        floats, workspace_->worker_floats);
  return workspace_->workers.get() + static_cast<size_t>(worker) * workspace_->worker_floats;
}

}  // namespace electra::cpu
