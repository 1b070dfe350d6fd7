// Activations and dropout.
#include <fmt/format.h>

#include "core/tensor_impl.h"
#include "descent/autograd.h"
#include "descent/init.h"
#include "nn/guard.h"
#include "nn/shapes.h"
#include "nn/text.h"

namespace descent::nn {

FeatureOrder ElementwiseLayer::features_after(const FeatureOrder& before, const std::string&) const { return before; }

std::string LeakyReLU::extra_repr() const { return fmt::format("negative_slope={}", slope_); }

std::string GELU::extra_repr() const { return approximate_ == Gelu::tanh ? "approximate=tanh" : ""; }

Dropout::Dropout(double p) : ElementwiseLayer("Dropout", 2), p_(p), generator_(0) {
  with_type(type(), [&] { check_dropout(p); });
  std::uint32_t stream = init::next_dropout_stream();
  seed_own(init::current_seed(), stream);
}

void Dropout::seed_own(std::uint64_t seed, std::uint32_t& next_stream) {
  generator_ = Generator(seed, next_stream++, generator_.counter().device());
  register_checkpoint_state("calls", generator_.counter());
}

std::string Dropout::extra_repr() const { return fmt::format("p={}", p_); }

Tensor Dropout::forward(const Tensor& x) { return is_training() && p_ > 0 ? dropout(x, p_, generator_) : x; }

}  // namespace descent::nn
