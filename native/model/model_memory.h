#pragma once
// What a model holds of the device, in bytes.

#include <cstddef>

namespace electra {

struct ModelMemory {
  size_t parameters = 0;  ///< values, gradients, moments, compute forms
  size_t activations = 0;
  size_t workspace = 0;
};

}  // namespace electra
