// The kernels of the op group loss.
#pragma once

#include "cuda/loss/cross_entropy.cuh"
#include "cuda/loss/pairwise.cuh"
