// BatchNorm (one implementation for every rank) and LayerNorm.
#include <fmt/format.h>

#include "core/tensor_impl.h"
#include "descent/init.h"
#include "nn/guard.h"
#include "nn/shapes.h"

namespace descent::nn {

BatchNorm::BatchNorm(std::string type_name, int rank, std::int64_t num_features, double eps, double momentum,
                     bool affine)
    : Module(std::move(type_name)), rank_(rank), num_features_(num_features), eps_(eps), momentum_(momentum) {
  with_type(type(), [&] { check_norm(num_features, eps, momentum); });
  const FileLayout layout{FileLayout::Kind::flattened};
  if (affine) {
    weight_ = register_parameter("weight", Tensor::ones({num_features}), layout);
    bias_ = register_parameter("bias", Tensor::zeros({num_features}), layout);
  }
  running_mean_ = register_buffer("running_mean", Tensor::zeros({num_features}), layout);
  running_var_ = register_buffer("running_var", Tensor::ones({num_features}), layout);
  num_batches_tracked_ = register_buffer("num_batches_tracked", Tensor::zeros(Shape(), DType::i32));
}

void BatchNorm::reset_own_parameters() {
  if (weight_.defined()) {
    init::constant(weight_, 1);
    init::zeros(bias_);
  }
  running_mean_.fill(0);
  running_var_.fill(1);
  num_batches_tracked_.fill(0);
}

std::string BatchNorm::extra_repr() const {
  return fmt::format("{}, eps={}, momentum={}{}", num_features_, eps_, momentum_, affine() ? "" : ", affine=False");
}

// Checks the rank, and counts the batch in training.
BatchNormOptions BatchNorm::begin(const Tensor& x) {
  if (rank_ != 0 && x.rank() != rank_) {
    fail(fmt::format("input has shape {}, expects {}", descent::to_string(x.shape()),
                     rank_ == 2 ? "[N, C]" : "[N, H, W, C]"));
  }
  if (is_training()) {
    backend_of(num_batches_tracked_).random->advance(view_as(num_batches_tracked_, {1}));
    mark_changed(num_batches_tracked_);
  }
  return {is_training(), momentum_, eps_};
}

Tensor BatchNorm::forward(const Tensor& x, const Epilogue& epilogue) {
  const BatchNormOptions options = begin(x);
  return batch_norm(x, weight_, bias_, running_mean_, running_var_, options, epilogue);
}

Shape BatchNorm::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return norm_shape(input, num_features_, rank_ == 0 ? 0 : rank_ - 1); });
}

double BatchNorm::flops(const Shape& input) const { return 2 * static_cast<double>(input.numel()); }

FeatureOrder BatchNorm::features_after(const FeatureOrder& before, const std::string&) const { return before; }

LayerNorm::LayerNorm(std::int64_t normalized_shape, double eps, bool elementwise_affine)
    : Module("LayerNorm"), features_(normalized_shape), eps_(eps) {
  with_type(type(), [&] { check_norm(normalized_shape, eps, 0); });
  if (!elementwise_affine) return;
  const FileLayout layout{FileLayout::Kind::flattened};
  weight_ = register_parameter("weight", Tensor::ones({features_}), layout);
  bias_ = register_parameter("bias", Tensor::zeros({features_}), layout);
}

void LayerNorm::reset_own_parameters() {
  if (!weight_.defined()) return;
  init::constant(weight_, 1);
  init::zeros(bias_);
}

std::string LayerNorm::extra_repr() const {
  return fmt::format("{}, eps={}{}", features_, eps_, weight_.defined() ? "" : ", elementwise_affine=False");
}

Shape LayerNorm::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return norm_shape(input, features_, 0); });
}

double LayerNorm::flops(const Shape& input) const { return 8 * static_cast<double>(input.numel()); }

FeatureOrder LayerNorm::features_after(const FeatureOrder& before, const std::string&) const { return before; }

}  // namespace descent::nn
