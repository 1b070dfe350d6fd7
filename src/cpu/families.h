// The factories of the CPU families, one per file, and the switch between their fast paths and the plain loops.
#pragma once

#include "backend.h"

namespace descent::cpu {

// Each returns an object that lives as long as the process; it is defined in src/cpu/<family>.cpp.
Runtime* runtime_family();
Elementwise* elementwise_family();
Reduce* reduce_family();
Linalg* linalg_family();
Conv* conv_family();
Pool* pool_family();
Norm* norm_family();
Random* random_family();
Loss* loss_family();
Optim* optim_family();
Index* index_family();

// True: families that have a fast path use the plain loops that it is tested against instead.
// Starts as true when the environment holds DESCENT_CPU_REFERENCE=1.
void set_reference_only(bool value);
bool reference_only();

}  // namespace descent::cpu
