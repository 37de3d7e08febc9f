// Matrix products of our own: d = op(a) · op(b) for row-major matrices of any shape, stride and alignment.
//
// Two kernels multiply: gemm_tensor.cu's on the tensor cores, gemm_plain.cu's everywhere. Here they are chosen
// between, and what remains after a product is done.
//
// A weight gradient has few tiles and a long k (all tokens). Its k is cut into as many stretches as fill the
// machine once; their products go to workspace in f32 and `finish` adds them in the order of stretches.
// Nothing is added atomically: the same shapes on the same device give the same bits.

#include "gemm_parts.h"

namespace electra::cuda {
namespace {

constexpr int64_t kSumRows = 256;   // rows of one partial column sum, at least
constexpr int kFinishColumns = 32;  // threads along a row
constexpr int kFinishRows = 8;      // rows that a block works on at a time
constexpr int kAddColumns = 32, kAddRows = 32;
/// Source of `finish`: partial products, or d itself.
struct FinishSource {
  const float* partials;  // null: d holds the product
  int64_t count;
};

/// A block takes kFinishColumns · kWidth columns of `row_stretch` rows; thread row y takes every eighth row.
/// Sums of columns: over a thread's rows, then over the eight threads in order.
template <typename D, int kWidth, Epilogue kEpilogue>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    finish(Result<D> r, FinishSource source, int64_t row_stretch) {
  const int64_t col = (blockIdx.x * kFinishColumns + threadIdx.x) * kWidth;
  const int64_t first = blockIdx.y * row_stretch;
  const int64_t end = first + row_stretch < r.rows ? first + row_stretch : r.rows;
  float sums[kWidth] = {};
  if (col < r.cols) {
    float bias[kWidth] = {};
    if (kEpilogue != Epilogue::kActivationGradient && r.bias != nullptr) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) bias[e] = r.bias[col + e];
    }
    for (int64_t row = first + threadIdx.y; row < end; row += kFinishRows) {
      float value[kWidth];
      D* const place = r.d + row * r.stride + col;
      if (source.partials != nullptr) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = 0;
        const float* from = source.partials + row * r.cols + col;
        for (int64_t i = 0; i < source.count; ++i, from += r.rows * r.cols) {
          if (kWidth >= 4) {
#pragma unroll
            for (int part = 0; part < kWidth; part += 4) {
              const Packed<float, 4> packed = load_packed<4>(from + part);
#pragma unroll
              for (int e = 0; e < 4; ++e) value[part + e] += packed[e];
            }
          } else {
#pragma unroll
            for (int e = 0; e < kWidth; ++e) value[e] += from[e];
          }
        }
      } else {
        const Packed<D, kWidth> packed = load_packed<kWidth>(place);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = to_float(packed[e]);
      }
      Packed<D, kWidth> aux;
      if (kEpilogue == Epilogue::kActivationGradient)
        aux = load_packed<kWidth>(r.aux + row * r.aux_stride + col);
      if (kEpilogue == Epilogue::kActivation && r.aux != nullptr) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) aux[e] = from_float<D>(value[e] + bias[e]);
        store_packed(r.aux + row * r.aux_stride + col, aux);
      }
      Packed<D, kWidth> before;
      if (r.add) before = load_packed<kWidth>(place);
      Packed<D, kWidth> packed;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const float slope_at = kEpilogue == Epilogue::kActivationGradient ? to_float(aux[e]) : 0.0f;
        float result = finished<kEpilogue>(r, value[e], bias[e], slope_at);
        if (r.add) result += to_float(before[e]);
        sums[e] += result;
        packed[e] = from_float<D>(result);
      }
      store_packed(place, packed);
    }
  }
  if (r.column_sums == nullptr) return;
  using Row = float[kFinishColumns * kWidth + 1];
  ELECTRA_SHARED(Row, shared, kFinishRows);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) shared[threadIdx.y][threadIdx.x * kWidth + e] = sums[e];
  __syncthreads();
  for (int c = threadIdx.y * kFinishColumns + threadIdx.x; c < kFinishColumns * kWidth;
       c += kFinishColumns * kFinishRows) {
    const int64_t column = blockIdx.x * kFinishColumns * kWidth + c;
    if (column >= r.cols) continue;
    float sum = 0;
#pragma unroll
    for (int y = 0; y < kFinishRows; ++y) sum += shared[y][c];
    r.column_sums[blockIdx.y * r.cols + column] = sum;
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    column_sums_kernel(const T* x, int64_t stride, int64_t rows, int64_t cols, int64_t row_stretch,
                       float* partials) {
  const int64_t col = (blockIdx.x * kFinishColumns + threadIdx.x) * kWidth;
  const int64_t first = blockIdx.y * row_stretch;
  const int64_t end = first + row_stretch < rows ? first + row_stretch : rows;
  float sums[kWidth] = {};
  if (col < cols) {
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += kFinishRows) {
      const Packed<T, kWidth> packed = load_packed<kWidth>(x + row * stride + col);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sums[e] += to_float(packed[e]);
    }
  }
  using Row = float[kFinishColumns * kWidth + 1];
  ELECTRA_SHARED(Row, shared, kFinishRows);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) shared[threadIdx.y][threadIdx.x * kWidth + e] = sums[e];
  __syncthreads();
  for (int c = threadIdx.y * kFinishColumns + threadIdx.x; c < kFinishColumns * kWidth;
       c += kFinishColumns * kFinishRows) {
    const int64_t column = blockIdx.x * kFinishColumns * kWidth + c;
    if (column >= cols) continue;
    float sum = 0;
#pragma unroll
    for (int y = 0; y < kFinishRows; ++y) sum += shared[y][c];
    partials[blockIdx.y * cols + column] = sum;
  }
}

