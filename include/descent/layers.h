// The layers. Input and output shapes have the batch first; images are [N, H, W, C], filters [out, kh, kw, in].
// Names, defaults and semantics are PyTorch's; errors of forward begin with the layer's path inside a Sequential.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "descent/layers_plain.h"
#include "descent/module.h"
#include "descent/ops.h"

namespace descent::nn {

// ---- containers

// Modules one after another, named "0", "1", ... Neighbours that ops can compute in one pass (Linear + ReLU, Conv2d +
// ReLU + MaxPool2d(2), BatchNorm + ReLU + MaxPool2d(2)) are; the outputs are the same bits.
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

  std::vector<Step> steps_;  // made when the children change, so that forward only reads
  bool fusion_ = true;
};

// ---- layers with parameters

// y = x W' + b: x [..., in], W [out, in].
class DESCENT_API Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool bias = true);
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Fuse::none); }
  Tensor forward(const Tensor& x, Fuse fuse) const { return linear(x, weight_, bias_, fuse); }
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

struct Conv2dArgs {
  Pair stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
};

// x [N, H, W, in] -> [N, Ho, Wo, out], Ho = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.
class DESCENT_API Conv2d : public Module {
 public:
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel_size, const Conv2dArgs& args = {});
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Fuse::none); }
  Tensor forward(const Tensor& x, Fuse fuse) const { return conv2d(x, weight_, bias_, options_, fuse); }
  Tensor forward_relu_max_pool2(const Tensor& x) const { return conv2d_relu_max_pool2(x, weight_, bias_, options_); }
  Shape output_shape(const Shape& input) const override;
  double flops(const Shape& input) const override;
  std::int64_t in_channels() const { return in_channels_; }
  std::int64_t out_channels() const { return out_channels_; }
  Pair kernel_size() const { return kernel_; }
  const Conv2dArgs& args() const { return args_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  void reset_own_parameters() override;
  std::int64_t in_channels_, out_channels_;
  Pair kernel_;
  Conv2dArgs args_;
  Conv2dOptions options_;
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
  std::string describe() const override;
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
  Conv2dOptions options_;
  Tensor weight_, bias_;
};

// Over all axes but the last. Training uses the batch's statistics and updates the running ones (the variance
// unbiased); evaluation uses those. BatchNorm1d takes [N, C], BatchNorm2d [N, H, W, C], BatchNorm either.
class DESCENT_API BatchNorm : public Module {
 public:
  explicit BatchNorm(std::int64_t num_features, double eps = 1e-5, double momentum = 0.1, bool affine = true)
      : BatchNorm("BatchNorm", 0, num_features, eps, momentum, affine) {}
  std::string describe() const override;
  Tensor forward(const Tensor& x) override { return forward(x, Fuse::none); }
  Tensor forward(const Tensor& x, Fuse fuse);
  Tensor forward_relu_max_pool2(const Tensor& x);
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
  int rank_;  // of the input with its batch axis; 0: any from 2 on
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

// Over the last axis.
class DESCENT_API LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t normalized_shape, double eps = 1e-5, bool elementwise_affine = true);
  std::string describe() const override;
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

// Rows of a table: index i32 of any shape -> [..., dim]. Weights are N(0, 1).
class DESCENT_API Embedding : public Module {
 public:
  Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim);
  std::string describe() const override;
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
