#pragma once
// Run-time dispatch by instruction set. Files in kernels/ are compiled once for each level with its own flags
// and with ELECTRA_ISA set to the name of the level's namespace; each level fills one table. Operators call
// through the table.
//
// Each family of kernels has its own struct of function pointers, declared in kernels/<family>.h and filled
// by `void fill(<Family>Kernels&)` inside namespace electra::cpu::ELECTRA_ISA in kernels/<family>.cc.

#include <string>

#include "kernels/attention.h"
#include "kernels/dense.h"
#include "kernels/norm.h"

namespace electra::cpu {

struct KernelTable {
  DenseKernels dense;
  NormKernels norm;
  AttentionKernels attention;
};

/// The table of the best level that this processor can run and that is at most `choice` ("auto", "avx512",
/// "avx2", "baseline"). Throws ERR_ELECTRA_ISA for a level the processor lacks. `name` receives the level.
const KernelTable& kernel_table(const std::string& choice, std::string* name);

}  // namespace electra::cpu
