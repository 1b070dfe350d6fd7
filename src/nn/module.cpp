// The tree of modules: registration, names, modes, moves and seeds.
#include "descent/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/tensor_impl.h"
#include "descent/init.h"
#include "nn/shapes.h"
#include "nn/streams.h"

namespace descent::nn {
namespace {

constinit thread_local int eval_guards = 0;  // alive on this thread

// Moves the tensor, for all of its handles, to another device and type, along with a gradient that has been written.
void move_tensor(const Tensor& tensor, Device device, DType dtype) {
  TensorImpl& impl = *tensor.impl();
  const Tensor moved = tensor.detach().to(device).to(dtype);
  if (moved.impl()->storage == impl.storage) return;
  if (impl.grad) {
    impl.grad = impl.grad_written ? Tensor(impl.grad).to(device).to(dtype).impl() : nullptr;
  }
  impl.storage = moved.impl()->storage;
  impl.offset = moved.impl()->offset;
  impl.dtype = dtype;
}

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

}  // namespace

EvalGuard::EvalGuard() { ++eval_guards; }
EvalGuard::~EvalGuard() { --eval_guards; }
bool EvalGuard::active() { return eval_guards > 0; }

bool Module::is_training() const { return training_ && !EvalGuard::active(); }

Module::Module(std::string type) : type_(std::move(type)) {}
Module::~Module() = default;

std::string Module::extra_repr() const { return {}; }

Tensor Module::forward(const Tensor&) {
  fail("it has no forward(Tensor), which Sequential and the Trainer call; it may have functions of its own");
}

Shape Module::output_shape(const Shape&) const {
  throw NoOutputShape(fmt::format("{}: it does not say which shape its output has", type_));
}

double Module::flops(const Shape&) const { return 0; }

FeatureOrder Module::features_after(const FeatureOrder& before, const std::string& path) const {
  FeatureOrder order = before;
  for (const auto& [name, child] : children_) order = child->features_after(order, join(path, name));
  return children_.empty() ? FeatureOrder{} : order;
}

void Module::reset_own_parameters() {}
void Module::seed_own(std::uint64_t, std::uint32_t&) {}
void Module::children_changed() {}

void Module::fail(const std::string& message) const { throw InvalidArgument(fmt::format("{}: {}", type_, message)); }

Tensor Module::enter(std::vector<Entry>& entries, std::string name, const Tensor& tensor, FileLayout layout) {
  const auto taken = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const Entry& entry) { return entry.name == name; });
  };
  if (name.empty() || name.find('.') != std::string::npos || taken(parameters_) || taken(buffers_)) {
    fail(fmt::format("\"{}\" can't be the name of a tensor: it is empty, has a dot, or is there already", name));
  }
  if (!tensor.defined()) fail(fmt::format("the tensor \"{}\" is undefined", name));
  entries.push_back({std::move(name), tensor, layout});
  return tensor;
}

Tensor Module::register_parameter(std::string name, const Tensor& tensor, FileLayout layout) {
  Tensor parameter = enter(parameters_, std::move(name), tensor, layout);
  return parameter.set_requires_grad(true);
}

Tensor Module::register_buffer(std::string name, const Tensor& tensor, FileLayout layout) {
  return enter(buffers_, std::move(name), tensor, layout);
}

Tensor Module::register_checkpoint_state(std::string name, const Tensor& tensor) {
  for (Entry& entry : checkpoint_state_) {
    if (entry.name == name && tensor.defined()) return entry.tensor = tensor;
  }
  return enter(checkpoint_state_, std::move(name), tensor, {});
}

Module& Module::register_module(std::string name, std::unique_ptr<Module> module) {
  if (!module) fail(fmt::format("the child \"{}\" is null", name));
  Module& child = *module;
  owned_.push_back(std::move(module));
  try {
    register_module(std::move(name), child);
  } catch (...) {
    owned_.pop_back();
    throw;
  }
  return child;
}

void Module::register_module(std::string name, Module& member) {
  for (const NamedModule& below : member.named_modules()) {
    if (below.module == this) fail(fmt::format("the child \"{}\" contains this module", name));
  }
  const auto same = [&](const auto& child) { return child.first == name; };
  if (name.empty() || name.find('.') != std::string::npos || std::any_of(children_.begin(), children_.end(), same)) {
    fail(fmt::format("\"{}\" can't be the name of a child: it is empty, has a dot, or is there already", name));
  }
  children_.emplace_back(std::move(name), &member);
  children_changed();
}

void Module::collect_modules(const std::string& prefix, std::vector<NamedModule>& out) const {
  out.push_back({prefix, const_cast<Module*>(this)});
  for (const auto& [name, child] : children_) child->collect_modules(join(prefix, name), out);
}

std::vector<NamedModule> Module::named_modules() const {
  std::vector<NamedModule> modules;
  collect_modules("", modules);
  return modules;
}

