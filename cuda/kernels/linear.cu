// Linear layers and activations.
//
//   forward          y = act(x W + b), and the pre-activation kept in aux
//   backward data    dx = (dy Wᵀ) ⊙ act'(aux), its column sums added to the bias gradient of the layer before
//   backward weight  dW += xᵀ dy, db += column sums of dy
//
// The products and what belongs to them are Gemm's affair (gemm.h); aux is the pre-activation for every
// activation, as cuBLASLt's own epilogue wants it. Here are the layers that are no products worth the name:
// with a handful of outputs (the discriminator's logit of each token, a classifier's) the traffic is that of
// x alone, T·in elements, and every kernel reads or writes it once:
//
//   narrow_forward   a warp for a row, 16 bytes a lane, the weights from the first-level cache
//   narrow_data      a thread for a few columns: their weights in registers, down a stretch of rows
//   narrow_weight    the same walk, summing x ⊙ dy instead; stretches are added in order by a second kernel
//
// They take the f32 masters, and dy and y in either type: logits and their gradients are f32 on every device,
// while x is in bf16 in the fast mode. Rows beyond the actual extent: products over finite inputs forward,
// zeros by contract backward; the kernels here write zeros there.

#include <algorithm>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "../scratch.h"
#include "activations.h"
#include "gemm_kernels.h"

namespace electra::cuda {
namespace {

constexpr int64_t kNarrow = 8;  // outputs of a narrow layer, at most, and outputs that one pass takes
constexpr int kThreads = 256;
constexpr int kColumns = 32, kRows = 8;  // threads of the kernels that walk down columns

void check_weight(const Weight& weight, int64_t in, int64_t out, const char* operation) {
  ELECTRA_CHECK_SHAPE(
      weight.master != nullptr && weight.rows == in && weight.cols == out && weight.stride >= out,
      "%s: weight is [%lld, %lld] with stride %lld, wanted [%lld, %lld]", operation,
      static_cast<long long>(weight.rows), static_cast<long long>(weight.cols),
      static_cast<long long>(weight.stride), static_cast<long long>(in), static_cast<long long>(out));
}

/// Rows of a stretch: what narrow layers sum before partial results are added. At most `most` stretches.
int64_t stretch_of(int64_t rows, int64_t most) {
  return std::max<int64_t>(64, ceil_div(ceil_div(rows, most), kRows) * kRows);
}
int64_t most_stretches(int64_t outputs) { return outputs == 1 ? 512 : 64; }

// ---------------------------------------------------------------------------------------------------------------------
// Activations alone

template <typename T>
struct ElementRows {
  T* data;
  int64_t stride;
};

/// y = act(x), aux = x; or dx = dy ⊙ act'(aux). A block is as wide as the rows, up to kThreads, and as high
/// as then fits.
template <typename T, int kWidth, bool kBackward>
__global__ void __launch_bounds__(kThreads)
    activation_kernel(Extent tokens, int64_t cols, Activation activation, ElementRows<const T> from,
                      ElementRows<T> to, ElementRows<T> aux) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int64_t col = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * kWidth;
  if (row >= tokens.capacity || col >= cols) return;  // kWidth divides cols
  Packed<T, kWidth> result;
  if (kBackward && row >= actual_of(tokens)) {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) result[e] = from_float<T>(0.0f);
  } else {
    const Packed<T, kWidth> x = load_packed<kWidth>(from.data + row * from.stride + col);
    if (kBackward) {
      Packed<T, kWidth> kept = x;  // identity keeps nothing
      if (activation != Activation::kIdentity) kept = load_packed<kWidth>(aux.data + row * aux.stride + col);
#pragma unroll
      for (int e = 0; e < kWidth; ++e)
        result[e] = from_float<T>(to_float(x[e]) *
                                  activation_slope<kExactActivations<T>>(activation, to_float(kept[e])));
    } else {
      if (aux.data != nullptr) store_packed(aux.data + row * aux.stride + col, x);
#pragma unroll
      for (int e = 0; e < kWidth; ++e)
        result[e] = from_float<T>(activate<kExactActivations<T>>(activation, to_float(x[e])));
    }
  }
  store_packed(to.data + row * to.stride + col, result);
}

