// Batch norm and layer norm over rows of channels.
#include <fmt/format.h>

#include "core/fusion.h"
#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

void check_channels(const char* op, const char* what, const Tensor& t, const Tensor& x, std::int64_t channels) {
  if (!t.defined()) return;
  check_parameter(op, what, t, x);
  check_shape(op, what, t, {channels});
}

// Checks everything, and returns the number of rows.
std::int64_t check_batch_norm(const char* op, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                              const Tensor& running_mean, const Tensor& running_var, const BatchNormOptions& options) {
  check_floating(op, "input", x);
  if (x.rank() < 2)
    throw InvalidArgument(
        fmt::format("{}: input has shape {}, expected 2 dimensions or more", op, to_string(x.shape())));
  const std::int64_t channels = x.shape()[-1];
  check_channels(op, "gamma", gamma, x, channels);
  check_channels(op, "beta", beta, x, channels);
  check_channels(op, "running_mean", running_mean, x, channels);
  check_channels(op, "running_var", running_var, x, channels);
  check_option(options.eps > 0, op, "eps", options.eps, "more than 0");
  if (running_mean.defined() != running_var.defined()) {
    throw InvalidArgument(fmt::format("{}: running_mean and running_var must both be given, or neither", op));
  }
  const std::int64_t rows = x.shape().product(0, x.rank() - 1);
  if (options.training && rows < 2) {
    throw InvalidArgument(
        fmt::format("{}: input {} has {} value per channel, training needs 2 or more", op, to_string(x.shape()), rows));
  }
  if (!options.training && !running_mean.defined()) {
    throw InvalidArgument(fmt::format("{}: there are no running statistics to evaluate with", op));
  }
  return rows;
}

BatchNormState state_of(const Tensor& gamma, const Tensor& beta, const Tensor& running_mean, const Tensor& running_var,
                        const BatchNormOptions& o) {
  return {cview(gamma), cview(beta), view(running_mean), view(running_var), o.momentum, o.eps};
}

// 1 / sqrt(var + eps)
Tensor inverse_std(const Tensor& var, double eps) {
  Elementwise& e = *backend_of(var).elementwise;
  Tensor result = empty_like(var);
  e.unary(Unary::affine, 1, eps, cview(var), view(result));
  e.unary(Unary::sqrt, 0, 0, cview(result), view(result));
  e.unary(Unary::reciprocal, 0, 0, cview(result), view(result));
  return result;
}

void check_images_to_pool(const Tensor& x) {
  check_rank("batch_norm", "input", x, 4);
  if (x.shape()[1] < 2 || x.shape()[2] < 2) {
    throw InvalidArgument(
        fmt::format("batch_norm: input has shape {}, expected images of 2x2 or more to pool", to_string(x.shape())));
  }
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean, Tensor running_var,
                  const BatchNormOptions& options, const Epilogue& epilogue) {
  if (!fuses(Fusible::batch_norm, epilogue)) {
    return in_parts(batch_norm(x, gamma, beta, std::move(running_mean), std::move(running_var), options), epilogue);
  }
  const std::int64_t rows = check_batch_norm("batch_norm", x, gamma, beta, running_mean, running_var, options);
  if (epilogue.max_pool) {
    check_images_to_pool(x);
    if (!options.training) {  // the statistics are known: two passes read as much as one would
      return max_pool2d(
          batch_norm(x, gamma, beta, std::move(running_mean), std::move(running_var), options, epilogue.activation));
    }
  }
  const Shape matrix{rows, x.shape()[-1]};
  const BatchNormState state = state_of(gamma, beta, running_mean, running_var, options);
  Norm& norm = *backend_of(x).norm;
  const Shape& in = x.shape();
  Tensor y = epilogue.max_pool ? empty_of({in[0], in[1] / 2, in[2] / 2, in[3]}, x) : empty_like(x);
  const Tensor aux = epilogue.max_pool ? Tensor::empty(y.shape(), DType::u8, y.device()) : Tensor();
  // Images for the pooling, else a matrix.
  const Shape x_shape = epilogue.max_pool ? in : matrix, y_shape = epilogue.max_pool ? y.shape() : matrix;
  Tensor mean;
  Tensor inv_std;
  if (options.training) {
    mean = empty_parameter({matrix[1]}, x);
    inv_std = empty_parameter({matrix[1]}, x);
    norm.batch_train(state, view_as(x, x_shape), epilogue, view_as(y, y_shape), view(mean), view(inv_std), view(aux));
  } else {
    norm.batch_eval(state, view_as(x, matrix), epilogue.activation, view_as(y, matrix));
  }
  if (recording(x, gamma, beta)) {
    if (!options.training) {
      mean = running_mean.clone();
      inv_std = inverse_std(running_var, options.eps);
    }
    const Tensor& to_save = epilogue.max_pool ? aux : y;
    record("batch_norm", {&x, &gamma, &beta}, y,
           [x_shape, y_shape, epilogue, training = options.training, x = Saved(x),
            saved = saved_if(epilogue.activation == Activation::relu, to_save), gamma = Saved(gamma),
            mean = Saved(mean), inv_std = Saved(inv_std)](Gradients& g) {
             const Grad dgamma = g.input_grad(1);
             const Grad dbeta = g.input_grad(2);
             const Grad dx = g.input_grad(0, x_shape);
             g.backend().norm->batch_backward(training, epilogue, x.as(x_shape),
                                              saved ? saved.as(y_shape) : ConstView(), g.dy(y_shape), gamma, mean,
                                              inv_std, dx, dgamma, dbeta);
           });
  }
  return y;
}

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check_floating("layer_norm", "input", x);
  if (x.rank() < 1 || x.shape()[-1] < 1) {
    throw InvalidArgument(
        fmt::format("layer_norm: input has shape {}, expected a last axis of 1 or more", to_string(x.shape())));
  }
  const Shape matrix = as_rows(x.shape());
  check_channels("layer_norm", "gamma", gamma, x, matrix[1]);
  check_channels("layer_norm", "beta", beta, x, matrix[1]);
  check_option(eps > 0, "layer_norm", "eps", eps, "more than 0");
  Tensor y = empty_like(x);
  const Tensor mean = empty_parameter({matrix[0]}, x);
  const Tensor inv_std = empty_parameter({matrix[0]}, x);
  backend_of(x).norm->layer(view_as(x, matrix), cview(gamma), cview(beta), eps, view_as(y, matrix), view(mean),
                            view(inv_std));
  if (recording(x, gamma, beta)) {
    record("layer_norm", {&x, &gamma, &beta}, y,
           [matrix, x = Saved(x), gamma = Saved(gamma), mean = Saved(mean), inv_std = Saved(inv_std)](Gradients& g) {
             const Grad dgamma = g.input_grad(1);
             const Grad dbeta = g.input_grad(2);
             const Grad dx = g.input_grad(0, matrix);
             g.backend().norm->layer_backward(x.as(matrix), g.dy(matrix), gamma, mean, inv_std, dx, dgamma, dbeta);
           });
  }
  return y;
}

}  // namespace descent
