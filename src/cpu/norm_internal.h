// The norm family's parts: one implementation file each, and the plain loops that they are tested against.
#pragma once

#include "backend.h"

namespace descent::cpu {

// Shared by both batch-norm forms.
struct BatchGradientRequest {
  bool training;
  ConstView gamma, mean, inv_std;
  Grad dx, dgamma, dbeta;
};

template <class T>
void batch_train(const BatchNormState& s, ConstView x, Activation activation, View y, View mean, View inv_std);
template <class T>
void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y);
template <class T>
void batch_backward(const BatchGradientRequest& r, Activation activation, ConstView x, ConstView y, ConstView dy);
template <class T>
void batch_train_relu_pool(const BatchNormState& s, ConstView x, View y, View code, View mean, View inv_std);
template <class T>
void batch_backward_relu_pool(const BatchGradientRequest& r, ConstView x, ConstView dy, ConstView code);
template <class T>
void layer_forward(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std);
template <class T>
void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma,
                    Grad dbeta);

// Writes mean and inv_std of the batch and updates the running statistics. `rows` values per channel; 0 changes nothing
// there.
template <class T>
void finish_statistics(const BatchNormState& s, std::int64_t rows, const double* mean, const double* squares,
                       View out_mean, View out_inv_std);
// Writes dgamma = product * inv_std and dbeta = sum.
template <class T>
void write_parameter_gradients(const BatchGradientRequest& r, const double* sum, const double* product);

Norm* norm_reference();  // plain loops

}  // namespace descent::cpu