template <bool kBackward>
void run_activation(const Extent& tokens, Activation activation, const Tensor& from, const Tensor& to,
                    const Tensor& aux, cudaStream_t stream) {
  if (tokens.capacity == 0 || to.cols == 0) return;
  with_type(to.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kWide = 16 / sizeof(T);
    const ElementRows<const T> source{static_cast<const T*>(from.data), from.stride};
    const ElementRows<T> target{static_cast<T*>(to.data), to.stride},
        kept{static_cast<T*>(aux.data), aux.stride};
    const bool wide =
        rows_are_aligned(from, kWide) && rows_are_aligned(to, kWide) && rows_are_aligned(aux, kWide);
    const int64_t columns = to.cols / (wide ? kWide : 1);
    unsigned width = 1;
    while (width < kThreads && width < columns) width *= 2;
    const dim3 block(width, kThreads / width);
    const dim3 grid(static_cast<unsigned>(ceil_div(tokens.capacity, block.y)),
                    static_cast<unsigned>(ceil_div(columns, width)));
    const char* const name = kBackward ? "activation_backward" : "activation_forward";
    if (wide)
      launch(name, activation_kernel<T, kWide, kBackward>, grid, block, 0, stream, tokens, to.cols,
             activation, source, target, kept);
    else
      launch(name, activation_kernel<T, 1, kBackward>, grid, block, 0, stream, tokens, to.cols, activation,
             source, target, kept);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Narrow layers

/// A narrow layer's forward pass; `out` is at most kOut.
template <typename T, typename Y>
struct NarrowForward {
  int64_t capacity, in, out;
  const T* x;
  int64_t x_stride;
  const float* weight;  // [in, out]
  int64_t weight_stride;
  const float* bias;
  Activation activation;
  Y* y;
  int64_t y_stride;
  Y* aux;
  int64_t aux_stride;
};

template <typename T, typename Y, int kWidth, int kOut>
__global__ void __launch_bounds__(kThreads) narrow_forward(NarrowForward<T, Y> p) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= p.capacity) return;
  float sum[kOut] = {};
  const T* const x = p.x + row * p.x_stride;
  for (int64_t i = lane * kWidth; i < p.in; i += 32 * kWidth) {
    const Packed<T, kWidth> values = load_packed<kWidth>(x + i);
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      const float* const w = p.weight + (i + e) * p.weight_stride;
      const float value = to_float(values[e]);
#pragma unroll
      for (int o = 0; o < kOut; ++o)
        if (kOut == 1 || o < p.out) sum[o] = fmaf(value, w[o], sum[o]);
    }
  }
#pragma unroll
  for (int o = 0; o < kOut; ++o) sum[o] = warp_sum(sum[o]);
#pragma unroll
  for (int o = 0; o < kOut; ++o) {
    if (lane != o || o >= p.out) continue;
    const float value = sum[o] + (p.bias != nullptr ? p.bias[o] : 0.0f);
    if (p.aux != nullptr) p.aux[row * p.aux_stride + o] = from_float<Y>(value);
    p.y[row * p.y_stride + o] = from_float<Y>(activate<kExactActivations<Y>>(p.activation, value));
  }
}

template <typename T, typename Y>
struct NarrowData {
  Extent tokens;
  int64_t in, out;
  const Y* dy;
  int64_t dy_stride;
  const float* weight;
  int64_t weight_stride;
  Activation activation;
  const T* aux;
  int64_t aux_stride;
  T* dx;
  int64_t dx_stride;
  bool add;
  float* partials;  // [stretch, in] column sums of dx, or null
};

