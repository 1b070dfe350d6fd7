// Whether this build has code for the calling thread's current device.
#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace descent::gpu {

cudaError_t probe();                     // cudaErrorNoKernelImageForDevice if it has none
std::vector<int> built_architectures();  // 100 * major + 10 * minor of each compiled compute capability

}  // namespace descent::gpu
