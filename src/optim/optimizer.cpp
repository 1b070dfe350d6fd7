// The base of all optimizers: segments to update, step numbers, the learning rate on the device, and state to save. As
// in PyTorch, a parameter without a gradient is skipped and keeps its step number; parameters with equal step numbers
// form a group, so that normally one number and one launch serve them all.
#include "descent/optim.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/tensor_impl.h"
#include "optim/rule.h"

namespace descent::optim {
namespace {

void check_state(const nn::NamedTensor& wanted, const std::map<std::string, Tensor>& found) {
  const auto it = found.find(wanted.name);
  if (it == found.end()) throw InvalidArgument(fmt::format("optimizer: the state has no \"{}\"", wanted.name));
  const Tensor& tensor = it->second;
  if (tensor.shape() != wanted.tensor.shape() || tensor.dtype() != wanted.tensor.dtype()) {
    throw InvalidArgument(fmt::format("optimizer: \"{}\" is {} {}, expected {} {}", wanted.name,
                                      to_string(tensor.dtype()), to_string(tensor.shape()),
                                      to_string(wanted.tensor.dtype()), to_string(wanted.tensor.shape())));
  }
}

// `size` elements of a flat tensor, from `begin` on.
View part_of(const Tensor& flat, std::int64_t begin, std::int64_t size) {
  if (!flat.defined()) return {};
  const std::size_t bytes = static_cast<std::size_t>(begin) * size_of(flat.dtype());
  return {flat.impl()->data() + bytes, Shape{size}, flat.dtype()};
}

}  // namespace

Optimizer::Optimizer(std::string name, std::vector<nn::NamedTensor> parameters, double lr, const Rule& rule,
                     const std::vector<std::string>& states)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      rule_(std::make_unique<Rule>(rule)),
      group_of_(parameters_.slices().size(), 0),
      lr_(lr) {
  const Device device = parameters_.device();
  const Shape each{static_cast<std::int64_t>(group_of_.size())};
  lr_on_device_ = Tensor::full({1}, lr, DType::f64, device);
  steps_ = Tensor::zeros(each, DType::f64, device);
  nonfinite_ = Tensor::zeros({1}, DType::i32, device);
  coefficients_ = Tensor::zeros({each[0], kStepCoefficients}, DType::f64, device);
  for (const std::string& state : states) {
    states_.push_back({"optimizer." + state, Tensor::zeros({parameters_.size()}, parameters_.dtype(), device)});
  }
  set_lr(lr);
  note_offsets();
}

Optimizer::~Optimizer() = default;

void Optimizer::set_lr(double lr) {
  if (!(lr >= 0)) throw InvalidArgument(fmt::format("{}: lr is {}, expected 0 or more", name_, lr));
  if (lr != lr_) lr_on_device_.fill(lr);
  lr_ = lr;
}

void Optimizer::note_offsets() {
  offsets_.clear();
  for (const auto& slice : parameters_.slices()) offsets_.push_back(slice.offset);
}

// Moves the state after the parameters to another device or element type.
void Optimizer::follow_parameters() {
  parameters_.refresh();
  const Device device = parameters_.device();
  const bool same_type = states_.empty() || states_[0].tensor.dtype() == parameters_.dtype();
  if (steps_.device() == device && same_type) return;
  const std::vector<nn::FlatParameters::Slice>& slices = parameters_.slices();
  std::vector<Tensor> moved;  // allocated before any assignment: if memory runs out, nothing has changed
  for (const auto& [name, tensor] : states_) {
    moved.push_back(Tensor::zeros({parameters_.size()}, parameters_.dtype(), device));
    for (std::size_t i = 0; i < slices.size(); ++i) {
      moved.back().narrow(0, slices[i].offset, slices[i].size).copy_from(tensor.narrow(0, offsets_[i], slices[i].size));
    }
  }
  const Tensor lr = lr_on_device_.to(device), steps = steps_.to(device), nonfinite = nonfinite_.to(device),
               coefficients = coefficients_.to(device);
  for (std::size_t i = 0; i < moved.size(); ++i) states_[i].tensor = moved[i];
  lr_on_device_ = lr;
  steps_ = steps;
  nonfinite_ = nonfinite;
  coefficients_ = coefficients;
  note_offsets();
}

// Splits groups that are updated only in part: the members left out form a new group with the same step number.
void Optimizer::regroup(const std::vector<bool>& updated) {
  const int before = groups_;
  for (int group = 0; group < before; ++group) {
    int target = -1;
    bool kept = false;
    for (std::size_t i = 0; i < group_of_.size(); ++i) kept = kept || (group_of_[i] == group && updated[i]);
    if (!kept) continue;
    for (std::size_t i = 0; i < group_of_.size(); ++i) {
      if (group_of_[i] != group || updated[i]) continue;
      if (target < 0) {
        target = groups_++;
        steps_.narrow(0, target, 1).copy_from(steps_.narrow(0, group, 1));
      }
      group_of_[i] = target;
    }
  }
}

void Optimizer::step() {
  follow_parameters();
  const std::vector<nn::FlatParameters::Segment> segments = parameters_.segments();
  if (segments.empty()) return;
  const bool all = segments.size() == 1 && segments[0].last - segments[0].first == static_cast<int>(group_of_.size());
  if (!all) {
    std::vector<bool> updated(group_of_.size(), false);
    for (const auto& segment : segments) {
      std::fill(updated.begin() + segment.first, updated.begin() + segment.last, true);
    }
    regroup(updated);
  }
  Optim& kernels = *backend_of(parameters_.data()).optim;
  std::vector<bool> advanced(static_cast<std::size_t>(groups_), false);
  const auto& slices = parameters_.slices();
  for (const auto& segment : segments) {
    for (int first = segment.first; first < segment.last;) {
      const int group = group_of_[static_cast<std::size_t>(first)];
      int last = first + 1;
      while (last < segment.last && group_of_[static_cast<std::size_t>(last)] == group) ++last;
      const View number = part_of(steps_, group, 1);
      const View coefficients = part_of(coefficients_, group * kStepCoefficients, kStepCoefficients);
      const std::int64_t begin = slices[static_cast<std::size_t>(first)].offset;
      const std::int64_t end = last == segment.last ? segment.end : slices[static_cast<std::size_t>(last)].offset;
      if (!advanced[static_cast<std::size_t>(group)]) {
        kernels.advance(rule_->rule, cview(lr_on_device_), number, coefficients);
      }
      advanced[static_cast<std::size_t>(group)] = true;
      const auto slice = [&](const Tensor& flat) { return part_of(flat, begin, end - begin); };
      std::vector<View> states;
      for (const nn::NamedTensor& state : states_) states.push_back(slice(state.tensor));
      kernels.update(rule_->rule, {cview(lr_on_device_), number, view(nonfinite_), coefficients},
                     slice(parameters_.data()), slice(parameters_.grad()), states);
      first = last;
    }
  }
  mark_changed(parameters_.data());
}

std::int64_t Optimizer::step_count() const {
  const std::vector<double> numbers = steps_.to_vector<double>();
  const auto most = std::max_element(numbers.begin(), numbers.begin() + groups_);
  return static_cast<std::int64_t>(*most);
}

bool Optimizer::found_nonfinite() {
  const bool found = nonfinite_.item() != 0;
  if (found) nonfinite_.fill(0);
  return found;
}

std::vector<nn::NamedTensor> Optimizer::state_dict() {
  follow_parameters();
  std::vector<nn::NamedTensor> out = states_;
  const std::vector<double> numbers = steps_.to_vector<double>();
  std::vector<double> each;
  for (const int group : group_of_) each.push_back(numbers[static_cast<std::size_t>(group)]);
  out.push_back({"optimizer.step", Tensor::from(each, {static_cast<std::int64_t>(each.size())})});
  return out;
}

void Optimizer::load_state_dict(const std::vector<nn::NamedTensor>& state) {
  follow_parameters();
  std::map<std::string, Tensor> found;
  for (const auto& [name, tensor] : state) found.emplace(name, tensor);
  const nn::NamedTensor numbers{"optimizer.step", steps_};
  for (const auto& wanted : states_) check_state(wanted, found);
  check_state(numbers, found);
  const std::vector<double> each = found.at(numbers.name).to_vector<double>();
  for (const double number : each) {
    if (number >= 0 && number == std::floor(number) && number < 0x1p53) continue;
    throw InvalidArgument(fmt::format("optimizer: \"{}\" has a {}, expected whole numbers", numbers.name, number));
  }
  for (auto& [name, tensor] : states_) tensor.copy_from(found.at(name));
  std::vector<double> distinct;
  for (std::size_t i = 0; i < each.size(); ++i) {
    const auto it = std::find(distinct.begin(), distinct.end(), each[i]);
    group_of_[i] = static_cast<int>(it - distinct.begin());
    if (it == distinct.end()) distinct.push_back(each[i]);
  }
  groups_ = static_cast<int>(distinct.size());
  distinct.resize(each.size(), 0);
  steps_.copy_from(Tensor::from(distinct, steps_.shape()));
}

}  // namespace descent::optim