/// One output: its weights stay in registers. More: they come from the first-level cache, row after row.
template <typename T, typename Y, int kWidth, bool kOne>
__global__ void __launch_bounds__(kThreads) narrow_data(NarrowData<T, Y> p, int64_t row_stretch) {
  const int64_t col = (blockIdx.x * kColumns + threadIdx.x) * kWidth;
  const int64_t actual = actual_of(p.tokens);
  const int64_t begin = blockIdx.y * row_stretch;
  const int64_t end = min(begin + row_stretch, p.tokens.capacity);
  float sums[kWidth] = {};
  if (col < p.in) {
    float w[kWidth];
    if (kOne) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) w[e] = p.weight[(col + e) * p.weight_stride];
    }
    for (int64_t row = begin + threadIdx.y; row < end; row += kRows) {
      if (row >= actual && p.add) continue;
      T* const place = p.dx + row * p.dx_stride + col;
      float value[kWidth] = {};
      if (row < actual) {
        if (p.add) {
          const Packed<T, kWidth> before = load_packed<kWidth>(place);
#pragma unroll
          for (int e = 0; e < kWidth; ++e) value[e] = to_float(before[e]);
        }
        const Y* const dy = p.dy + row * p.dy_stride;
        if (kOne) {
          const float factor = to_float(dy[0]);
#pragma unroll
          for (int e = 0; e < kWidth; ++e) value[e] = fmaf(factor, w[e], value[e]);
        } else {
          for (int64_t o = 0; o < p.out; ++o) {
            const float factor = to_float(dy[o]);
#pragma unroll
            for (int e = 0; e < kWidth; ++e)
              value[e] = fmaf(factor, p.weight[(col + e) * p.weight_stride + o], value[e]);
          }
        }
        if (p.aux != nullptr) {
          const Packed<T, kWidth> kept = load_packed<kWidth>(p.aux + row * p.aux_stride + col);
#pragma unroll
          for (int e = 0; e < kWidth; ++e)
            value[e] *= activation_slope<kExactActivations<T>>(p.activation, to_float(kept[e]));
        }
      }
      Packed<T, kWidth> result;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        sums[e] += value[e];
        result[e] = from_float<T>(value[e]);
      }
      store_packed(place, result);
    }
  }
  if (p.partials == nullptr) return;
  using Row = float[kColumns * kWidth + 1];
  ELECTRA_SHARED(Row, shared, kRows);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) shared[threadIdx.y][threadIdx.x * kWidth + e] = sums[e];
  __syncthreads();
  for (int c = threadIdx.y * kColumns + threadIdx.x; c < kColumns * kWidth; c += kThreads) {
    const int64_t column = blockIdx.x * kColumns * kWidth + c;
    if (column >= p.in) continue;
    float sum = 0;
#pragma unroll
    for (int y = 0; y < kRows; ++y) sum += shared[y][c];
    p.partials[blockIdx.y * p.in + column] = sum;
  }
}

template <typename T, typename Y>
struct NarrowWeight {
  Extent tokens;
  int64_t in, out;
  const T* x;
  int64_t x_stride;
  const Y* dy;
  int64_t dy_stride;
  float* partials;  // [stretch, (in + 1) · kOut]: the weight's gradient, then the bias's
};

template <typename T, typename Y, int kWidth, int kOut>
__global__ void __launch_bounds__(kThreads)
    narrow_weight(NarrowWeight<T, Y> p, int64_t first, int64_t row_stretch) {
  const int64_t col = (blockIdx.x * kColumns + threadIdx.x) * kWidth;
  const int64_t begin = blockIdx.y * row_stretch;
  const int64_t end = min(begin + row_stretch, min(p.tokens.capacity, actual_of(p.tokens)));
  float sums[kWidth][kOut] = {};
  float bias[kOut] = {};
  for (int64_t row = begin + threadIdx.y; row < end; row += kRows) {
    float dy[kOut];
#pragma unroll
    for (int o = 0; o < kOut; ++o) {
      dy[o] = first + o < p.out ? to_float(p.dy[row * p.dy_stride + first + o]) : 0.0f;
      bias[o] += dy[o];
    }
    if (col < p.in) {
      const Packed<T, kWidth> x = load_packed<kWidth>(p.x + row * p.x_stride + col);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
#pragma unroll
        for (int o = 0; o < kOut; ++o) sums[e][o] = fmaf(to_float(x[e]), dy[o], sums[e][o]);
      }
    }
  }
  float* const partials = p.partials + blockIdx.y * (p.in + 1) * kOut;
  using Row = float[kColumns + 1];
  ELECTRA_SHARED(Row, shared, kRows);
