// Layers that compute each element, or each row, independently: activations, softmax and dropout.
#pragma once

#include <string>
#include <utility>

#include "descent/module.h"
#include "descent/ops.h"

namespace descent::nn {

// Preserves the shape and the feature order. `cost`: floating-point operations per element.
class DESCENT_API ElementwiseLayer : public Module {
 public:
  Shape output_shape(const Shape& input) const override { return input; }
  double flops(const Shape& input) const override { return cost_ * static_cast<double>(input.numel()); }
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;

 protected:
  ElementwiseLayer(std::string type, double cost) : Module(std::move(type)), cost_(cost) {}

 private:
  double cost_;
};

class DESCENT_API ReLU : public ElementwiseLayer {
 public:
  ReLU() : ElementwiseLayer("ReLU", 1) {}
  Tensor forward(const Tensor& x) override { return relu(x); }
};

class DESCENT_API LeakyReLU : public ElementwiseLayer {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : ElementwiseLayer("LeakyReLU", 1), slope_(negative_slope) {}
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return leaky_relu(x, slope_); }
  double negative_slope() const { return slope_; }

 private:
  double slope_;
};

class DESCENT_API Sigmoid : public ElementwiseLayer {
 public:
  Sigmoid() : ElementwiseLayer("Sigmoid", 3) {}
  Tensor forward(const Tensor& x) override { return sigmoid(x); }
};

class DESCENT_API Tanh : public ElementwiseLayer {
 public:
  Tanh() : ElementwiseLayer("Tanh", 1) {}
  Tensor forward(const Tensor& x) override { return descent::tanh(x); }
};

class DESCENT_API GELU : public ElementwiseLayer {
 public:
  explicit GELU(Gelu approximate = Gelu::erf) : ElementwiseLayer("GELU", 4), approximate_(approximate) {}
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return gelu(x, approximate_); }
  Gelu approximate() const { return approximate_; }

 private:
  Gelu approximate_;
};

class DESCENT_API SiLU : public ElementwiseLayer {
 public:
  SiLU() : ElementwiseLayer("SiLU", 4) {}
  Tensor forward(const Tensor& x) override { return silu(x); }
};

class DESCENT_API Softmax : public ElementwiseLayer {  // over the last axis
 public:
  Softmax() : ElementwiseLayer("Softmax", 5) {}
  Tensor forward(const Tensor& x) override { return softmax(x); }
};

class DESCENT_API LogSoftmax : public ElementwiseLayer {  // over the last axis
 public:
  LogSoftmax() : ElementwiseLayer("LogSoftmax", 5) {}
  Tensor forward(const Tensor& x) override { return log_softmax(x); }
};

// In training, zeroes each element with probability p and divides the others by 1 - p (Srivastava et al., 2014); in
// evaluation, the identity. The mask depends on the seed, the layer's index among the model's dropout layers, the
// call number and the element. Throws InvalidArgument unless 0 <= p <= 1.
class DESCENT_API Dropout : public ElementwiseLayer {
 public:
  explicit Dropout(double p = 0.5);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override;
  double p() const { return p_; }

 private:
  void seed_own(std::uint64_t seed, std::uint32_t& next_stream) override;
  double p_;
  Generator generator_;
};

}  // namespace descent::nn
