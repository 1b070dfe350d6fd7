// Sequential: runs its modules in order, neighbours fused where ops have one pass for them. The plan is made when a
// module is added, never in forward, which several threads may call at once; what depends on the mode is decided in the
// layers.
#include <fmt/format.h>

#include <typeinfo>

#include "descent/layers.h"
#include "nn/guard.h"
#include "nn/shapes.h"

namespace descent::nn {
namespace {

enum class Kind : std::uint8_t {
  single,
  linear_relu,
  linear_gelu,
  conv_relu,
  conv_relu_pool,
  norm_relu,
  norm_relu_pool,
};

// A class that is derived from a layer may have another forward: only the layer itself is fused.
template <class Layer>
bool is_exactly(const Module* module) {
  return module != nullptr && typeid(*module) == typeid(Layer);
}

bool is_batch_norm(const Module* module) {
  return is_exactly<BatchNorm>(module) || is_exactly<BatchNorm1d>(module) || is_exactly<BatchNorm2d>(module);
}

// Only the approximation is fused: it is the one that libraries have at the end of a product.
bool is_gelu_tanh(const Module* module) {
  return is_exactly<GELU>(module) && static_cast<const GELU*>(module)->approximate() == Gelu::tanh;
}

bool is_pool2(const Module* module) {
  if (!is_exactly<MaxPool2d>(module)) return false;
  const Pool2dOptions& o = static_cast<const MaxPool2d*>(module)->options();
  return o.kernel_h == 2 && o.kernel_w == 2 && o.stride_h == 2 && o.stride_w == 2 && o.padding_h == 0 &&
         o.padding_w == 0;
}

// "layer 3 (Linear): ..." around an error of the module at `index`; "layer 3.1 (Linear): ..." where it is nested.
[[noreturn]] void rethrow(std::size_t index, const Module& module, const InvalidArgument& error) {
  std::string_view what = error.what();
  std::string text;
  if (what.starts_with("layer ")) {
    text = fmt::format("layer {}.{}", index, what.substr(6));
  } else {
    const std::string own = module.type() + ": ";
    if (what.starts_with(own)) what.remove_prefix(own.size());
    text = fmt::format("layer {} ({}): {}", index, module.type(), what);
  }
  if (dynamic_cast<const NoOutputShape*>(&error) != nullptr) throw NoOutputShape(text);
  throw InvalidArgument(text);
}

}  // namespace

struct Sequential::Step {
  Kind kind;
  std::size_t index;  // of the first module
  Module* module;
};

Sequential::Sequential() : Module("Sequential") {}
Sequential::~Sequential() = default;

Sequential& Sequential::add(std::unique_ptr<Module> module) {
  register_module(std::to_string(size()), std::move(module));
  return *this;
}

Module& Sequential::operator[](std::size_t index) const {
  if (index >= size()) fail(fmt::format("there is no module {}, the last is {}", index, static_cast<int>(size()) - 1));
  return *children()[index].second;
}

Sequential& Sequential::set_fusion(bool on) {
  fusion_ = on;
  children_changed();
  for (const auto& [name, child] : children()) {
    if (auto* nested = dynamic_cast<Sequential*>(child.get())) nested->set_fusion(on);
  }
  return *this;
}

void Sequential::children_changed() {
  steps_.clear();
  const auto at = [this](std::size_t i) { return i < size() ? children()[i].second.get() : nullptr; };
  for (std::size_t i = 0; i < size();) {
    Module* module = at(i);
    const bool relu = fusion_ && is_exactly<ReLU>(at(i + 1));
    const bool pool = relu && is_pool2(at(i + 2));
    Step step{Kind::single, i, module};
    if (relu && is_exactly<Linear>(module)) {
      step.kind = Kind::linear_relu;
    } else if (fusion_ && is_exactly<Linear>(module) && is_gelu_tanh(at(i + 1))) {
      step.kind = Kind::linear_gelu;
    } else if (relu && is_exactly<Conv2d>(module)) {
      step.kind = pool ? Kind::conv_relu_pool : Kind::conv_relu;
    } else if (relu && is_batch_norm(module)) {
      step.kind = pool && !is_exactly<BatchNorm1d>(module) ? Kind::norm_relu_pool : Kind::norm_relu;
    }
    const bool pooled = step.kind == Kind::conv_relu_pool || step.kind == Kind::norm_relu_pool;
    i += step.kind == Kind::single ? 1 : pooled ? 3 : 2;
    steps_.push_back(step);
  }
}

Tensor Sequential::forward(const Tensor& input) {
  Tensor x = input;
  for (const Step& step : steps_) {
    try {
      switch (step.kind) {
        case Kind::single:
          x = step.module->forward(x);
          break;
        case Kind::linear_relu:
          x = static_cast<Linear*>(step.module)->forward(x, Fuse::relu);
          break;
        case Kind::linear_gelu:
          x = static_cast<Linear*>(step.module)->forward(x, Fuse::gelu_tanh);
          break;
        case Kind::conv_relu:
          x = static_cast<Conv2d*>(step.module)->forward(x, Fuse::relu);
          break;
        case Kind::conv_relu_pool:
          x = static_cast<Conv2d*>(step.module)->forward_relu_max_pool2(x);
          break;
        case Kind::norm_relu:
          x = static_cast<BatchNorm*>(step.module)->forward(x, Fuse::relu);
          break;
        case Kind::norm_relu_pool:
          x = static_cast<BatchNorm*>(step.module)->forward_relu_max_pool2(x);
          break;
      }
    } catch (const InvalidArgument& error) {
      rethrow(step.index, *step.module, error);
    }
  }
  return x;
}

Shape Sequential::output_shape(const Shape& input) const {
  Shape shape = input;
  for (std::size_t i = 0; i < size(); ++i) {
    const Module& module = (*this)[i];
    try {
      shape = module.output_shape(shape);
    } catch (const InvalidArgument& error) {
      rethrow(i, module, error);
    }
  }
  return shape;
}

double Sequential::flops(const Shape& input) const {
  Shape shape = input;
  double total = 0;
  for (const auto& [name, module] : children()) {
    total += module->flops(shape);
    shape = module->output_shape(shape);
  }
  return total;
}

}  // namespace descent::nn
