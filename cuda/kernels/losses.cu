// Losses of the heads other than the language model. They are small beside the network (16,384 tokens: 0.3
// MB), so every row is computed in double and rounded once, as on the CPU; a launch costs more than the
// arithmetic.
//
// A thread takes one row, a block a fixed stretch of 256. Sums: each block adds its rows in a fixed tree, a
// second kernel of one warp for each sum adds the blocks. Where one block does (any fine-tuning batch) it
// adds to the result itself. Whether it does follows from the capacity, so a shape always gives the same
// bits.

#include <algorithm>
#include <cmath>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "../scratch.h"

namespace electra::cuda {
namespace {

constexpr int kRows = 256;  // of a block
constexpr int kBinarySums = 6;
static_assert(sizeof(BinarySums) == kBinarySums * sizeof(double), "the sums are added as an array");

__device__ double weight_of(const float* weights, int64_t i) { return weights != nullptr ? weights[i] : 1.0; }
__device__ double scale_of(const float* scale) { return scale != nullptr ? *scale : 1.0; }

/// l = max(d, 0) − d·y + log(1 + e^(−|d|)), safe at both ends; `exponential` is e^(−|d|).
__device__ double binary_loss(double d, double y, double exponential) {
  return (d > 0 ? d : 0) - d * y + log1p(exponential);
}
__device__ double sigmoid(double d, double exponential) {
  return (d >= 0 ? 1 : exponential) / (1 + exponential);
}

/// Where a block leaves its sums: in the result if it is the only one, else among the partial results.
__device__ void leave_sum(double sum, int index, int count, double* partials, double* result) {
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    result[index] += sum;
  else
    partials[blockIdx.x * count + index] = sum;
}

/// Warp i adds partial results i, i + n, … of n sums to result[i].
__global__ void add_partials_kernel(const double* partials, int64_t blocks, int count, double* result) {
  const int index = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  double sum = 0;
  for (int64_t i = lane; i < blocks; i += 32) sum += partials[i * count + index];
  sum = warp_sum(sum);
  if (lane == 0) result[index] += sum;
}

__global__ void __launch_bounds__(kRows) binary_cross_entropy_kernel(BinaryCrossEntropy p, double* partials) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x;
  double part[kBinarySums] = {0, 0, 0, 0, 0, 0};
  if (t < actual_of(p.tokens)) {
    const float addend = p.addend != nullptr ? p.addend[t] : 0.0f;
    const float logit = p.logits[t * p.logit_stride] + addend + p.constant;
    const double d = logit, y = p.labels[t], w = weight_of(p.weights, t);
    const double exponential = exp(-fabs(d)), loss = binary_loss(d, y, exponential);
    if (p.loss != nullptr) p.loss[t] = static_cast<float>(loss);
    if (p.final_logits != nullptr) p.final_logits[t] = logit;
    if (p.d_logits != nullptr)
      p.d_logits[t * p.logit_stride] =
          w == 0 ? 0.0f : static_cast<float>(w * scale_of(p.scale) * (sigmoid(d, exponential) - y));
    if (w != 0) {  // a token that does not count adds nothing, whatever its logit holds
      part[0] = w * loss;
      part[1] = w;
      part[2] = d > 0 && y > 0.5 ? w : 0;
      part[3] = d > 0 && !(y > 0.5) ? w : 0;
      part[4] = !(d > 0) && !(y > 0.5) ? w : 0;
      part[5] = !(d > 0) && y > 0.5 ? w : 0;
    }
  } else if (t < p.tokens.capacity) {
    if (p.loss != nullptr) p.loss[t] = 0;
    if (p.final_logits != nullptr) p.final_logits[t] = 0;
    if (p.d_logits != nullptr) p.d_logits[t * p.logit_stride] = 0;
  }
  if (p.sums == nullptr) return;
  double* result = static_cast<double*>(static_cast<void*>(p.sums));
#pragma unroll
  for (int i = 0; i < kBinarySums; ++i)
    leave_sum(block_sum<kRows>(part[i]), i, kBinarySums, partials, result);
}

template <typename T>
__global__ void __launch_bounds__(kRows) class_cross_entropy_kernel(ClassCrossEntropy p, double* partials) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x;
  const int64_t classes = p.logits.cols;
  double part = 0;
  if (r < p.rows.capacity) {
    const bool counts = r < actual_of(p.rows);
    const T* z = static_cast<const T*>(p.logits.data) + r * p.logits.stride;
    T* dz = p.d_logits.data != nullptr ? static_cast<T*>(p.d_logits.data) + r * p.d_logits.stride
                                       : nullptr;  // may be z
    double top = 0, log_sum = 0;
    if (counts) {
      top = to_float(z[0]);
      for (int64_t c = 1; c < classes; ++c) top = fmax(top, static_cast<double>(to_float(z[c])));
      for (int64_t c = 0; c < classes; ++c) log_sum += exp(to_float(z[c]) - top);
      log_sum = top + log(log_sum);
    }
    if (p.log_probabilities != nullptr)
      for (int64_t c = 0; c < classes; ++c)
        p.log_probabilities[r * classes + c] = counts ? static_cast<float>(to_float(z[c]) - log_sum) : 0.0f;
    if (p.labels != nullptr || dz != nullptr) {
      const double w = counts ? weight_of(p.weights, r) : 0.0;
      double loss = 0;
      if (w != 0) {
        const int32_t label = p.labels[r];
        // A label that is no class shows in the loss.
        loss = label >= 0 && label < classes ? log_sum - to_float(z[label]) : NAN;
        part = w * loss;
        const double factor = w * scale_of(p.scale);
        for (int64_t c = 0; dz != nullptr && c < classes; ++c)
          dz[c] = from_float<T>(
              static_cast<float>(factor * (exp(to_float(z[c]) - log_sum) - (c == label ? 1.0 : 0.0))));
      } else {
        for (int64_t c = 0; dz != nullptr && c < classes; ++c) dz[c] = from_float<T>(0.0f);
      }
      if (p.loss != nullptr) p.loss[r] = static_cast<float>(loss);
    }
  }
  if (p.loss_sum != nullptr) leave_sum(block_sum<kRows>(part), 0, 1, partials, p.loss_sum);
}

