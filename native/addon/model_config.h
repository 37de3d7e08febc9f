#pragma once
// From the shell's resolved hyper-parameters to the native configuration.

#include <napi.h>

#include "../model/config.h"

namespace electra::addon {

PretrainingConfig read_pretraining_config(Napi::Value value);
FinetuningConfig read_finetuning_config(Napi::Value value);

}  // namespace electra::addon
