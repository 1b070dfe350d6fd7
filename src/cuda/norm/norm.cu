// Norm on CUDA: turns views into pointers and sizes for the launchers of norm.cuh.
#include "cuda/dispatch.h"
#include "cuda/norm/norm.cuh"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

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

  void batch_train(const BatchNormState& s, ConstView x, const Epilogue& epilogue, View y, View mean, View inv_std,
                   View aux) override {
    Stream& stream = context_.stream();
    const std::int64_t channels = mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchParameters<Wide<T>> parameters = parameters_of<Wide<T>>(s);
      if (epilogue.max_pool) {
        return gpu::batch_train_relu_pool<T>(stream, pooled(x.shape, y.shape), parameters, x.as<T>(), y.as<T>(),
                                             aux.as<std::uint8_t>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
      }
      gpu::batch_train<T>(stream, x.numel() / channels, channels, parameters, x.as<T>(), epilogue.activation, y.as<T>(),
                          mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
    });
  }

  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    Stream& stream = context_.stream();
    const std::int64_t channels = s.running_mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::batch_eval<T>(stream, x.numel() / channels, channels, parameters_of<Wide<T>>(s), x.as<T>(), activation,
                         y.as<T>());
    });
  }

  void batch_backward(bool training, const Epilogue& epilogue, ConstView x, ConstView saved, ConstView dy,
                      ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    Stream& stream = context_.stream();
    const std::int64_t channels = mean.numel();
    if (channels == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchSaved<Wide<T>> of{gamma.as<Wide<T>>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>()};
      const auto to_x = into<T>(dx);
      const auto to_gamma = into<Wide<T>>(dgamma), to_beta = into<Wide<T>>(dbeta);
      if (epilogue.max_pool) {
        return gpu::batch_backward_relu_pool<T>(stream, pooled(x.shape, dy.shape), x.as<T>(), dy.as<T>(),
                                                saved.as<std::uint8_t>(), of, to_x, to_gamma, to_beta);
      }
      gpu::batch_backward<T>(stream, training, epilogue.activation, x.numel() / channels, channels, x.as<T>(),
                             saved.as<T>(), dy.as<T>(), of, to_x, to_gamma, to_beta);
    });
  }

  void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) override {
    Stream& stream = context_.stream();
    const std::int64_t rows = mean.numel();
    if (rows == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::layer<T>(stream, rows, x.numel() / rows, x.as<T>(), gamma.as<Wide<T>>(), beta.as<Wide<T>>(), eps, y.as<T>(),
                    mean.as<Wide<T>>(), inv_std.as<Wide<T>>());
    });
  }

  void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                      Grad dgamma, Grad dbeta) override {
    Stream& stream = context_.stream();
    // Without rows the parameters' gradients are still 0; their length comes from their own views, not from x.
    const std::int64_t rows = mean.numel(), n = rows > 0 ? x.numel() / rows
                                                : dgamma ? dgamma.view.numel()
                                                         : dbeta.view.numel();
    if (n == 0) return;
    for_storage(x.dtype, [&]<class T>(T) {
      const BatchSaved<Wide<T>> saved{gamma.as<Wide<T>>(), mean.as<Wide<T>>(), inv_std.as<Wide<T>>()};
      gpu::layer_backward<T>(stream, rows, n, x.as<T>(), dy.as<T>(), saved, into<T>(dx), into<Wide<T>>(dgamma),
                             into<Wide<T>>(dbeta));
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Norm> make_norm(Context& context) { return std::make_unique<GpuNorm>(context); }

}  // namespace descent::gpu
