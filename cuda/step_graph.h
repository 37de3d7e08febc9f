#pragma once
// Recorded steps: the hundreds of launches of a training step as one CUDA graph for each shape of batch.

#include <cstdint>
#include <list>

#include "cuda_operators.h"

namespace electra::cuda {

/// A key's first step runs as it comes (plans are made, kernels loaded), its second is recorded and launched,
/// every later one is replayed. The least recently used graph makes room when there are too many shapes.
/// ELECTRA_CUDA_GRAPHS=0 switches recording off.
struct CudaOperators::Graphs {
  Graphs();
  ~Graphs();
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  bool begin(uint64_t key, cudaStream_t stream);
  void end(cudaStream_t stream);
  void abandon(cudaStream_t stream);
  void clear();

 private:
  struct Recorded {
    uint64_t key = 0;
    cudaGraphExec_t graph = nullptr;  ///< null: seen once, not recorded yet
  };
  void destroy(Recorded& recorded);

  bool enabled_ = true;
  bool recording_ = false;
  uint64_t current_ = 0;
  std::list<Recorded> recorded_;  ///< most recently used first
};

}  // namespace electra::cuda
