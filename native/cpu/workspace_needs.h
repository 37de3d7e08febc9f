#pragma once
// What each family of operators wants from the workspace for a capacity. reserve() takes the maximum over the
// families: operators run one after the other, so they share the same memory.

#include <cstddef>

#include "../operators.h"

namespace electra::cpu {

struct WorkspaceNeeds {
  size_t shared_floats = 0;  ///< one block, seen by all workers
  size_t worker_floats = 0;  ///< one block for each worker
};

WorkspaceNeeds linear_needs(const Capacity& capacity);
WorkspaceNeeds language_model_head_needs(const Capacity& capacity);
WorkspaceNeeds optimizer_needs(const Capacity& capacity);
WorkspaceNeeds embedding_needs(const Capacity& capacity);
WorkspaceNeeds layer_norm_needs(const Capacity& capacity);
WorkspaceNeeds attention_needs(const Capacity& capacity);
WorkspaceNeeds rows_needs(const Capacity& capacity);
WorkspaceNeeds corruption_needs(const Capacity& capacity);
WorkspaceNeeds losses_needs(const Capacity& capacity);
WorkspaceNeeds ragged_needs(const Capacity& capacity);

}  // namespace electra::cpu
