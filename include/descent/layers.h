// The layers. Input and output shapes begin with the batch axis; images are [N, H, W, C], filters [out, kh, kw, in].
// Names, defaults and semantics are PyTorch's. Constructors throw InvalidArgument; errors of forward begin with the
// layer's path inside a Sequential.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "descent/activations.h"
#include "descent/module.h"
#include "descent/ops.h"
#include "descent/pair.h"
#include "descent/pooling.h"

namespace descent::nn {

// ---- containers

// Runs its modules, named "0", "1", ..., in sequence. Adjacent fusible modules (Linear + ReLU or tanh-GELU, Conv2d or
// BatchNorm + ReLU, with or without MaxPool2d(2)) are fused; with Precision::f32 and without bf16, the outputs are
// the same bits.
class DESCENT_API Sequential : public Module {
 public:
  Sequential();
  ~Sequential() override;
  Sequential& add(std::unique_ptr<Module> module);
  template <class T, class... Args>
  Sequential& add(Args&&... args) {
    return add(std::make_unique<T>(std::forward<Args>(args)...));
  }
  std::size_t size() const { return children().size(); }
  Module& operator[](std::size_t index) const;  // throws InvalidArgument
  Sequential& set_fusion(bool on);              // on by default

  Tensor forward(const Tensor& x) override;
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;

 private:
  struct Step;
  void children_changed() override;

  std::vector<Step> steps_;  // rebuilt when the children change, so that forward only reads
  bool fusion_ = true;
};

// [N, ...] -> [N, features], in memory order (channels last). output_shape and forward record their last input shape,
// which files need; under an EvalGuard, and forward under a NoGradGuard, only if none is recorded yet.
class DESCENT_API Flatten : public Module {
 public:
  Flatten() : Module("Flatten") {}
  Tensor forward(const Tensor& x) override;
  Shape output_shape(const Shape& input) const override;
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;

 private:
  void remember(const Shape& input, bool replace) const;
  std::optional<Shape> last_input() const;
  mutable std::mutex mutex_;                 // guards last_input_: several threads may call forward at once
  mutable std::optional<Shape> last_input_;  // without the batch axis
};

// ---- layers with parameters

// y = x W' + b with x [..., in], W [out, in] and b [out].
class DESCENT_API Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool bias = true);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Activation::none); }
  Tensor forward(const Tensor& x, Activation activation) const { return linear(x, weight_, bias_, activation); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  std::int64_t in_features() const { return in_features_; }
  std::int64_t out_features() const { return out_features_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined without one

 private:
  void reset_own_parameters() override;
  std::int64_t in_features_, out_features_;
  Tensor weight_, bias_;
};

struct Conv2dOptions {
  Pair stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
};

// x [N, H, W, in] -> [N, Ho, Wo, out], Ho = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.
class DESCENT_API Conv2d : public Module {
 public:
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel_size, const Conv2dOptions& args = {});
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Epilogue()); }
  Tensor forward(const Tensor& x, const Epilogue& epilogue) const {
    return conv2d(x, weight_, bias_, options_, epilogue);
  }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  std::int64_t in_channels() const { return in_channels_; }
  std::int64_t out_channels() const { return out_channels_; }
  Pair kernel_size() const { return kernel_; }
  const Conv2dOptions& args() const { return args_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  void reset_own_parameters() override;
  std::int64_t in_channels_, out_channels_;
  Pair kernel_;
  Conv2dOptions args_;
  Conv2dFuncOptions options_;
  Tensor weight_, bias_;
};

struct ConvTranspose2dArgs {
  Pair stride = 1, padding = 0, output_padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
};

// x [N, H, W, in] -> [N, Ho, Wo, out], Ho = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
class DESCENT_API ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel_size,
                  const ConvTranspose2dArgs& args = {});
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override;
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  std::int64_t in_channels() const { return in_channels_; }
  std::int64_t out_channels() const { return out_channels_; }
  Pair kernel_size() const { return kernel_; }
  const ConvTranspose2dArgs& args() const { return args_; }
  const Tensor& weight() const { return weight_; }  // [in, kh, kw, out / groups]
  const Tensor& bias() const { return bias_; }

 private:
  void reset_own_parameters() override;
  std::int64_t in_channels_, out_channels_;
  Pair kernel_;
  ConvTranspose2dArgs args_;
  Conv2dFuncOptions options_;
  Tensor weight_, bias_;
};

// Normalizes over all axes but the last (Ioffe and Szegedy, 2015). Training uses the batch's statistics and updates
// the running ones (with the unbiased variance); evaluation uses the running ones. BatchNorm1d takes [N, C],
// BatchNorm2d [N, H, W, C], BatchNorm any rank from 2 on.
class DESCENT_API BatchNorm : public Module {
 public:
  explicit BatchNorm(std::int64_t num_features, double eps = 1e-5, double momentum = 0.1, bool affine = true)
      : BatchNorm("BatchNorm", 0, num_features, eps, momentum, affine) {}
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Epilogue()); }
  Tensor forward(const Tensor& x, const Epilogue& epilogue);
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;
  std::int64_t num_features() const { return num_features_; }
  double eps() const { return eps_; }
  double momentum() const { return momentum_; }
  bool affine() const { return weight_.defined(); }
  const Tensor& weight() const { return weight_; }  // gamma, undefined when not affine
  const Tensor& bias() const { return bias_; }      // beta
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }

 protected:
  BatchNorm(std::string type, int rank, std::int64_t num_features, double eps, double momentum, bool affine);

 private:
  void reset_own_parameters() override;
  BatchNormOptions begin(const Tensor& x);
  int rank_;  // of the input, with its batch axis; 0: any from 2 on
  std::int64_t num_features_;
  double eps_, momentum_;
  Tensor weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
};

class DESCENT_API BatchNorm1d : public BatchNorm {
 public:
  explicit BatchNorm1d(std::int64_t num_features, double eps = 1e-5, double momentum = 0.1, bool affine = true)
      : BatchNorm("BatchNorm1d", 2, num_features, eps, momentum, affine) {}
};

class DESCENT_API BatchNorm2d : public BatchNorm {
 public:
  explicit BatchNorm2d(std::int64_t num_features, double eps = 1e-5, double momentum = 0.1, bool affine = true)
      : BatchNorm("BatchNorm2d", 4, num_features, eps, momentum, affine) {}
};

// Normalizes over the last axis (Ba, Kiros and Hinton, 2016).
class DESCENT_API LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t normalized_shape, double eps = 1e-5, bool elementwise_affine = true);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& x) override { return layer_norm(x, weight_, bias_, eps_); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const override;
  std::int64_t normalized_shape() const { return features_; }
  double eps() const { return eps_; }
  bool elementwise_affine() const { return weight_.defined(); }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  void reset_own_parameters() override;
  std::int64_t features_;
  double eps_;
  Tensor weight_, bias_;
};

// Looks up rows of a table: index i32 of any shape -> [..., dim]. Weights are initialized from N(0, 1).
class DESCENT_API Embedding : public Module {
 public:
  Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim);
  std::string extra_repr() const override;
  Tensor forward(const Tensor& index) override { return embedding(weight_, index); }
  Shape output_shape(const Shape& input) const override;
  std::int64_t num_embeddings() const { return rows_; }
  std::int64_t embedding_dim() const { return dim_; }
  const Tensor& weight() const { return weight_; }

 private:
  void reset_own_parameters() override;
  std::int64_t rows_, dim_;
  Tensor weight_;
};

}  // namespace descent::nn