/// Adds partial sums of columns: 32 columns a block, 32 threads a column, each over every 32nd partial, then
/// the threads in order.
__global__ void __launch_bounds__(kAddColumns* kAddRows)
    add_partials_kernel(const float* partials, int64_t count, int64_t cols, float* into) {
  const int64_t col = blockIdx.x * kAddColumns + threadIdx.x;
  float sum = 0;
  if (col < cols) {
#pragma unroll 8
    for (int64_t i = threadIdx.y; i < count; i += kAddRows) sum += partials[i * cols + col];
  }
  using Row = float[kAddColumns + 1];
  ELECTRA_SHARED(Row, shared, kAddRows);
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  float total = 0;
#pragma unroll
  for (int y = 0; y < kAddRows; ++y) total += shared[y][threadIdx.x];
  into[col] += total;
}

/// Rows of one partial column sum. Many partials cost as much as they save, and they must fit.
int64_t sum_stretch(int64_t rows, int64_t cols, size_t bytes) {
  const int64_t most =
      std::min<int64_t>(512, static_cast<int64_t>(bytes / sizeof(float)) / std::max<int64_t>(1, cols));
  return std::max(ceil_div(ceil_div(rows, std::max<int64_t>(1, most)), kFinishRows) * kFinishRows, kSumRows);
}

/// `finish` over d, and the column sums added. `sums` is where partial column sums may lie.
template <typename D>
void run_finish(const Product& p, Result<D> r, const FinishSource& source, const GemmWorkspace& sums,
                cudaStream_t stream) {
  const bool with_sums = p.column_sums != nullptr;
  // Without sums a block's share is what hides its latency: 64 rows.
  const int64_t stretch =
      with_sums ? sum_stretch(r.rows, r.cols, sums.bytes)
                : std::max<int64_t>(64, ceil_div(ceil_div(r.rows, 65535), kFinishRows) * kFinishRows);
  const int64_t blocks = ceil_div(r.rows, stretch);
  ELECTRA_CHECK_SHAPE(!with_sums || static_cast<size_t>(blocks * r.cols) * sizeof(float) <= sums.bytes,
                      "column sums of [%lld, %lld] want more workspace than there is",
                      static_cast<long long>(r.rows), static_cast<long long>(r.cols));
  r.partials = nullptr;
  r.column_sums = with_sums ? static_cast<float*>(sums.memory) : nullptr;
  constexpr int kWide = 16 / sizeof(D);
  const bool wide = r.cols % kWide == 0 && aligned_rows(r.d, r.stride, sizeof(D), 16) &&
                    (r.aux == nullptr || aligned_rows(r.aux, r.aux_stride, sizeof(D), 16));
  with_epilogue(p.epilogue, [&](auto epilogue) {
    constexpr Epilogue kEpilogue = decltype(epilogue)::value;
    const dim3 block(kFinishColumns, kFinishRows);
    if (wide)
      launch("finish_product", finish<D, kWide, kEpilogue>,
             dim3(static_cast<unsigned>(ceil_div(r.cols, kWide * kFinishColumns)),
                  static_cast<unsigned>(blocks)),
             block, 0, stream, r, source, stretch);
    else
      launch("finish_product", finish<D, 1, kEpilogue>,
             dim3(static_cast<unsigned>(ceil_div(r.cols, kFinishColumns)), static_cast<unsigned>(blocks)),
             block, 0, stream, r, source, stretch);
  });
  if (with_sums) add_partials(r.column_sums, blocks, r.cols, p.column_sums, stream);
}

}  // namespace