#pragma unroll
  for (int i = 0; i < (kWidth + 1) * kOut; ++i) {
    const int e = i / kOut, o = i % kOut;
    shared[threadIdx.y][threadIdx.x] = e < kWidth ? sums[e < kWidth ? e : 0][o] : bias[o];
    __syncthreads();
    if (threadIdx.y == 0) {
      float sum = 0;
#pragma unroll
      for (int y = 0; y < kRows; ++y) sum += shared[y][threadIdx.x];
      if (e < kWidth && col + e < p.in) partials[(col + e) * kOut + o] = sum;
      if (e == kWidth && blockIdx.x == 0 && threadIdx.x == 0) partials[p.in * kOut + o] = sum;
    }
    __syncthreads();
  }
}

/// d_weight[i, first + o] and d_bias[first + o] += the stretches in order.
__global__ void __launch_bounds__(kThreads)
    narrow_weight_sum(const float* partials, int64_t stretches, int64_t in, int64_t out, int64_t first,
                      int width, float* d_weight, int64_t d_weight_stride, float* d_bias) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t size = (in + 1) * width;
  if (index >= size) return;
  const int64_t i = index / width, col = first + index % width;
  if (col >= out) return;
  float sum = 0;
#pragma unroll 8
  for (int64_t s = 0; s < stretches; ++s) sum += partials[s * size + index];
  if (i < in)
    d_weight[i * d_weight_stride + col] += sum;
  else if (d_bias != nullptr)
    d_bias[col] += sum;
}

/// Calls body with the width of an access and of a pass over outputs as constants.
template <typename T, typename Body>
void with_widths(bool wide, int64_t out, Body body) {
  using Wide = std::integral_constant<int, 16 / sizeof(T)>;
  using Single = std::integral_constant<int, 1>;
  using All = std::integral_constant<int, static_cast<int>(kNarrow)>;
  if (wide)
    out == 1 ? body(Wide{}, Single{}) : body(Wide{}, All{});
  else
    out == 1 ? body(Single{}, Single{}) : body(Single{}, All{});
}

/// Both types of a narrow layer: activations (x, dx) and outputs (y, dy).
template <typename Body>
void with_types(DType activations, DType outputs, Body body) {
  with_type(activations, [&](auto t) {
    if (outputs == activations)
      body(t, t);
    else
      body(t, float{});
  });
}

bool is_float_or(DType dtype, DType compute) { return dtype == DType::kFloat32 || dtype == compute; }

}  // namespace

size_t linear_workspace(const Capacity& capacity) {
  const int64_t tokens =
      std::max({capacity.tokens, capacity.slots, capacity.lm_rows, int64_t{capacity.batch}});
  const int64_t width = std::max<int32_t>(1, capacity.max_width);
  size_t most = 0;
  for (const int64_t outputs : {int64_t{1}, kNarrow}) {
    Scratch one;
    one.take<float>(ceil_div(tokens, stretch_of(tokens, most_stretches(outputs))) * (width + 1) * outputs);
    most = std::max(most, one.size());
  }
  return most;
}

void CudaOperators::linear_forward(const LinearForward& p) {
  const int64_t tokens = p.tokens.capacity, in = p.x.cols, out = p.y.cols;
  check_weight(p.weight, in, out, "linear_forward");
  check_matrix(p.x, tokens, in, compute(), "linear_forward", "x");
  ELECTRA_CHECK_SHAPE(is_float_or(p.y.dtype, compute()),
                      "linear_forward: y is bf16 on a device that computes in f32");
  check_matrix(p.y, tokens, out, p.y.dtype, "linear_forward", "y");
  if (p.aux) check_matrix(p.aux, tokens, out, p.y.dtype, "linear_forward", "aux");
  if (tokens == 0 || out == 0) return;
  if (out <= kNarrow) {
    with_types(compute(), p.y.dtype, [&](auto t, auto y) {
      using T = decltype(t);
      using Y = decltype(y);
      NarrowForward<T, Y> a{tokens,
                            in,
                            out,
                            static_cast<const T*>(p.x.data),
                            p.x.stride,
                            p.weight.master,
                            p.weight.stride,
                            p.bias,
                            p.activation,
                            static_cast<Y*>(p.y.data),
                            p.y.stride,
                            static_cast<Y*>(p.aux.data),
                            p.aux.stride};
      with_widths<T>(rows_are_aligned(p.x, 16 / sizeof(T)), out, [&](auto width, auto outputs) {
        launch("narrow_forward", narrow_forward<T, Y, width(), outputs()>,
               static_cast<unsigned>(ceil_div(tokens, kThreads / 32)), kThreads, 0, stream(), a);
      });
    });
    return;
  }
  Product product;
  product.a = matrix_of(p.x);
  product.a.rows = tokens;
  product.b = weight_matrix(p.weight);
  product.d = matrix_of(p.y);
  product.d.rows = tokens;
  if (p.bias != nullptr) {
    product.epilogue = Epilogue::kBias;
    product.bias = p.bias;
    if (p.y.dtype == DType::kBFloat16) product.narrow_bias = compute_form(p.bias);
  }
  if (p.activation != Activation::kIdentity || p.aux) {
    product.epilogue = Epilogue::kActivation;
    product.activation = p.activation;
    product.aux = p.aux.data;
    product.aux_stride = p.aux.stride;
  }
  gemm_->multiply(product);
}

