// The losses of backend.h on a device: softmax and its gradients, cross entropy, and losses of single elements.
#pragma once

#include "cuda/kernels/loss_cross_entropy.cuh"
#include "cuda/kernels/loss_pairwise.cuh"
#include "cuda/kernels/loss_softmax.cuh"
#include "cuda/kernels/loss_softmax_backward.cuh"
