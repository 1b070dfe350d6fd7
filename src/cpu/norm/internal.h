// The parts of the norm op group: one implementation file each, and the reference implementation that
// they are tested against.
#pragma once

#include "backend/backend.h"

namespace descent::cpu {

// Shared by batch_backward and batch_backward_pooled.
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
void batch_train_pooled(const BatchNormState& s, ConstView x, View y, View code, View mean, View inv_std);
template <class T>
void batch_backward_pooled(const BatchGradientRequest& r, ConstView x, ConstView dy, ConstView code);
template <class T>
void layer_forward(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std);
template <class T>
void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma,
                    Grad dbeta);

// Writes mean and inv_std of the batch and updates the running statistics. `rows` is the number of values per channel;
// if it is 0, the running statistics do not change.
template <class T>
void finish_statistics(const BatchNormState& s, std::int64_t rows, const double* mean, const double* squares,
                       View out_mean, View out_inv_std);
// Writes dgamma = product * inv_std and dbeta = sum.
template <class T>
void write_parameter_gradients(const BatchGradientRequest& r, const double* sum, const double* product);

Norm* norm_reference();  // the reference implementation

}  // namespace descent::cpu