void CudaOperators::linear_backward_data(const LinearBackwardData& p) {
  const int64_t tokens = p.tokens.capacity, in = p.dx.cols, out = p.dy.cols;
  check_weight(p.weight, in, out, "linear_backward_data");
  ELECTRA_CHECK_SHAPE(is_float_or(p.dy.dtype, compute()),
                      "linear_backward_data: dy is bf16 on a device that computes in f32");
  check_matrix(p.dy, tokens, out, p.dy.dtype, "linear_backward_data", "dy");
  check_matrix(p.dx, tokens, in, compute(), "linear_backward_data", "dx");
  const bool derivative = p.activation != Activation::kIdentity;
  if (derivative) check_matrix(p.aux, tokens, in, compute(), "linear_backward_data", "aux");
  ELECTRA_CHECK_SHAPE(p.into == Into::kWrite || !derivative,
                      "linear_backward_data: only a layer without activation can be added to");
  if (tokens == 0 || in == 0) return;
  if (out <= kNarrow || p.dy.dtype != compute()) {
    with_types(compute(), p.dy.dtype, [&](auto t, auto y) {
      using T = decltype(t);
      using Y = decltype(y);
      const int64_t stretch = stretch_of(tokens, most_stretches(out)), stretches = ceil_div(tokens, stretch);
      Scratch scratch(p.d_bias_of_input != nullptr ? workspace(linear_workspace(capacity_)) : nullptr);
      NarrowData<T, Y> a{p.tokens,
                         in,
                         out,
                         static_cast<const Y*>(p.dy.data),
                         p.dy.stride,
                         p.weight.master,
                         p.weight.stride,
                         p.activation,
                         derivative ? static_cast<const T*>(p.aux.data) : nullptr,
                         p.aux.stride,
                         static_cast<T*>(p.dx.data),
                         p.dx.stride,
                         p.into == Into::kAdd,
                         scratch.take<float>(stretches * in)};
      constexpr int64_t kWide = 16 / sizeof(T);
      const bool wide = rows_are_aligned(p.dx, kWide) && (!derivative || rows_are_aligned(p.aux, kWide));
      with_widths<T>(wide, out, [&](auto width, auto outputs) {
        const dim3 grid(static_cast<unsigned>(ceil_div(in, kColumns * width())),
                        static_cast<unsigned>(stretches));
        launch("narrow_data", narrow_data<T, Y, width(), outputs() == 1>, grid, dim3(kColumns, kRows), 0,
               stream(), a, stretch);
      });
      if (p.d_bias_of_input != nullptr) add_partials(a.partials, stretches, in, p.d_bias_of_input, stream());
    });
    return;
  }
  Product product;
  product.a = matrix_of(p.dy);
  product.a.rows = tokens;
  product.b = weight_matrix(p.weight);
  product.transpose_b = true;
  product.d = matrix_of(p.dx);
  product.d.rows = tokens;
  product.add = p.into == Into::kAdd;
  if (derivative) {
    product.epilogue = Epilogue::kActivationGradient;
    product.activation = p.activation;
    product.aux = p.aux.data;
    product.aux_stride = p.aux.stride;
  }
  product.column_sums = p.d_bias_of_input;
  gemm_->multiply(product);
}

