// Linear and Embedding.
#include <fmt/format.h>

#include <cmath>

#include "descent/init.h"
#include "nn/guard.h"
#include "nn/shapes.h"

namespace descent::nn {

Linear::Linear(std::int64_t in_features, std::int64_t out_features, bool bias)
    : Module("Linear"), in_features_(in_features), out_features_(out_features) {
  with_type(type(), [&] { check_linear(in_features, out_features); });
  weight_ = register_parameter("weight", Tensor::empty({out_features, in_features}), {FileLayout::Kind::flattened});
  if (bias) bias_ = register_parameter("bias", Tensor::empty({out_features}));
  reset_own_parameters();
}

void Linear::reset_own_parameters() {
  init::kaiming_uniform(weight_, std::sqrt(5.0));
  if (!bias_.defined()) return;
  const double bound = 1 / std::sqrt(static_cast<double>(in_features_));
  init::uniform(bias_, -bound, bound);
}

std::string Linear::extra_repr() const {
  return fmt::format("in_features={}, out_features={}{}", in_features_, out_features_,
                     bias_.defined() ? "" : ", bias=False");
}

Shape Linear::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return linear_shape(input, in_features_, out_features_); });
}

double Linear::flops(const Shape& input) const {
  const double rows = static_cast<double>(input.numel()) / static_cast<double>(in_features_);
  return rows * static_cast<double>(out_features_) *
         (2 * static_cast<double>(in_features_) + (bias_.defined() ? 1 : 0));
}

Embedding::Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim)
    : Module("Embedding"), rows_(num_embeddings), dim_(embedding_dim) {
  if (rows_ < 1 || dim_ < 1) fail(fmt::format("a table of {} x {}, expected at least 1 x 1", rows_, dim_));
  weight_ = register_parameter("weight", Tensor::empty({rows_, dim_}));
  reset_own_parameters();
}

void Embedding::reset_own_parameters() { init::normal(weight_); }

std::string Embedding::extra_repr() const { return fmt::format("{}, {}", rows_, dim_); }

Shape Embedding::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return embedding_shape(input, dim_); });
}

}  // namespace descent::nn