// predictions and d_predictions are both `stride` apart.
__global__ void __launch_bounds__(kRows) mean_squared_error_kernel(MeanSquaredError p, double* partials) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x;
  double part = 0;
  if (r < p.rows.capacity) {
    const double w = r < actual_of(p.rows) ? weight_of(p.weights, r) : 0.0;
    const double difference = w == 0 ? 0.0 : static_cast<double>(p.predictions[r * p.stride]) - p.targets[r];
    if (p.loss != nullptr) p.loss[r] = static_cast<float>(difference * difference);
    if (p.d_predictions != nullptr)
      p.d_predictions[r * p.stride] = static_cast<float>(w * scale_of(p.scale) * 2 * difference);
    part = w * difference * difference;
  }
  if (p.loss_sum != nullptr) leave_sum(block_sum<kRows>(part), 0, 1, partials, p.loss_sum);
}

template <typename T>
__global__ void __launch_bounds__(kRows) multi_label_kernel(MultiLabelCrossEntropy p, double* partials) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x;
  const int64_t classes = p.logits.cols;
  double part = 0;
  if (r < p.rows.capacity) {
    const double w = r < actual_of(p.rows) ? weight_of(p.weights, r) : 0.0;
    const T* z = static_cast<const T*>(p.logits.data) + r * p.logits.stride;
    T* dz = p.d_logits.data != nullptr ? static_cast<T*>(p.d_logits.data) + r * p.d_logits.stride : nullptr;
    double loss = 0;
    for (int64_t c = 0; c < classes; ++c) {
      double gradient = 0;
      if (w != 0) {
        const double d = to_float(z[c]), y = p.labels[r * classes + c], exponential = exp(-fabs(d));
        loss += binary_loss(d, y, exponential);
        gradient = w * scale_of(p.scale) * (sigmoid(d, exponential) - y);
      }
      if (dz != nullptr) dz[c] = from_float<T>(static_cast<float>(gradient));
    }
    if (p.loss != nullptr) p.loss[r] = static_cast<float>(loss);
    part = w * loss;
  }
  if (p.loss_sum != nullptr) leave_sum(block_sum<kRows>(part), 0, 1, partials, p.loss_sum);
}

