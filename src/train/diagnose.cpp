// Finds the first tensor that is not finite, once the NaN guard has detected that there is one.
#include <fmt/format.h>

#include <cmath>

#include "descent/autograd.h"
#include "descent/error.h"
#include "train/trainer_impl.h"

namespace descent::train {
namespace {

struct Place {
  std::int64_t index = -1;
  double value = 0;
};

Place first_nonfinite(const Tensor& tensor) {
  if (!tensor.defined() || !is_floating(tensor.dtype())) return {};
  const std::vector<double> values = tensor.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return {static_cast<std::int64_t>(i), values[i]};
  }
  return {};
}

std::string indices(std::int64_t flat, const Shape& shape) {
  std::string text;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    text = fmt::format("{}{}{}", flat % shape[axis], text.empty() ? "" : ", ", text);
    flat /= shape[axis];
  }
  return text;
}

[[noreturn]] void fail(std::int64_t step, const std::string& layer, std::string_view tensor, const Shape& shape,
                       const Place& place) {
  throw NumericalError(
      fmt::format("step {}: {}: {}[{}] is {}; a smaller learning rate or gradient clipping often helps, the last "
                  "checkpoint is intact",
                  step, layer, tensor, indices(place.index, shape), place.value));
}

std::string layer_name(const std::string& path, const nn::Module& module) {
  return path.empty() ? fmt::format("model ({})", module.type()) : fmt::format("layer {} ({})", path, module.type());
}

struct Search {
  std::int64_t step;

  void parameters(nn::Module& model) const {
    for (const nn::NamedModule& entry : model.named_modules()) {
      if (!entry.module->children().empty()) continue;
      for (const nn::StateEntry& state : leaf_tensors(*entry.module)) {
        const Place place = first_nonfinite(state.tensor);
        if (place.index >= 0)
          fail(step, layer_name(entry.name, *entry.module), state.name, state.tensor.shape(), place);
      }
    }
  }

  // Runs forward layer by layer and fails at the first output that is not finite, for a finite input.
  Tensor forward(const std::string& path, nn::Module& module, const Tensor& x) const {
    if (dynamic_cast<nn::Sequential*>(&module) != nullptr) {
      Tensor y = x;
      for (const auto& [name, child] : module.children()) {
        y = forward(path.empty() ? name : fmt::format("{}.{}", path, name), *child, y);
      }
      return y;
    }
    const Tensor y = module(x);
    const Place place = first_nonfinite(y);
    if (place.index >= 0) fail(step, layer_name(path, module), "output", y.shape(), place);
    return y;
  }

  void gradients(nn::Module& model) const {
    const std::vector<nn::NamedModule> modules = model.named_modules();
    for (auto entry = modules.rbegin(); entry != modules.rend(); ++entry) {  // last layer first, like backward
      if (!entry->module->children().empty()) continue;
      for (const nn::NamedTensor& parameter : entry->module->named_parameters()) {
        const Place place = first_nonfinite(parameter.tensor.grad());
        if (place.index >= 0) {
          fail(step, layer_name(entry->name, *entry->module), "gradient of " + parameter.name, parameter.tensor.shape(),
               place);
        }
      }
    }
  }

  static std::vector<nn::StateEntry> leaf_tensors(const nn::Module& module) {
    std::vector<nn::StateEntry> entries;
    for (const auto& [name, tensor] : module.named_parameters()) entries.push_back({name, tensor, false, {}});
    for (const auto& [name, tensor] : module.named_buffers()) entries.push_back({name, tensor, true, {}});
    return entries;
  }
};

}  // namespace

void throw_nonfinite(std::int64_t step, nn::Module& model, optim::Optimizer& optimizer, const data::Batch& batch,
                     double label_smoothing) {
  const NoGradGuard no_grad;
  const Search search{step};
  const Place input = first_nonfinite(batch.x);
  if (input.index >= 0) fail(step, "the batch", "input", batch.x.shape(), input);
  // Before the parameters: after an update with bad gradients, the gradients are the cause. If only the loss was not
  // finite, they are finite or absent.
  search.gradients(model);
  search.parameters(model);
  const Tensor logits = search.forward("", model, batch.x);
  CrossEntropyOptions options;
  options.label_smoothing = label_smoothing;
  const Tensor loss = cross_entropy(logits, batch.y, options);
  throw NumericalError(fmt::format("step {}: the loss is {}; the optimizer ({}) saw a value that is not finite", step,
                                   loss.item(), optimizer.name()));
}

}  // namespace descent::train
