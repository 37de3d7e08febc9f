#include "step_graph.h"

#include <cstdlib>
#include <cstring>

namespace electra::cuda {
namespace {

/// Lengths vary a little from batch to batch: capacities come in steps of 256 tokens and 64 slots, so a run
/// has a handful of shapes, or a few dozen with short rows. A graph of 600 nodes takes a few MiB.
constexpr size_t kMostGraphs = 48;

}  // namespace

CudaOperators::Graphs::Graphs() {
  const char* wish = std::getenv("ELECTRA_CUDA_GRAPHS");
  enabled_ = wish == nullptr || std::strcmp(wish, "0") != 0;
}

CudaOperators::Graphs::~Graphs() { clear(); }

void CudaOperators::Graphs::destroy(Recorded& recorded) {
  if (recorded.graph != nullptr) cudaGraphExecDestroy(recorded.graph);
  recorded.graph = nullptr;
}

void CudaOperators::Graphs::clear() {
  for (Recorded& recorded : recorded_) destroy(recorded);
  recorded_.clear();
}

bool CudaOperators::Graphs::begin(uint64_t key, cudaStream_t stream) {
  if (!enabled_) return false;
  for (auto it = recorded_.begin(); it != recorded_.end(); ++it) {
    if (it->key != key) continue;
    recorded_.splice(recorded_.begin(), recorded_, it);
    if (it->graph != nullptr) {
      ELECTRA_CUDA_CHECK(cudaGraphLaunch(it->graph, stream));
      return true;
    }
    // Other streams of the process may do as they like meanwhile.
    ELECTRA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    recording_ = true;
    current_ = key;
    return false;
  }
  recorded_.push_front(Recorded{key, nullptr});
  if (recorded_.size() > kMostGraphs) {
    destroy(recorded_.back());
    recorded_.pop_back();
  }
  return false;
}

void CudaOperators::Graphs::end(cudaStream_t stream) {
  if (!recording_) return;
  recording_ = false;
  cudaGraph_t graph = nullptr;
  ELECTRA_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  Recorded& recorded = recorded_.front();
  const cudaError_t status = cudaGraphInstantiate(&recorded.graph, graph, 0);
  cudaGraphDestroy(graph);
  if (status != cudaSuccess) recorded.graph = nullptr;
  ELECTRA_CUDA_CHECK(status);
  ELECTRA_CUDA_CHECK(cudaGraphLaunch(recorded.graph, stream));
}

void CudaOperators::Graphs::abandon(cudaStream_t stream) {
  if (!recording_) return;
  recording_ = false;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();  // an invalidated capture is no news to whoever threw
}

}  // namespace electra::cuda