ProductShape check_product(const Product& p) {
  ProductShape s;
  s.m = p.transpose_a ? p.a.cols : p.a.rows;
  s.k = p.transpose_a ? p.a.rows : p.a.cols;
  s.n = p.transpose_b ? p.b.rows : p.b.cols;
  const int64_t b_k = p.transpose_b ? p.b.cols : p.b.rows;
  const bool types = p.a.dtype == p.b.dtype && (p.d.dtype == p.a.dtype || p.d.dtype == DType::kFloat32);
  ELECTRA_CHECK_SHAPE(
      b_k == s.k && p.d.rows == s.m && p.d.cols == s.n && types && p.a.stride >= p.a.cols &&
          p.b.stride >= p.b.cols && p.d.stride >= p.d.cols,
      "product: [%lld, %lld]%s times [%lld, %lld]%s into [%lld, %lld] (%s, %s, %s)",
      static_cast<long long>(p.a.rows), static_cast<long long>(p.a.cols), p.transpose_a ? " transposed" : "",
      static_cast<long long>(p.b.rows), static_cast<long long>(p.b.cols), p.transpose_b ? " transposed" : "",
      static_cast<long long>(p.d.rows), static_cast<long long>(p.d.cols),
      p.a.dtype == DType::kFloat32 ? "f32" : "bf16", p.b.dtype == DType::kFloat32 ? "f32" : "bf16",
      p.d.dtype == DType::kFloat32 ? "f32" : "bf16");
  const bool activation = p.epilogue == Epilogue::kActivation || p.epilogue == Epilogue::kActivationGradient;
  ELECTRA_CHECK_SHAPE(
      !(p.add && (activation || p.column_sums != nullptr)) &&
          (p.epilogue != Epilogue::kBias || p.bias != nullptr || s.n == 0) &&
          (p.epilogue != Epilogue::kActivationGradient || p.aux != nullptr || s.m * s.n == 0) &&
          (!activation || p.aux == nullptr || p.aux_stride >= s.n) &&
          (p.column_sums_of_b == nullptr || !p.transpose_b),
      "product [%lld, %lld]: an epilogue that does not fit", static_cast<long long>(s.m),
      static_cast<long long>(s.n));
  return s;
}

void add_partials(const float* partials, int64_t count, int64_t cols, float* into, cudaStream_t stream) {
  launch("add_partials", add_partials_kernel, static_cast<unsigned>(ceil_div(cols, kAddColumns)),
         dim3(kAddColumns, kAddRows), 0, stream, partials, count, cols, into);
}

void add_column_sums(const Matrix& x, float* into, const GemmWorkspace& workspace, cudaStream_t stream) {
  if (x.rows == 0 || x.cols == 0) return;
  const int64_t stretch = sum_stretch(x.rows, x.cols, workspace.bytes), blocks = ceil_div(x.rows, stretch);
  ELECTRA_CHECK_SHAPE(static_cast<size_t>(blocks * x.cols) * sizeof(float) <= workspace.bytes,
                      "column sums of [%lld, %lld] want more workspace than there is",
                      static_cast<long long>(x.rows), static_cast<long long>(x.cols));
  float* partials = static_cast<float*>(workspace.memory);
  with_type(x.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kWide = 16 / sizeof(T);
    const T* data = static_cast<const T*>(x.data);
    const bool wide = x.cols % kWide == 0 && aligned_rows(data, x.stride, sizeof(T), 16);
    const dim3 block(kFinishColumns, kFinishRows);
    if (wide)
      launch("column_sums", column_sums_kernel<T, kWide>,
             dim3(static_cast<unsigned>(ceil_div(x.cols, kWide * kFinishColumns)),
                  static_cast<unsigned>(blocks)),
             block, 0, stream, data, x.stride, x.rows, x.cols, stretch, partials);
    else
      launch("column_sums", column_sums_kernel<T, 1>,
             dim3(static_cast<unsigned>(ceil_div(x.cols, kFinishColumns)), static_cast<unsigned>(blocks)),
             block, 0, stream, data, x.stride, x.rows, x.cols, stretch, partials);
  });
  add_partials(partials, blocks, x.cols, into, stream);
}
void finish_partials(const Product& p, const float* partials, int64_t count, const GemmWorkspace& sums,
                     cudaStream_t stream) {
  with_type(p.d.dtype, [&](auto type) {
    using D = decltype(type);
    run_finish<D>(p, result_of<D>(p), FinishSource{partials, count}, sums, stream);
  });
}

void finish_product(const Product& p, const GemmWorkspace& workspace, cudaStream_t stream) {
  if (p.d.rows == 0 || p.d.cols == 0) return;
  finish_partials(p, nullptr, 0, second_half(workspace), stream);
}

void multiply_built_in(const Product& p, const GemmWorkspace& workspace, int32_t multiprocessors,
                       cudaStream_t stream) {
  const ProductShape s = check_product(p);
  if (p.column_sums_of_b != nullptr) add_column_sums(p.b, p.column_sums_of_b, second_half(workspace), stream);
  if (s.m == 0 || s.n == 0) return;
  if (p.a.dtype != DType::kBFloat16 || !multiply_on_tensor_cores(p, s, workspace, multiprocessors, stream))
    multiply_plain(p, s, workspace, multiprocessors, stream);
}

}  // namespace electra::cuda
