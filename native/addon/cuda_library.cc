#include "cuda_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#ifndef ELECTRA_CONTRACT_HASH
#error "ELECTRA_CONTRACT_HASH must be the hash of the contract's headers"
#endif

namespace electra::addon {
namespace {

constexpr const char* kNoCuda = "ERR_ELECTRA_NO_CUDA";
constexpr const char* kRebuild =
    "Build addon and CUDA library again: ELECTRA_CUDA=ON npx electra-native build";

void* resolve(void* library, const char* symbol, const std::string& path) {
  void* found = dlsym(library, symbol);
  if (found == nullptr)
    throw EngineError(kNoCuda, "%s lacks %s: it is no CUDA library of this version\n%s", path.c_str(), symbol,
                      kRebuild);
  return found;
}

/// The CUDA version that NVIDIA's driver supports, 12040 for 12.4; 0: there is no driver. The runtime says of
/// both no driver and an old one that the driver's version is "insufficient".
int driver_version() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return 0;
  using GetVersion = int (*)(int*);
  const auto get_version = reinterpret_cast<GetVersion>(dlsym(driver, "cuDriverGetVersion"));
  int version = 0;
  // A driver that does not even answer this is older than any that could do.
  return get_version != nullptr && get_version(&version) == 0 && version > 0 ? version : 1;
}

[[noreturn]] void throw_no_driver() {
  throw EngineError(kNoCuda,
                    "there is no NVIDIA driver on this machine (libcuda.so.1 is not found)\n"
                    "Install NVIDIA's driver, or start the container with its GPUs (docker run --gpus all); "
                    "nvidia-smi then lists them. Without a GPU choose the device cpu.");
}

/// Why CUDA refuses, in words that lead somewhere.
[[noreturn]] void throw_refusal(const char* words, bool emulated) {
  const bool insufficient = std::strstr(words, "insufficient") != nullptr;
  const bool none_seen = std::strstr(words, "no CUDA-capable device") != nullptr;
  const int version = emulated ? (none_seen ? 0 : 1) : driver_version();
  if (version == 0) throw_no_driver();
  char supports[48] = "";
  if (version > 1)
    std::snprintf(supports, sizeof(supports), ", which supports CUDA %d.%d,", version / 1000,
                  version % 1000 / 10);
  if (insufficient)
    throw EngineError(kNoCuda,
                      "the NVIDIA driver%s is too old for this CUDA library (%s)\n"
                      "Install a newer driver, or build with a CUDA toolkit that this one supports: "
                      "ELECTRA_CUDA=ON npx electra-native build",
                      supports, words);
  if (none_seen)
    throw EngineError(kNoCuda,
                      "the NVIDIA driver sees no GPU (%s)\n"
                      "nvidia-smi lists the GPUs there are; CUDA_VISIBLE_DEVICES may hide them.",
                      words);
  throw EngineError(kNoCuda, "CUDA cannot be used: %s\nnvidia-smi says whether the driver works.", words);
}

/// Memory of the device for the length of a scope.
class Room {
 public:
  Room(Operators& operators, size_t bytes)
      : operators_(operators), memory_(operators.allocate(bytes, "a test")) {}
  ~Room() { operators_.release(memory_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  void* get() const { return memory_; }

 private:
  Operators& operators_;
  void* memory_;
};

/// 1 + 1 on the device: a library without machine code for this very GPU is found here and not in the middle
/// of a model's making.
void try_sum(Operators& operators) {
  const bool wide = operators.info().compute == DType::kFloat32;
  const float one = 1, two = 2;
  char ones[32], twos[32], result[32] = {};
  for (size_t i = 0; i < 8; ++i)
    for (const auto& [value, to] : {std::pair{&one, ones}, std::pair{&two, twos}}) {
      // A bf16 is the upper half of an f32, on the little-endian machines that have CUDA.
      if (wide)
        std::memcpy(to + 4 * i, value, 4);
      else
        std::memcpy(to + 2 * i, reinterpret_cast<const char*>(value) + 2, 2);
    }
  const size_t bytes = wide ? 32 : 16;
  const Room x(operators, bytes), y(operators, bytes);
  operators.upload(x.get(), ones, bytes);
  operators.upload(y.get(), ones, bytes);
  AddRows sum;
  sum.tokens.capacity = 1;
  sum.x = Tensor{x.get(), 1, 8, 8, operators.info().compute};
  sum.y = Tensor{y.get(), 1, 8, 8, operators.info().compute};
  operators.add_rows(sum);
  operators.download(result, y.get(), bytes);
  operators.synchronize();
  if (std::memcmp(result, twos, bytes) != 0)
    throw EngineError(kNoCuda, "%s computes 1 + 1 wrongly", operators.info().device);
}

}  // namespace

CudaLibrary::CudaLibrary(const std::string& path, bool emulated) : path_(path), emulated_(emulated) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    throw EngineError(kNoCuda, "the CUDA library cannot be opened: %.500s\n%s",
                      reason != nullptr ? reason : path.c_str(), kRebuild);
  }
  list_devices_ = reinterpret_cast<ListDevices>(resolve(library, "electra_cuda_list_devices", path_));
  create_ = reinterpret_cast<cuda::CreateFunction>(resolve(library, cuda::kCreateSymbol, path_));
}

int32_t CudaLibrary::list(ElectraCudaDevice* devices, int32_t capacity) const {
  char message[256] = "";
  const int32_t count = list_devices_(devices, capacity, message, sizeof(message));
  if (count < 0) throw_refusal(message, emulated_);
  if (count == 0) throw_refusal("no CUDA-capable device is detected", emulated_);
  return count;
}

int32_t CudaLibrary::device_count() const { return list(nullptr, 0); }

std::vector<ElectraCudaDevice> CudaLibrary::devices() const {
  constexpr int32_t kMost = 64;
  std::vector<ElectraCudaDevice> devices(kMost);
  devices.resize(static_cast<size_t>(std::min(list(devices.data(), kMost), kMost)));
  return devices;
}

std::unique_ptr<Operators> CudaLibrary::create(int32_t ordinal, DType compute) const {
  const int32_t count = device_count();
  if (ordinal < 0 || ordinal >= count)
    throw EngineError(kNoCuda,
                      "there is no GPU number %d: CUDA sees %d, counted from 0\n"
                      "npx electra-native doctor lists them; CUDA_VISIBLE_DEVICES decides which are seen.",
                      ordinal, count);
  cuda::LibraryOptions options;
  options.device = ordinal;
  options.compute = compute;
  try {
    std::unique_ptr<Operators> operators(create_(ELECTRA_CONTRACT_HASH, &options));
    try_sum(*operators);
    return operators;
  } catch (const EngineError& error) {
    if (std::strcmp(error.code(), "ERR_ELECTRA_CONTRACT") == 0)
      throw EngineError(kNoCuda, "%s\n%s", error.what(), kRebuild);
    throw EngineError(kNoCuda,
                      "GPU number %d cannot be used: %.560s\nnpx electra-native doctor tries every GPU.",
                      ordinal, error.what());
  }
}

}  // namespace electra::addon
