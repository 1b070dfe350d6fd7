// Pooling of channels-last images: max, average and global average.
#pragma once

#include "cuda/pool/average.cuh"
#include "cuda/pool/global.cuh"
#include "cuda/pool/max.cuh"
