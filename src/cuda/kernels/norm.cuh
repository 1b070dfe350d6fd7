// Normalization over [rows, channels]: batch (with ReLU, and with ReLU and 2x2 max-pooling) and layer, forward and
// backward. Statistics are computed in one read and merged in a fixed order.
#pragma once

#include "cuda/kernels/norm_batch.cuh"
#include "cuda/kernels/norm_gradient.cuh"
#include "cuda/kernels/norm_layer.cuh"
#include "cuda/kernels/norm_pool.cuh"
