#include "backend.h"

#include "cuda_library.h"
#include "fields.h"

namespace electra::addon {
namespace {

cpu::CpuOptions read_cpu_options(const Fields& fields) {
  cpu::CpuOptions options;
  options.threads = fields.whole("threads", options.threads);
  if (options.threads < 1 || options.threads > 1024)
    throw EngineError("ERR_ELECTRA_ARGUMENT", "options.threads is %d; it must be between 1 and 1024",
                      options.threads);
  options.gemm = fields.text("gemm", options.gemm.c_str());
  options.isa = fields.text("isa", options.isa.c_str());
  return options;
}

DType read_precision(const Fields& fields) {
  const std::string precision = fields.text("precision", "float32");
  if (precision == "float32") return DType::kFloat32;
  if (precision == "bfloat16") return DType::kBFloat16;
  fields.fail("precision", "float32 or bfloat16");
}

std::unique_ptr<Operators> any_gpu(const CudaLibrary& library, DType compute) {
  const int32_t count = library.device_count();
  for (int32_t ordinal = 0; ordinal + 1 < count; ++ordinal) {
    try {
      return library.create(ordinal, compute);
    } catch (const EngineError&) {
      // Old, or somebody else's alone: the next one may do. The last one's reason is told.
    }
  }
  return library.create(count - 1, compute);
}

}  // namespace

BackendOptions read_backend_options(Napi::Value value) {
  const Fields fields(value, "options");
  const std::string device = fields.text("device", "cpu");
  BackendOptions options;
  options.cpu = read_cpu_options(fields);
  options.compute = read_precision(fields);
  options.cuda = device == "cuda";
  if (!options.cuda) {
    if (device != "cpu") fields.fail("device", "cpu or cuda");
    if (options.compute != DType::kFloat32)
      throw EngineError("ERR_ELECTRA_PRECISION", "The CPU computes in float32.");
    return options;
  }
  options.library = fields.text("library");
  options.emulated = fields.flag("emulated", false);
  options.ordinal = fields.whole("ordinal", BackendOptions::kAnyGpu);
  return options;
}

std::unique_ptr<Operators> make_operators(const BackendOptions& options) {
  if (!options.cuda) return std::make_unique<cpu::CpuOperators>(options.cpu);
  const CudaLibrary library(options.library, options.emulated);
  return options.ordinal == BackendOptions::kAnyGpu ? any_gpu(library, options.compute)
                                                    : library.create(options.ordinal, options.compute);
}

}  // namespace electra::addon
