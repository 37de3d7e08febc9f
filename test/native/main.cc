// electra_native_tests test|grad|threads|bench [filter] [--long] [--precision f32|bf16] [--shard i/n]
//
//   test     every device's operators against the reference (float64)
//   grad     the reference's backward against finite differences of its forward, then the devices' against it
//   threads  the same bits for one and two threads and over repeats; on a GPU the same bits whatever the order
//            of threads and blocks, and near the reference
//   bench    GFLOP/s and GB/s
//
// --long: more directions in `grad`; twenty repeats and the real shapes in `threads`. --shard takes every n-th
// case, so that several processes share the work. --first-failure stops there. Built for CUDA or its emulator (ELECTRA_TEST_CUDA), the same
// program tests that device instead of the CPU.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cases.h"
#if defined(ELECTRA_TEST_CUDA)
#include "../../cuda/library.h"
#if defined(ELECTRA_CUDA_EMULATED)
#include "../../cuda/emulator/scheduler.h"
#endif
extern "C" electra::Operators* electra_cuda_create(uint64_t, const electra::cuda::LibraryOptions*);
#else
#include "cpu/cpu_operators.h"
#include "environment.h"
#endif
#include "reference_operators.h"

namespace electra::test {
namespace {

struct Options {
  std::string mode;
  std::string filter;
  std::string precision;  ///< only this one; empty: all that the device has
  bool long_run = false;
  bool first_failure = false;
  size_t shard = 0, shards = 1;
};

/// A backend to test and how it is called in reports.
struct Device {
  std::string label;
  std::unique_ptr<Operators> operators;
  Settings settings;
  std::string column;  ///< heading in `bench`
};

/// Counts, and one line for each group of cases.
class Report {
 public:
  void pass(const std::string& group, double error) {
    Line& line = lines_[group];
    ++line.passed;
    line.worst = std::max(line.worst, error);
  }
  void fail(const std::string& group, const std::string& name, const std::string& why) {
    ++lines_[group].failed;
    std::printf("FAIL %s, %s: %s\n", group.c_str(), name.c_str(), why.c_str());
    std::fflush(stdout);
  }
  bool any_failed() const {
    return std::any_of(lines_.begin(), lines_.end(), [](const auto& entry) { return entry.second.failed > 0; });
  }
  int finish(bool show_error) const {
    int passed = 0, failed = 0;
    for (const auto& [group, line] : lines_) {
      std::printf("%s %-28s %d passed, %d failed", line.failed ? "FAIL" : "PASS", group.c_str(), line.passed,
                  line.failed);
      if (show_error) std::printf(", largest error %.2f of the tolerance", line.worst);
      std::printf("\n");
      passed += line.passed;
      failed += line.failed;
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
  }

 private:
  struct Line {
    int passed = 0, failed = 0;
    double worst = 0;
  };
  std::map<std::string, Line> lines_;
};

#if defined(ELECTRA_TEST_CUDA)
Device cuda_device(DType compute, bool aligned) {
  cuda::LibraryOptions options;
  options.compute = compute;
  Device device;
  device.operators.reset(electra_cuda_create(ELECTRA_CONTRACT_HASH, &options));
  device.settings.activations = compute;
  device.settings.aligned = aligned;
  const DeviceInfo& info = device.operators->info();
  device.column = compute == DType::kFloat32 ? "f32" : "bf16";
  device.label = std::string(info.device) + ", " + info.gemm + ", " + device.column +
                 (aligned ? ", aligned rows" : "");
  return device;
}

/// Both precisions, each with rows that fast paths like and rows that they do not.
std::vector<Device> devices_for(const Options& options) {
  std::vector<Device> devices;
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    if (!options.precision.empty() && (options.precision == "f32") != (compute == DType::kFloat32)) continue;
    for (const bool aligned : {false, true}) {
      devices.push_back(cuda_device(compute, aligned));
      std::printf("device: %s\n", devices.back().label.c_str());
    }
  }
  return devices;
}

std::vector<Device> bench_devices(const Options& options) {
  std::vector<Device> devices;
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    if (!options.precision.empty() && (options.precision == "f32") != (compute == DType::kFloat32)) continue;
    devices.push_back(cuda_device(compute, true));
  }
  return devices;
}
#else
Device cpu_device(const std::string& isa, const std::string& gemm, int threads) {
  cpu::CpuOptions options;
  options.isa = isa;
  options.gemm = gemm;
  options.threads = threads;
  Device device;
  device.operators = std::make_unique<cpu::CpuOperators>(options);
  const DeviceInfo& info = device.operators->info();
  device.column = std::to_string(threads) + (threads == 1 ? " thread" : " threads");
  device.label = std::string("cpu ") + info.isa + ", " + info.gemm + ", " + device.column;
  return device;
}

/// Every instruction set of this machine with the built-in products, and oneDNN with the best.
std::vector<Device> devices_for(const Options&) {
  constexpr int threads = 2;
  std::vector<Device> devices;
  const std::vector<std::pair<const char*, const char*>> choices = {
      {"auto", "onednn"}, {"avx512", "built-in"}, {"avx2", "built-in"}, {"baseline", "built-in"}};
  for (const auto& [isa, gemm] : choices) {
    try {
      devices.push_back(cpu_device(isa, gemm, threads));
      std::printf("device: %s\n", devices.back().label.c_str());
    } catch (const EngineError& error) {
      std::printf("left out: cpu %s, %s (%s)\n", isa, gemm, error.what());
    }
  }
  return devices;
}

std::vector<Device> bench_devices(const Options&) {
  std::vector<Device> devices;
  for (const int threads : {1, 2}) devices.push_back(cpu_device("auto", "auto", threads));
  return devices;
}
#endif

uint64_t seed_of(const Case& c) {
  uint64_t h = 1469598103934665603ull;
  for (const char letter : c.group + c.name) h = (h ^ static_cast<uint8_t>(letter)) * 1099511628211ull;
  return h;
}

bool selected(const Case& c, const Options& options) {
  return (options.filter.empty() || (c.group + ", " + c.name).find(options.filter) != std::string::npos) &&
         seed_of(c) % options.shards == options.shard;
}

void run_all(Scene* scene) {
  scene->run_forward();
  scene->run_backward();
  scene->fetch();
}

/// A scene declared, prepared and run.
std::unique_ptr<Scene> played(const Case& c, Operators& operators, const Settings& settings = {}) {
  auto scene = std::make_unique<Scene>(operators, seed_of(c), settings);
  c.declare(*scene);
  scene->prepare();
  run_all(scene.get());
  return scene;
}

void compare_devices(const Case& c, const Scene& reference, const std::vector<Device>& devices,
                     Report* report) {
  ReferenceOperators rounded_operators;
  std::unique_ptr<Scene> rounded;  // what the reference makes of inputs in bf16
  for (const Device& device : devices) {
    double worst = 0;
    std::string wrong;
    try {
      const bool narrow = device.settings.activations == DType::kBFloat16;
      if (narrow && !rounded) rounded = played(c, rounded_operators, Settings{DType::kBFloat16, false});
      wrong = compare(narrow ? *rounded : reference, *played(c, *device.operators, device.settings), &worst);
    } catch (const std::exception& error) {
      wrong = std::string("throws ") + error.what();
    }
    if (wrong.empty()) {
      report->pass(c.group, worst);
    } else {
      report->fail(c.group, c.name + " on " + device.label, wrong);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Finite differences of the reference. Central, step 1e-4 in double: truncation ~ h² f''' / 6 ~ 1e-9,
// rounding ~ 1e-12.

constexpr double kStep = 1e-4;
constexpr double kGradientTolerance = 1e-6;

int64_t counted_rows(const Buffer& b) { return b.look.actual < 0 ? b.rows : b.look.actual; }
const float* floats(const Buffer& b) { return static_cast<const float*>(b.data); }

double loss_of(const Scene& scene, const ReferenceOperators& reference) {
  double loss = 0;
  for (const auto& [y_name, dy_name] : scene.cotangents()) {
    const Buffer& y = scene.buffer(y_name);
    const Buffer& dy = scene.buffer(dy_name);
    const View values = reference.view(floats(y)), weights = reference.view(floats(dy));
    for (int64_t r = 0; r < counted_rows(y); ++r) {
      for (int64_t c = 0; c < y.cols; ++c) loss += values[r * y.stride + c] * weights[r * dy.stride + c];
    }
  }
  return loss;
}

/// The loss after moving x by `amount` along `direction` (dense, counted rows only).
double loss_at(Scene* scene, const ReferenceOperators& reference, const Buffer& x,
               const std::vector<double>& direction, double amount) {
  scene->restore();
  const View values = reference.view(floats(x));
  for (int64_t r = 0; r < counted_rows(x); ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      values.add(r * x.stride + c, amount * direction[static_cast<size_t>(r * x.cols + c)]);
    }
  }
  scene->run_forward();
  return loss_of(*scene, reference);
}

std::string check_gradient(Scene* scene, const ReferenceOperators& reference, const std::string& x_name,
                           const std::string& dx_name, bool long_run) {
  const Buffer& x = scene->buffer(x_name);
  const Buffer& dx = scene->buffer(dx_name);
  if (x.cols != dx.cols || x.rows > dx.rows) return dx_name + " has not the shape of " + x_name;
  scene->restore();
  const View result = reference.view(floats(dx));
  const size_t size = static_cast<size_t>(counted_rows(x) * x.cols);
  std::vector<double> before(size, 0.0), analytic(size);
  double largest = 0;
  const bool added = dx.look.role == Role::kAccumulator;
  const auto place = [&](size_t i) {
    return static_cast<int64_t>(i) / x.cols * dx.stride + static_cast<int64_t>(i) % x.cols;
  };
  for (size_t i = 0; i < size && added; ++i) before[i] = result[place(i)];
  scene->run_forward();
  scene->run_backward();
  for (size_t i = 0; i < size; ++i) {
    analytic[i] = result[place(i)] - before[i];
    if (!std::isfinite(analytic[i])) return dx_name + " is not finite";
    largest = std::max(largest, std::fabs(analytic[i]));
  }

  const int singles = size == 0 ? 0 : long_run ? 64 : 6, directions = size == 0 ? 0 : long_run ? 8 : 2;
  for (int trial = 0; trial < singles + directions; ++trial) {
    std::vector<double> direction(size, 0.0);
    if (trial < singles) {
      direction[scene->choose(static_cast<uint32_t>(size))] = 1;
    } else {
      for (double& d : direction)
        d = (scene->choose(2001) / 1000.0 - 1) / std::sqrt(static_cast<double>(size));
    }
    double wanted = 0;
    for (size_t i = 0; i < size; ++i) wanted += direction[i] * analytic[i];
    const double difference =
        (loss_at(scene, reference, x, direction, kStep) - loss_at(scene, reference, x, direction, -kStep)) /
        (2 * kStep);
    if (!(std::fabs(difference - wanted) <= kGradientTolerance * std::max(largest, 1e-2))) {
      char text[200];
      std::snprintf(text, sizeof(text), "%s: the reference says %.10g, finite differences %.10g (trial %d)",
                    dx_name.c_str(), wanted, difference, trial);
      return text;
    }
  }
  return "";
}

int run_tests(const Cases& cases, const Options& options) {
  Report report;
  const bool gradients = options.mode == "grad";
  const std::vector<Device> devices = devices_for(options);
  for (const Case& c : cases) {
    if (c.bench_only || !selected(c, options)) continue;
    if (options.first_failure && report.any_failed()) break;
    ReferenceOperators reference;
    Scene scene(reference, seed_of(c));
    try {
      c.declare(scene);
      if (gradients) {
        if (scene.gradients().empty()) continue;
        for (const auto& [x, dx] : scene.gradients()) {
          const std::string wrong = check_gradient(&scene, reference, x, dx, options.long_run);
          wrong.empty() ? report.pass(c.group, 0)
                        : report.fail(c.group, c.name + " (finite differences)", wrong);
        }
        scene.restore();
      }
      run_all(&scene);
    } catch (const std::exception& error) {
      report.fail(c.group, c.name + " on the reference", error.what());
      continue;
    }
    compare_devices(c, scene, devices, &report);
  }
#if !defined(ELECTRA_TEST_CUDA)
  if (!gradients) {
    for (const EnvironmentCheck& check : environment_checks()) {
      if (!options.filter.empty() && check.name.find(options.filter) == std::string::npos) continue;
      std::string wrong;
      try {
        wrong = check.run();
      } catch (const std::exception& error) {
        wrong = std::string("throws ") + error.what();
      }
      wrong.empty() ? report.pass("environment", 0) : report.fail("environment", check.name, wrong);
    }
  }
#endif
  return report.finish(true);
}

#if defined(ELECTRA_TEST_CUDA)
/// The orders in which the emulator can run threads and blocks; a real GPU has its own.
std::vector<std::string> schedules(bool long_run) {
#if defined(ELECTRA_CUDA_EMULATED)
  std::vector<std::string> names = {"forward", "reversed", "random:1"};
  for (int seed = 2; long_run && seed <= 6; ++seed) names.push_back("random:" + std::to_string(seed));
  return names;
#else
  return std::vector<std::string>(long_run ? 20 : 3, "the device's own");
#endif
}

/// Every schedule must give the first one's bits, and those must be near the reference's results: a whole
/// test, at the price of the reference once.
int run_threads(const Cases& cases, const Options& options) {
  Report report;
  const std::vector<Device> devices = devices_for(options);
  for (const Case& c : cases) {
    if (c.bench_only || !selected(c, options)) continue;
    ReferenceOperators plain_operators, rounded_operators;
    std::unique_ptr<Scene> references[2];
    for (const Device& device : devices) {
      std::string wrong;
      double worst = 0;
      try {
        const bool narrow = device.settings.activations == DType::kBFloat16;
        std::unique_ptr<Scene>& reference = references[narrow];
        if (!reference)
          reference = played(c, narrow ? rounded_operators : plain_operators,
                             Settings{device.settings.activations, false});
        std::vector<std::vector<uint8_t>> first;
        for (const std::string& schedule : schedules(options.long_run)) {
#if defined(ELECTRA_CUDA_EMULATED)
          emulator::set_schedule(schedule.c_str());
#endif
          const auto scene = played(c, *device.operators, device.settings);
          if (first.empty()) wrong = compare(*reference, *scene, &worst);
          if (first.empty()) first = results_of(*scene);
          if (wrong.empty()) wrong = compare_bits(first, *scene);
          if (wrong.empty()) continue;
          wrong += " with schedule " + schedule + " on " + device.label;
          break;
        }
      } catch (const std::exception& error) {
        wrong = std::string("throws ") + error.what();
      }
      wrong.empty() ? report.pass(c.group, worst) : report.fail(c.group, c.name, wrong);
    }
  }
  return report.finish(true);
}
#else
int run_threads(const Cases& cases, const Options& options) {
  Report report;
  const int repeats = options.long_run ? 20 : 3;
  std::vector<std::pair<Device, Device>> pairs;
  for (const char* gemm : {"onednn", "built-in"}) {
    try {
      pairs.emplace_back(cpu_device("auto", gemm, 1), cpu_device("auto", gemm, 2));
    } catch (const EngineError& error) {
      std::printf("left out: %s (%s)\n", gemm, error.what());
    }
  }
  for (const Case& c : cases) {
    if ((c.bench_only && !options.long_run) || !selected(c, options)) continue;
    for (const auto& [one, two] : pairs) {
      std::string wrong;
      try {
        const auto first = results_of(*played(c, *one.operators));
        for (const Device* device : {&one, &two}) {
          const auto scene = played(c, *device->operators);
          for (int i = 0; i < repeats && wrong.empty(); ++i) {
            if (i > 0) {
              scene->restore();
              run_all(scene.get());
            }
            wrong = compare_bits(first, *scene);
            if (!wrong.empty()) wrong += " in repeat " + std::to_string(i) + " on " + device->label;
          }
        }
      } catch (const std::exception& error) {
        wrong = std::string("throws ") + error.what();
      }
      wrong.empty() ? report.pass(c.group, 0) : report.fail(c.group, c.name, wrong);
    }
  }
  return report.finish(false);
}

#endif

double seconds_of(Scene* scene) {
  const auto start = std::chrono::steady_clock::now();
  scene->run_forward();
  scene->run_backward();
  scene->device().synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run_bench(const Cases& cases, const Options& options) {
  const std::vector<Device> devices = bench_devices(options);
  for (const Device& device : devices) std::printf("device: %s\n", device.label.c_str());
  int run = 0;
  for (const Case& c : cases) {
    if (!selected(c, options)) continue;
    bool printed = false;
    for (const Device& device : devices) {
      Scene scene(*device.operators, seed_of(c), device.settings);
      c.declare(scene);
      if (scene.flops() == 0 && scene.bytes_moved() == 0) break;
      scene.prepare();
      seconds_of(&scene);
      std::vector<double> times;
      double total = 0;
      while (times.size() < 3 || (total < 0.3 && times.size() < 200)) {
        times.push_back(seconds_of(&scene));
        total += times.back();
      }
      std::sort(times.begin(), times.end());
      const double median = times[times.size() / 2];
      if (!printed) std::printf("%-26s %-34s", c.group.c_str(), c.name.c_str());
      printed = true;
      std::printf(" | %s %9.3f ms", device.column.c_str(), median * 1e3);
      if (scene.flops() > 0) std::printf(" %7.1f GFLOP/s", scene.flops() / median * 1e-9);
      if (scene.bytes_moved() > 0) std::printf(" %6.2f GB/s", scene.bytes_moved() / median * 1e-9);
      std::fflush(stdout);
    }
    if (printed) {
      std::printf("\n");
      ++run;
    }
  }
  std::printf("%d passed, 0 failed\n", run);
  return 0;
}

int run(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--long") {
      options.long_run = true;
    } else if (argument == "--first-failure") {
      options.first_failure = true;
    } else if (argument == "--precision" && i + 1 < count) {
      options.precision = arguments[++i];
    } else if (argument == "--shard" && i + 1 < count) {
      if (std::sscanf(arguments[++i], "%zu/%zu", &options.shard, &options.shards) != 2 ||
          options.shard >= options.shards) {
        std::fprintf(stderr, "--shard wants i/n with i below n, not %s\n", arguments[i]);
        return 2;
      }
    } else if (options.mode.empty()) {
      options.mode = argument;
    } else {
      options.filter = argument;
    }
  }
  Cases cases;
  add_linear_cases(&cases);
  add_norm_cases(&cases);
  add_attention_cases(&cases);
  add_row_cases(&cases);
  add_corruption_cases(&cases);
  add_language_model_cases(&cases);
  add_loss_cases(&cases);
  add_ragged_cases(&cases);
  add_optimizer_cases(&cases);
  if (options.mode == "test" || options.mode == "grad") return run_tests(cases, options);
  if (options.mode == "threads") return run_threads(cases, options);
  if (options.mode == "bench") return run_bench(cases, options);
  std::fprintf(stderr,
               "usage: electra_native_tests test|grad|threads|bench [filter] [--long] [--precision f32|bf16] "
               "[--shard i/n] [--first-failure]\n");
  return 2;
}

}  // namespace
}  // namespace electra::test

int main(int count, char** arguments) {
  try {
    return electra::test::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "electra_native_tests: %s\n", error.what());
    return 1;
  }
}
