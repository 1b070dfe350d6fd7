// Sequential: runs its modules in order and fuses adjacent ones for which an op has a single pass. Fusion is planned
// when the children change, never in forward, which several threads may call at once; layers handle the mode.
#include <fmt/format.h>

#include <type_traits>
#include <typeinfo>

#include "core/fusion.h"
#include "descent/layers.h"
#include "nn/guard.h"
#include "nn/shapes.h"

namespace descent::nn {
namespace {

// A class derived from a layer may override forward, so only the exact layer type is fused.
template <class Layer>
const Layer* exactly(const Module& module) {
  return typeid(module) == typeid(Layer) ? static_cast<const Layer*>(&module) : nullptr;
}

using Forward = Tensor (*)(Module& module, const Tensor& x, const Epilogue& epilogue);

template <class Layer>
Tensor forward_of(Module& module, const Tensor& x, const Epilogue& epilogue) {
  if constexpr (std::is_same_v<Layer, Linear>) {
    return static_cast<Linear&>(module).forward(x, epilogue.activation);
  } else {
    return static_cast<Layer&>(module).forward(x, epilogue);
  }
}

// The modules whose op takes an epilogue. BatchNorm1d has no images to pool.
struct Head {
  const std::type_info& type;
  Fusible op;
  bool pools;
  Forward forward;
};
const Head kHeads[] = {
    {typeid(Linear), Fusible::linear, false, forward_of<Linear>},
    {typeid(Conv2d), Fusible::conv2d, true, forward_of<Conv2d>},
    {typeid(BatchNorm), Fusible::batch_norm, true, forward_of<BatchNorm>},
    {typeid(BatchNorm1d), Fusible::batch_norm, false, forward_of<BatchNorm>},
    {typeid(BatchNorm2d), Fusible::batch_norm, true, forward_of<BatchNorm>},
};

const Head* head_of(const Module& module) {
  for (const Head& head : kHeads) {
    if (typeid(module) == head.type) return &head;
  }
  return nullptr;
}

// Adds what a module does to the epilogue; false if an epilogue has no place for it.
bool append(Epilogue& epilogue, const Module& module) {
  const bool first = epilogue == Epilogue();
  if (exactly<ReLU>(module) != nullptr && first) {
    epilogue.activation = Activation::relu;
  } else if (const auto* gelu = exactly<GELU>(module); gelu != nullptr && first && gelu->approximate() == Gelu::tanh) {
    epilogue.activation = Activation::gelu_tanh;  // the exact one is no GEMM epilogue of the libraries
  } else if (const auto* pool = exactly<MaxPool2d>(module); pool != nullptr && !epilogue.max_pool) {
    const Pool2dOptions &o = pool->options(), plain;
    if (o.kernel_h != plain.kernel_h || o.kernel_w != plain.kernel_w || o.stride_h != plain.stride_h ||
        o.stride_w != plain.stride_w || o.padding_h != 0 || o.padding_w != 0) {
      return false;
    }
    epilogue.max_pool = true;
  } else {
    return false;
  }
  return true;
}

// Prefixes an error of the module at `index`: "layer 3 (Linear): ...", or "layer 3.1 (Linear): ..." if it is nested.
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
  std::size_t index;  // of the first module
  Module* module;
  const Head* head = nullptr;  // null: the module alone
  Epilogue epilogue;           // of the modules after it that run in the same pass
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
    if (auto* nested = dynamic_cast<Sequential*>(child)) nested->set_fusion(on);
  }
  return *this;
}

void Sequential::children_changed() {
  steps_.clear();
  for (std::size_t i = 0; i < size();) {
    Step step{i, children()[i].second, nullptr, {}};
    std::size_t next = i + 1;
    if (const Head* head = fusion_ ? head_of(*step.module) : nullptr) {
      Epilogue longer;
      for (std::size_t k = i + 1; k < size() && append(longer, *children()[k].second); ++k) {
        if (!fuses(head->op, longer) || (longer.max_pool && !head->pools)) continue;  // a later module may complete it
        step.head = head;
        step.epilogue = longer;
        next = k + 1;
      }
    }
    steps_.push_back(step);
    i = next;
  }
}

Tensor Sequential::forward(const Tensor& input) {
  Tensor x = input;
  for (const Step& step : steps_) {
    try {
      x = step.head != nullptr ? step.head->forward(*step.module, x, step.epilogue) : step.module->forward(x);
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
