#include "model_test.h"

#include <cstdio>

#include "../../../native/philox.h"
#if defined(ELECTRA_TEST_CUDA)
#include "../../../cuda/library.h"
extern "C" electra::Operators* electra_cuda_create(uint64_t, const electra::cuda::LibraryOptions*);
#else
#include "../../../native/cpu/cpu_operators.h"
#endif

namespace electra::test {

void Counter::check(bool ok, const std::string& what, double value, double bound) {
  std::printf("%s %s: %.3g (allowed %.3g)\n", ok ? "PASS" : "FAIL", what.c_str(), value, bound);
  ok ? ++passed : ++failed;
}

uint32_t word(uint32_t index, uint32_t site) {
  return random_block(99, RandomPurpose::kInitializer, index, 0, site).word[0];
}

double relative(double a, double b) { return std::fabs(a - b) / std::max(1e-12, std::fabs(b)); }

NaiveBatch make_batch(int length, const std::vector<int32_t>& lengths) {
  NaiveBatch batch;
  batch.rows = static_cast<int>(lengths.size());
  batch.length = length;
  batch.lengths = lengths;
  batch.ids.assign(static_cast<size_t>(batch.rows) * batch.length, 0);
  batch.segments.assign(batch.ids.size(), 0);
  for (int b = 0; b < batch.rows; ++b)
    for (int i = 0; i < batch.lengths[static_cast<size_t>(b)]; ++i) {
      const size_t at = static_cast<size_t>(b) * batch.length + i;
      // A few ids recur often, so that embedding gradients meet repeated rows.
      const uint32_t r = word(static_cast<uint32_t>(at), 1);
      batch.ids[at] = static_cast<int32_t>(1000 + (r % 4 == 0 ? r % 5 : r % 29000));
      batch.segments[at] = i > batch.lengths[static_cast<size_t>(b)] / 2;
      if (i == 0) batch.ids[at] = 101;
      if (i == batch.lengths[static_cast<size_t>(b)] - 1) batch.ids[at] = 102;
    }
  return batch;
}

void excite(Parameters& parameters, Variables& variables) {
  uint32_t site = 100;
  for (const Parameter& p : parameters.table().all()) {
    std::vector<float> values(static_cast<size_t>(p.rows() * p.cols()));
    parameters.read(ParameterKind::kValue, p.name, values.data(), static_cast<int64_t>(values.size()));
    ++site;
    const float spread =
        p.rows() > 1 ? (p.name.find("word_embeddings") != std::string::npos ? 0.05f : 0.04f) : 0.1f;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] += spread * (2 * uniform_open(word(static_cast<uint32_t>(i), site)) - 1);
    parameters.write(ParameterKind::kValue, p.name, values.data(), static_cast<int64_t>(values.size()));
    variables[p.name].assign(values.begin(), values.end());
  }
  parameters.refresh_weights();
}

std::vector<Group> encoder_groups() {
  return {
      {"word embeddings", "word_embeddings", ""},
      {"other embeddings", "electra/embeddings/", "word_embeddings"},
      {"projections", "embeddings_project", ""},
      {"query, key, value", "attention/self", ""},
      {"attention output", "attention/output/dense", ""},
      {"feed-forward in", "intermediate/dense", ""},
      {"feed-forward out", "/output/dense", "attention"},
      {"LayerNorms", "LayerNorm", ""},
  };
}

void check_gradients(const std::string& name, const Parameters& parameters, const Variables& variables,
                     const std::vector<Group>& groups, double bound,
                     const std::function<double(const Variables&)>& naive_loss, Counter& counter) {
  for (const Group& group : groups) {
    Variables plus = variables, minus = variables;
    double slope = 0, gradient_square = 0;
    const double h = 1e-5;
    uint32_t site = 5000;
    for (const Parameter& p : parameters.table().all()) {
      ++site;
      if (p.name.find(group.part) == std::string::npos) continue;
      if (!group.except.empty() && p.name.find(group.except) != std::string::npos) continue;
      std::vector<float> gradient(static_cast<size_t>(p.rows() * p.cols()));
      parameters.read(ParameterKind::kGradient, p.name, gradient.data(),
                      static_cast<int64_t>(gradient.size()));
      Matrix& up = plus[p.name];
      Matrix& down = minus[p.name];
      for (size_t i = 0; i < gradient.size(); ++i) {
        const double direction = word(static_cast<uint32_t>(i), site) & 1 ? 1.0 : -1.0;
        up[i] += h * direction;
        down[i] -= h * direction;
        slope += direction * gradient[i];
        gradient_square += static_cast<double>(gradient[i]) * gradient[i];
      }
    }
    const double naive = (naive_loss(plus) - naive_loss(minus)) / (2 * h);
    // The slope along ±1 directions is of the size of the gradient's norm; f32 gradients are good to about
    // 1e-6 of it, and the third derivative times h² stays below that.
    const double difference = std::fabs(naive - slope) / std::sqrt(gradient_square);
    counter.check(gradient_square > 0 && difference < bound,
                  name + ": gradient of " + group.label + ", against its norm", difference, bound);
  }
}

std::unique_ptr<Operators> make_device(DType precision) {
#if defined(ELECTRA_TEST_CUDA)
  cuda::LibraryOptions options;
  options.compute = precision;
  return std::unique_ptr<Operators>(electra_cuda_create(ELECTRA_CONTRACT_HASH, &options));
#else
  (void)precision;  // the CPU computes in f32
  cpu::CpuOptions options;
  options.threads = 2;
  return std::make_unique<cpu::CpuOperators>(options);
#endif
}

std::vector<DType> precisions() {
#if defined(ELECTRA_TEST_CUDA)
  return {DType::kFloat32, DType::kBFloat16};
#else
  return {DType::kFloat32};
#endif
}

std::string suffix(DType precision) { return precision == DType::kFloat32 ? "" : ", bf16"; }

}  // namespace electra::test
