// Whether this build has code for the calling thread's current device.
#pragma once

#include <cuda_runtime.h>

namespace descent::gpu {

cudaError_t probe();  // cudaErrorNoKernelImageForDevice where it has none

}  // namespace descent::gpu
