// The factories of the CPU op groups, one per file, and the switch from fast paths to the reference implementation.
#pragma once

#include "backend/backend.h"

namespace descent::cpu {

// Each returns an object that lives as long as the process; it is defined in src/cpu/<group>.cpp.
Runtime* runtime_ops();
Elementwise* elementwise_ops();
Reduce* reduce_ops();
Gemm* gemm_ops();
Conv* conv_ops();
Pool* pool_ops();
Norm* norm_ops();
Random* random_ops();
Softmax* softmax_ops();
Loss* loss_ops();
Optim* optim_ops();
Indexing* indexing_ops();

// True: op groups that have a fast path use the reference implementation instead. Initially true if the environment
// has DESCENT_CPU_REFERENCE=1.
void set_reference_only(bool value);
bool reference_only();

}  // namespace descent::cpu
