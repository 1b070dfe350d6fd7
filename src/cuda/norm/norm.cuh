// Normalization over [rows, channels], forward and backward: batch (optionally fused with ReLU, or with ReLU and 2x2
// max-pooling) and layer. Statistics are computed in one read and merged in a fixed order.
#pragma once

#include "cuda/norm/batch.cuh"
#include "cuda/norm/gradient.cuh"
#include "cuda/norm/layer.cuh"
#include "cuda/norm/pool.cuh"
