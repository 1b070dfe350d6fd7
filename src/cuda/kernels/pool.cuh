// Pooling of channels-last images: max, average, and the average of whole images.
#pragma once

#include "cuda/kernels/pool_average.cuh"
#include "cuda/kernels/pool_global.cuh"
#include "cuda/kernels/pool_max.cuh"