Module& Module::find(std::string_view path) const {
  for (const auto& [name, module] : named_modules()) {
    if (name == path) return *module;
  }
  fail(fmt::format("there is no module \"{}\"", path));
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> out;
  std::set<const TensorImpl*> seen;
  for (const auto& [prefix, module] : named_modules()) {
    for (const Entry& entry : module->parameters_) {
      if (seen.insert(entry.tensor.impl().get()).second) out.push_back({join(prefix, entry.name), entry.tensor});
    }
  }
  return out;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> out;
  for (auto& [name, tensor] : named_parameters()) out.push_back(tensor);
  return out;
}

std::vector<NamedTensor> Module::named_buffers() const {
  std::vector<NamedTensor> out;
  for (const auto& [prefix, module] : named_modules()) {
    for (const Entry& entry : module->buffers_) out.push_back({join(prefix, entry.name), entry.tensor});
  }
  return out;
}

std::vector<NamedTensor> Module::checkpoint_state() const {
  std::vector<NamedTensor> out;
  for (const auto& [prefix, module] : named_modules()) {
    for (const Entry& entry : module->checkpoint_state_) out.push_back({join(prefix, entry.name), entry.tensor});
  }
  return out;
}

void Module::collect_state(const std::string& prefix, FeatureOrder& order, std::vector<StateEntry>& out) const {
  const auto layout_of = [&](const Entry& entry) -> FileLayout {
    if (entry.layout.kind != FileLayout::Kind::flattened || entry.layout.channels != 0) return entry.layout;
    if (order.kind == FeatureOrder::Kind::unknown) {
      throw InvalidArgument(fmt::format(
          "{} ({}): the file layout of {} needs the input shape of layer {} (Flatten), which has not been seen: call "
          "output_shape(shape) of the model, or forward, first",
          prefix.empty() ? "the model" : "layer " + prefix, type_, entry.name, order.flatten));
    }
    if (order.kind == FeatureOrder::Kind::plain) return {};
    const std::int64_t last = entry.tensor.size(-1);
    if (last != order.height * order.width * order.channels) {
      throw InvalidArgument(fmt::format("layer {} ({}): {} has {} features, layer {} (Flatten) saw an image {}", prefix,
                                        type_, entry.name, last, order.flatten,
                                        descent::to_string(Shape{order.height, order.width, order.channels})));
    }
    return {FileLayout::Kind::flattened, order.height, order.width, order.channels};
  };
  for (const Entry& entry : parameters_) {
    out.push_back({join(prefix, entry.name), entry.tensor, false, layout_of(entry)});
  }
  for (const Entry& entry : buffers_) {
    out.push_back({join(prefix, entry.name), entry.tensor, true, layout_of(entry)});
  }
  if (children_.empty()) {
    order = features_after(order, prefix);
    return;
  }
  for (const auto& [name, child] : children_) child->collect_state(join(prefix, name), order, out);
}

std::vector<StateEntry> Module::state_dict() const {
  std::vector<StateEntry> out;
  FeatureOrder order;
  collect_state("", order, out);
  return out;
}

std::int64_t Module::parameter_count(bool trainable_only) const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : named_parameters()) {
    if (!trainable_only || tensor.requires_grad()) count += tensor.numel();
  }
  return count;
}

Module& Module::train(bool on) {
  training_ = on;
  for (const auto& [name, child] : children_) child->train(on);
  return *this;
}

void Module::move(Device device, DType dtype, bool change_dtype) {
  for (const auto& [name, module] : named_modules()) {
    for (const auto* entries : {&module->parameters_, &module->buffers_, &module->checkpoint_state_}) {
      for (const Entry& entry : *entries) {
        const Tensor& tensor = entry.tensor;
        if (!change_dtype) {
          move_tensor(tensor, device, tensor.dtype());
        } else if (is_floating(tensor.dtype())) {
          move_tensor(tensor, tensor.device(), dtype);
        }
      }
    }
  }
}

Module& Module::to(Device device) {
  backend(device);  // throws for an unavailable device before anything has moved
  move(device, DType::f32, false);
  return *this;
}

Module& Module::to(DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f64)
    fail(fmt::format("to: {}, expected f32 or f64", descent::to_string(dtype)));
  move(Device::cpu(), dtype, true);
  return *this;
}

Module& Module::freeze() {
  for (auto& [name, tensor] : named_parameters()) tensor.set_requires_grad(false);
  return *this;
}

Module& Module::unfreeze() {
  for (auto& [name, tensor] : named_parameters()) tensor.set_requires_grad(true);
  return *this;
}

void Module::zero_grad() {
  for (auto& [name, tensor] : named_parameters()) tensor.zero_grad();
}

Module& Module::seed(std::uint64_t seed) {
  std::uint32_t stream = kDropoutStream;
  for (const auto& [name, module] : named_modules()) module->seed_own(seed, stream);
  return *this;
}

Module& Module::reset_parameters(std::uint64_t seed) {
  const init::SeedScope scope(seed);
  for (const auto& [name, module] : named_modules()) module->reset_own_parameters();
  return *this;
}

}  // namespace descent::nn
