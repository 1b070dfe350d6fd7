// Pooling layers.
#pragma once

#include <string>

#include "descent/module.h"
#include "descent/ops.h"
#include "descent/pair.h"

namespace descent::nn {

// MaxPool2d and AvgPool2d: [N, H, W, C] -> [N, Ho, Wo, C]. Stride 0: the kernel's size. Incomplete windows are dropped.
class DESCENT_API MaxPool2d : public Module {
 public:
  explicit MaxPool2d(Pair kernel_size, Pair stride = 0, Pair padding = 0);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return max_pool2d(x, options_); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  const Pool2dOptions& options() const { return options_; }

 private:
  Pool2dOptions options_;
};

class DESCENT_API AvgPool2d : public Module {
 public:
  explicit AvgPool2d(Pair kernel_size, Pair stride = 0, Pair padding = 0, bool count_include_pad = true);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, options_); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  const Pool2dOptions& options() const { return options_; }

 private:
  Pool2dOptions options_;
};

// [N, H, W, C] -> [N, C]: PyTorch's AdaptiveAvgPool2d(1) followed by Flatten.
class DESCENT_API GlobalAvgPool2d : public Module {
 public:
  GlobalAvgPool2d() : Module("GlobalAvgPool2d") {}
  Tensor forward(const Tensor& x) override { return global_avg_pool2d(x); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
};

}  // namespace descent::nn
