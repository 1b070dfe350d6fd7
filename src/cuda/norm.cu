// Norm on CUDA: views to pointers and sizes, then the launchers of kernels/norm.cuh.
#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"
#include "cuda/kernels/norm.cuh"

namespace descent::gpu {
namespace {

template <class T>
BatchParameters<T> parameters_of(const BatchNormState& s) {
  return {s.gamma.as<T>(), s.beta.as<T>(), s.running_mean.as<Wide<T>>(), s.running_var.as<T>(), s.momentum, s.eps};
}

template <class T>
GradientInto<T> into(const Grad& g) {
  return {g.view.as<T>(), g.write == Write::accumulate};
}

PooledShape pooled(const Shape& x, const Shape& y) { return {x[0], x[1], x[2], x[3], y[1], y[2]}; }

class GpuNorm final : public Norm {
 public:
  explicit GpuNorm(Context& context) : context_(context) {}

  void batch_train(const BatchNormState& s, ConstView x, Activation activation, View y, View mean,
                   View inv_std) override {
    Queue& q = context_.queue();
    const std::int64_t channels = mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::batch_train<T>(q, x.numel() / channels, channels, parameters_of<Wide<T>>(s), x.as<T>(), activation,
                          y.as<T>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
    });
  }

  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    Queue& q = context_.queue();
    const std::int64_t channels = s.running_mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::batch_eval<T>(q, x.numel() / channels, channels, parameters_of<Wide<T>>(s), x.as<T>(), activation,
                         y.as<T>());
    });
  }

  void batch_backward(bool training, Activation activation, ConstView x, ConstView y, ConstView dy, ConstView gamma,
                      ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    Queue& q = context_.queue();
    const std::int64_t channels = mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchSaved<Wide<T>> saved{gamma.as<Wide<T>>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>()};
      gpu::batch_backward<T>(q, training, activation, x.numel() / channels, channels, x.as<T>(), y.as<T>(), dy.as<T>(),
                             saved, into<T>(dx), into<Wide<T>>(dgamma), into<Wide<T>>(dbeta));
    });
  }

  void batch_train_relu_pool(const BatchNormState& s, ConstView x, View y, View code, View mean,
                             View inv_std) override {
    Queue& q = context_.queue();
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::batch_train_relu_pool<T>(q, pooled(x.shape, y.shape), parameters_of<Wide<T>>(s), x.as<T>(), y.as<T>(),
                                    code.as<std::uint8_t>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
    });
  }

  void batch_backward_relu_pool(ConstView x, ConstView dy, ConstView code, ConstView gamma, ConstView mean,
                                ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    Queue& q = context_.queue();
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchSaved<Wide<T>> saved{gamma.as<Wide<T>>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>()};
      gpu::batch_backward_relu_pool<T>(q, pooled(x.shape, dy.shape), x.as<T>(), dy.as<T>(), code.as<std::uint8_t>(),
                                       saved, into<T>(dx), into<Wide<T>>(dgamma), into<Wide<T>>(dbeta));
    });
  }

  void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) override {
    Queue& q = context_.queue();
    const std::int64_t rows = mean.numel();
    if (rows == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::layer<T>(q, rows, x.numel() / rows, x.as<T>(), gamma.as<Wide<T>>(), beta.as<Wide<T>>(), eps, y.as<T>(),
                    mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
    });
  }

  void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                      Grad dgamma, Grad dbeta) override {
    Queue& q = context_.queue();
    // Without rows the parameters' gradients still are 0, of a length that x does not tell.
    const std::int64_t rows = mean.numel(), n = rows > 0 ? x.numel() / rows
                                                : dgamma ? dgamma.view.numel()
                                                         : dbeta.view.numel();
    if (n == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchSaved<Wide<T>> saved{gamma.as<Wide<T>>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>()};
      gpu::layer_backward<T>(q, rows, n, x.as<T>(), dy.as<T>(), saved, into<T>(dx), into<Wide<T>>(dgamma),
                             into<Wide<T>>(dbeta));
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Norm> make_norm(Context& context) { return std::make_unique<GpuNorm>(context); }

}  // namespace descent::gpu