void CudaOperators::linear_backward_weight(const LinearBackwardWeight& p) {
  const int64_t tokens = p.tokens.capacity, in = p.x.cols, out = p.dy.cols;
  check_matrix(p.x, tokens, in, compute(), "linear_backward_weight", "x");
  ELECTRA_CHECK_SHAPE(is_float_or(p.dy.dtype, compute()),
                      "linear_backward_weight: dy is bf16 on a device that computes in f32");
  check_matrix(p.dy, tokens, out, p.dy.dtype, "linear_backward_weight", "dy");
  ELECTRA_CHECK_SHAPE(p.d_weight != nullptr && p.d_weight_stride >= out,
                      "linear_backward_weight: d_weight with stride %lld for %lld columns",
                      static_cast<long long>(p.d_weight_stride), static_cast<long long>(out));
  if (tokens == 0 || in == 0 || out == 0) return;
  if (out <= kNarrow || p.dy.dtype != compute()) {
    with_types(compute(), p.dy.dtype, [&](auto t, auto y) {
      using T = decltype(t);
      using Y = decltype(y);
      const int64_t stretch = stretch_of(tokens, most_stretches(out)), stretches = ceil_div(tokens, stretch);
      Scratch scratch(workspace(linear_workspace(capacity_)));
      with_widths<T>(rows_are_aligned(p.x, 16 / sizeof(T)), out, [&](auto width, auto outputs) {
        NarrowWeight<T, Y> a{p.tokens,    in,
                             out,         static_cast<const T*>(p.x.data),
                             p.x.stride,  static_cast<const Y*>(p.dy.data),
                             p.dy.stride, scratch.take<float>(stretches * (in + 1) * outputs())};
        const dim3 grid(static_cast<unsigned>(ceil_div(in, kColumns * width())),
                        static_cast<unsigned>(stretches));
        for (int64_t first = 0; first < out; first += outputs()) {
          launch("narrow_weight", narrow_weight<T, Y, width(), outputs()>, grid, dim3(kColumns, kRows), 0,
                 stream(), a, first, stretch);
          launch("narrow_weight_sum", narrow_weight_sum,
                 static_cast<unsigned>(ceil_div((in + 1) * outputs(), kThreads)), kThreads, 0, stream(),
                 a.partials, stretches, in, out, first, outputs(), p.d_weight, p.d_weight_stride, p.d_bias);
        }
      });
    });
    return;
  }
  Product product;
  product.a = matrix_of(p.x);
  product.a.rows = tokens;
  product.transpose_a = true;
  product.b = matrix_of(p.dy);
  product.b.rows = tokens;
  product.d = Matrix{p.d_weight, in, out, p.d_weight_stride, DType::kFloat32};
  product.add = true;
  product.column_sums_of_b = p.d_bias;
  gemm_->multiply(product);
}

void CudaOperators::activation_forward(const ActivationForward& p) {
  const int64_t tokens = p.tokens.capacity;
  check_matrix(p.x, tokens, p.y.cols, compute(), "activation_forward", "x");
  check_matrix(p.y, tokens, p.y.cols, compute(), "activation_forward", "y");
  if (p.aux) check_matrix(p.aux, tokens, p.y.cols, compute(), "activation_forward", "aux");
  run_activation<false>(p.tokens, p.activation, p.x, p.y, p.aux, stream());
}

void CudaOperators::activation_backward(const ActivationBackward& p) {
  const int64_t tokens = p.tokens.capacity, cols = p.dx.cols;
  check_matrix(p.dy, tokens, cols, compute(), "activation_backward", "dy");
  check_matrix(p.dx, tokens, cols, compute(), "activation_backward", "dx");
  if (p.activation != Activation::kIdentity)
    check_matrix(p.aux, tokens, cols, compute(), "activation_backward", "aux");
  run_activation<true>(p.tokens, p.activation, p.dy, p.dx, p.aux, stream());
}

}  // namespace electra::cuda
