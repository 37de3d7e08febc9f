#pragma once
// From the shell's resolved hyper-parameters to the native configurations.

#include <napi.h>

#include "../cpu/cpu_operators.h"
#include "../model/config.h"

namespace electra::addon {

PretrainingConfig read_pretraining_config(Napi::Value value);
cpu::CpuOptions read_cpu_options(Napi::Value value);

}  // namespace electra::addon