// ---------------------------------------------------------------------------------------------------------------------

unsigned blocks_for(int64_t rows) { return static_cast<unsigned>(ceil_div(rows, kRows)); }
size_t partial_bytes(int64_t rows, int count) { return size_t{blocks_for(rows)} * count * sizeof(double); }

void add_partials(const double* partials, int64_t rows, int count, double* result, cudaStream_t stream) {
  if (result != nullptr && blocks_for(rows) > 1)
    launch("add_partials", add_partials_kernel, 1, static_cast<unsigned>(32 * count), 0, stream, partials,
           blocks_for(rows), count, result);
}

}  // namespace

size_t losses_workspace(const Capacity& capacity) {
  return partial_bytes(std::max({capacity.tokens, capacity.slots, capacity.lm_rows, int64_t{capacity.batch}}),
                       kBinarySums);
}

void CudaOperators::binary_cross_entropy(const BinaryCrossEntropy& p) {
  double* partials = static_cast<double*>(workspace(partial_bytes(p.tokens.capacity, kBinarySums)));
  launch("binary_cross_entropy", binary_cross_entropy_kernel, blocks_for(p.tokens.capacity), kRows, 0,
         stream(), p, partials);
  add_partials(partials, p.tokens.capacity, kBinarySums, static_cast<double*>(static_cast<void*>(p.sums)),
               stream());
}

void CudaOperators::class_cross_entropy(const ClassCrossEntropy& p) {
  const int64_t rows = p.rows.capacity, classes = p.logits.cols;
  check_matrix(p.logits, rows, classes, p.logits.dtype, "class_cross_entropy", "logits");
  if (p.d_logits) check_matrix(p.d_logits, rows, classes, p.logits.dtype, "class_cross_entropy", "d_logits");
  ELECTRA_CHECK_SHAPE(classes > 0, "class_cross_entropy: there are no classes");
  ELECTRA_CHECK_SHAPE(p.labels != nullptr || !p.d_logits, "class_cross_entropy: a gradient needs labels");
  double* partials = static_cast<double*>(workspace(partial_bytes(rows, 1)));
  ClassCrossEntropy call = p;
  if (p.labels == nullptr) call.loss_sum = nullptr;
  with_type(p.logits.dtype, [&](auto type) {
    launch("class_cross_entropy", class_cross_entropy_kernel<decltype(type)>, blocks_for(rows), kRows, 0,
           stream(), call, partials);
  });
  add_partials(partials, rows, 1, call.loss_sum, stream());
}

void CudaOperators::mean_squared_error(const MeanSquaredError& p) {
  double* partials = static_cast<double*>(workspace(partial_bytes(p.rows.capacity, 1)));
  launch("mean_squared_error", mean_squared_error_kernel, blocks_for(p.rows.capacity), kRows, 0, stream(), p,
         partials);
  add_partials(partials, p.rows.capacity, 1, p.loss_sum, stream());
}

void CudaOperators::multi_label_cross_entropy(const MultiLabelCrossEntropy& p) {
  const int64_t rows = p.rows.capacity, classes = p.logits.cols;
  check_matrix(p.logits, rows, classes, p.logits.dtype, "multi_label_cross_entropy", "logits");
  if (p.d_logits)
    check_matrix(p.d_logits, rows, classes, p.logits.dtype, "multi_label_cross_entropy", "d_logits");
  double* partials = static_cast<double*>(workspace(partial_bytes(rows, 1)));
  with_type(p.logits.dtype, [&](auto type) {
    launch("multi_label_cross_entropy", multi_label_kernel<decltype(type)>, blocks_for(rows), kRows, 0,
           stream(), p, partials);
  });
  add_partials(partials, rows, 1, p.loss_sum, stream());
}

}  // namespace electra::cuda
