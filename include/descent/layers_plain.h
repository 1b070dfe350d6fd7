// The layers without parameters: activations, pooling, dropout and Flatten. layers.h includes it.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "descent/module.h"
#include "descent/ops.h"

namespace descent::nn {

struct Pair {  // of height and width
  std::int64_t h = 1, w = 1;
  constexpr Pair(std::int64_t both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor)
  constexpr Pair(std::int64_t h_, std::int64_t w_) : h(h_), w(w_) {}
  friend bool operator==(const Pair&, const Pair&) = default;
};

// Keeps the shape and the order of features; `cost` is its floating-point operations per element.
class DESCENT_API Elementwise : public Module {
 public:
  Shape output_shape(const Shape& input) const override { return input; }
  double flops(const Shape& input) const override { return cost_ * static_cast<double>(input.numel()); }
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;

 protected:
  Elementwise(std::string type, double cost) : Module(std::move(type)), cost_(cost) {}

 private:
  double cost_;
};

class DESCENT_API ReLU : public Elementwise {
 public:
  ReLU() : Elementwise("ReLU", 1) {}
  Tensor forward(const Tensor& x) override { return relu(x); }
};

class DESCENT_API LeakyReLU : public Elementwise {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : Elementwise("LeakyReLU", 1), slope_(negative_slope) {}
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return leaky_relu(x, slope_); }
  double negative_slope() const { return slope_; }

 private:
  double slope_;
};

class DESCENT_API Sigmoid : public Elementwise {
 public:
  Sigmoid() : Elementwise("Sigmoid", 3) {}
  Tensor forward(const Tensor& x) override { return sigmoid(x); }
};

class DESCENT_API Tanh : public Elementwise {
 public:
  Tanh() : Elementwise("Tanh", 1) {}
  Tensor forward(const Tensor& x) override { return descent::tanh(x); }
};

class DESCENT_API GELU : public Elementwise {
 public:
  explicit GELU(Gelu approximate = Gelu::erf) : Elementwise("GELU", 4), approximate_(approximate) {}
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return gelu(x, approximate_); }
  Gelu approximate() const { return approximate_; }

 private:
  Gelu approximate_;
};

class DESCENT_API SiLU : public Elementwise {
 public:
  SiLU() : Elementwise("SiLU", 4) {}
  Tensor forward(const Tensor& x) override { return silu(x); }
};

class DESCENT_API Softmax : public Elementwise {  // over the last axis
 public:
  Softmax() : Elementwise("Softmax", 5) {}
  Tensor forward(const Tensor& x) override { return softmax(x); }
};

class DESCENT_API LogSoftmax : public Elementwise {  // over the last axis
 public:
  LogSoftmax() : Elementwise("LogSoftmax", 5) {}
  Tensor forward(const Tensor& x) override { return log_softmax(x); }
};

// In training, zeroes elements with probability p and divides the others by 1 - p; in evaluation the identity.
// Its mask depends on the seed, its place among the model's dropouts, the number of the call and the element.
class DESCENT_API Dropout : public Elementwise {
 public:
  explicit Dropout(double p = 0.5);
  std::string describe() const override;
  Tensor forward(const Tensor& x) override;
  double p() const { return p_; }

 private:
  void seed_own(std::uint64_t seed, std::uint32_t& next_stream) override;
  double p_;
  Generator generator_;
};

// [N, ...] -> [N, features], in the order of memory (channels last). It remembers the shape of its last input, which
// files need, from output_shape and forward; under an EvalGuard or NoGrad only if it knows none.
class DESCENT_API Flatten : public Module {
 public:
  Flatten() : Module("Flatten") {}
  Tensor forward(const Tensor& x) override;
  Shape output_shape(const Shape& input) const override;
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;

 private:
  void remember(const Shape& input, bool replace) const;
  std::optional<Shape> last_input() const;
  mutable std::mutex mutex_;                 // guards what follows: several threads may call forward at once
  mutable std::optional<Shape> last_input_;  // without the batch axis
};

// Windows of [N, H, W, C]. The stride is the kernel's size unless it is given; an incomplete last window is dropped.
class DESCENT_API MaxPool2d : public Module {
 public:
  explicit MaxPool2d(Pair kernel_size, Pair stride = 0, Pair padding = 0);  // stride 0: the kernel's size
  std::string describe() const override;
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
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, options_); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  const Pool2dOptions& options() const { return options_; }

 private:
  Pool2dOptions options_;
};

// [N, H, W, C] -> [N, C]: PyTorch's AdaptiveAvgPool2d(1) and a Flatten.
class DESCENT_API GlobalAvgPool : public Module {
 public:
  GlobalAvgPool() : Module("GlobalAvgPool") {}
  Tensor forward(const Tensor& x) override { return global_avg_pool2d(x); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
};

}  // namespace descent::nn
