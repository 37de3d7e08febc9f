#pragma once
// What the kernels of products share: operands and results as they take them, epilogues, and how k is cut.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "../device_views.h"
#include "activations.h"
#include "gemm_kernels.h"

namespace electra::cuda {

/// One operand as a kernel takes it: element (i, j) of the matrix as it is stored, row-major.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed;
};

/// Where a result goes, and what happens on the way.
template <typename D>
struct Result {
  D* d;
  int64_t stride;
  int64_t rows, cols;
  const float* bias;
  D* aux;
  int64_t aux_stride;
  Activation activation;
  bool add;
  bool wide;           // rows of d and aux can be accessed 16 bytes (f32: 8 bytes) at a time
  float* partials;     // [stretch, rows, cols] when k is cut: the plain product, and `finish` does the rest
  float* column_sums;  // [row tile, cols], or null
};

template <Epilogue kEpilogue, typename D>
__device__ __forceinline__ float finished(const Result<D>& r, float product, float bias, float aux) {
  if (kEpilogue == Epilogue::kActivation) return activate<kExactActivations<D>>(r.activation, product + bias);
  if (kEpilogue == Epilogue::kActivationGradient)
    return product * activation_slope<kExactActivations<D>>(r.activation, aux);
  return product + bias;  // kNone and kBias: bias is 0 where there is none
}

/// One element, the slow way.
template <Epilogue kEpilogue, typename D>
__device__ __forceinline__ float store_element(const Result<D>& r, int64_t row, int64_t col, float product) {
  const float bias = kEpilogue != Epilogue::kActivationGradient && r.bias != nullptr ? r.bias[col] : 0.0f;
  float aux = 0;
  if (kEpilogue == Epilogue::kActivationGradient) aux = to_float(r.aux[row * r.aux_stride + col]);
  if (kEpilogue == Epilogue::kActivation && r.aux != nullptr)
    r.aux[row * r.aux_stride + col] = from_float<D>(product + bias);
  float value = finished<kEpilogue>(r, product, bias, aux);
  D* place = r.d + row * r.stride + col;
  if (r.add) value += to_float(*place);
  *place = from_float<D>(value);
  return value;
}

/// Tiles in the order of blocks: eight rows of tiles at a time, so that blocks that run together share tiles
/// of b as well as of a in the second-level cache.
struct TilePosition {
  int64_t row, col;
};
__device__ __forceinline__ TilePosition tile_position(int64_t index, int64_t row_tiles, int64_t col_tiles) {
  constexpr int64_t kGroup = 8;
  const int64_t group = index / (kGroup * col_tiles), first = group * kGroup;
  const int64_t height = row_tiles - first < kGroup ? row_tiles - first : kGroup;
  const int64_t inside = index - group * kGroup * col_tiles;
  return {first + inside % height, inside / height};
}

// ---------------------------------------------------------------------------------------------------------------------
// Host

/// Calls body with the epilogue as a constant; kBias is kNone with a bias.
template <typename Body>
void with_epilogue(Epilogue epilogue, Body body) {
  if (epilogue == Epilogue::kActivation)
    body(std::integral_constant<Epilogue, Epilogue::kActivation>{});
  else if (epilogue == Epilogue::kActivationGradient)
    body(std::integral_constant<Epilogue, Epilogue::kActivationGradient>{});
  else
    body(std::integral_constant<Epilogue, Epilogue::kNone>{});
}
inline bool aligned_rows(const void* data, int64_t stride, int64_t element, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0 &&
         stride * element % bytes == 0;
}

template <typename D>
Result<D> result_of(const Product& p) {
  Result<D> r{};
  r.d = static_cast<D*>(p.d.data);
  r.stride = p.d.stride;
  r.rows = p.d.rows;
  r.cols = p.d.cols;
  if (p.epilogue == Epilogue::kBias || p.epilogue == Epilogue::kActivation) r.bias = p.bias;
  if (p.epilogue == Epilogue::kActivation || p.epilogue == Epilogue::kActivationGradient) {
    r.aux = static_cast<D*>(p.aux);
    r.aux_stride = p.aux_stride;
  }
  r.activation = p.activation;
  r.add = p.add;
  return r;
}
/// How k is cut: into as many stretches as make one wave of blocks, none shorter than 512.
struct Cut {
  int64_t stretch = 0, count = 1;
};
inline Cut cut_of(const ProductShape& s, int64_t tiles, int64_t depth, int32_t multiprocessors, size_t bytes) {
  Cut cut;
  const int64_t fits = static_cast<int64_t>(bytes / sizeof(float)) / (s.m * s.n);
  const int64_t count = std::min({multiprocessors / tiles, s.k / 512, fits});
  cut.stretch = count < 2 ? std::max<int64_t>(1, s.k) : ceil_div(ceil_div(s.k, count), depth) * depth;
  cut.count = std::max<int64_t>(1, ceil_div(s.k, cut.stretch));
  return cut;
}

/// The workspace's first half is for stretches of k, the second for column sums.
inline GemmWorkspace first_half(const GemmWorkspace& w) { return {w.memory, w.bytes / 512 * 256}; }
inline GemmWorkspace second_half(const GemmWorkspace& w) {
  const size_t half = w.bytes / 512 * 256;
  return {static_cast<char*>(w.memory) + half, w.bytes - half};
}
/// bf16 with aligned rows, on the tensor cores (gemm_tensor.cu). False: not for this product.
bool multiply_on_tensor_cores(const Product& product, const ProductShape& shape, const GemmWorkspace& workspace,
                              int32_t multiprocessors, cudaStream_t stream);

/// Any product (gemm_plain.cu).
void multiply_plain(const Product& product, const ProductShape& shape, const GemmWorkspace& workspace,
                    int32_t multiprocessors, cudaStream_t stream);

/// Epilogue and column sums of a product: of `count` partial products [count, rows, cols], which are added in
/// their order, or, where `partials` is null, of what lies in d. `sums` is where partial column sums may lie.
void finish_partials(const Product& product, const float* partials, int64_t count, const GemmWorkspace& sums,
                     cudaStream_t stream);

}  // namespace electra::cuda
