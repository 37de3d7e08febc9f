#pragma once
// What the CUDA library tells about the GPUs of this machine. A C interface, so that the addon can ask it
// without knowing CUDA, and a machine without a driver gets an answer instead of a crash.

#include <cstdint>

extern "C" {

struct ElectraCudaDevice {
  char name[256];
  int32_t major, minor;  ///< compute capability
  int64_t total_memory;  ///< bytes
  int64_t free_memory;   ///< bytes, now
  int32_t multiprocessors;
  int32_t usable;    ///< 1: memory could be allocated, written and read back on it
  char reason[256];  ///< why not usable
};

/// Writes at most `capacity` devices and returns how many the machine has; −1 when CUDA itself cannot be
/// used, with the reason ("CUDA driver version is insufficient for CUDA runtime version") in `message`.
int32_t electra_cuda_list_devices(ElectraCudaDevice* devices, int32_t capacity, char* message,
                                  int32_t message_size);
}
