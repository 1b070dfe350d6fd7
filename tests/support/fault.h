// Faults planted in backward passes, to prove that the suite detects them: each node of an op in a tensor's graph is
// replaced by one that runs the op's backward function and then corrupts the gradient that it wrote.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/tape.h"

namespace descent::test {

enum class FaultKind : std::uint8_t {
  scale,      // 1.001 times the gradient
  negate,     // the wrong sign
  drop,       // does not write an input's gradient
  overwrite,  // overwrites instead of accumulating
  shift,      // each element takes its left neighbour's value
  zero_last,  // the last element becomes 0
  ignore_dy,  // takes dy as 1, which skips the chain rule
};

struct Fault {
  std::string_view op;
  FaultKind kind = FaultKind::scale;
  std::size_t input = 0;  // the input whose gradient is corrupted
  int count = 0;          // how often the fault was applied
};

inline void corrupt(FaultKind kind, std::vector<double>& gradient) {
  switch (kind) {
    case FaultKind::scale:
      for (double& value : gradient) value *= 1.001;
      break;
    case FaultKind::negate:
      for (double& value : gradient) value = -value;
      break;
    case FaultKind::shift:
      if (gradient.empty()) break;
      std::shift_right(gradient.begin(), gradient.end(), 1);
      gradient.front() = 0;
      break;
    case FaultKind::zero_last:
      if (!gradient.empty()) gradient.back() = 0;
      break;
    case FaultKind::drop:
      std::fill(gradient.begin(), gradient.end(), 0.0);
      break;
    case FaultKind::overwrite:
    case FaultKind::ignore_dy:
      break;  // these don't change single elements
  }
}

class FaultyNode final : public Node {
 public:
  FaultyNode(std::shared_ptr<Node> inner, Fault& fault)
      : Node(inner->op, Tensor::empty(inner->shape, inner->dtype, inner->backend->device), {}),
        inner_(std::move(inner)),
        fault_(fault) {
    sequence = inner_->sequence;
    inputs = std::move(inner_->inputs);
    gate = std::move(inner_->gate);
    num_consumers.store(inner_->num_consumers.load());
  }

  void run(Gradients& gradients) override {
    if (fault_.kind == FaultKind::ignore_dy) {
      gradient.reset();
      ++fault_.count;
      inner_->run(gradients);
      return;
    }
    if (fault_.input >= inputs.size() || !inputs[fault_.input]) return inner_->run(gradients);
    const Edge edge = inputs[fault_.input];
    const std::optional<std::vector<double>> before = values_of(edge);
    inner_->run(gradients);
    std::optional<std::vector<double>> after = values_of(edge);
    if (!after) return;
    ++fault_.count;
    std::vector<double> wrong = *after;
    for (std::size_t i = 0; before && i < wrong.size(); ++i) wrong[i] -= (*before)[i];
    corrupt(fault_.kind, wrong);
    const bool keep = before && fault_.kind != FaultKind::overwrite;
    for (std::size_t i = 0; keep && i < wrong.size(); ++i) wrong[i] += (*before)[i];
    Tensor to = destination(edge);
    to.copy_from(Tensor::from(wrong, to.shape()));
    if (edge.leaf && !before && fault_.kind == FaultKind::drop) edge.leaf->grad_written = false;
  }
  void release_saved() noexcept override { inner_->release_saved(); }

 private:
  static Tensor destination(const Edge& edge) {
    if (!edge.node) return Tensor(edge.leaf->grad);
    return Tensor(std::make_shared<TensorImpl>(edge.node->gradient, 0, edge.node->shape, edge.node->dtype));
  }
  // The gradient that is there; none if it was not written yet.
  static std::optional<std::vector<double>> values_of(const Edge& edge) {
    if (edge.node ? edge.node->gradient == nullptr : !edge.leaf->grad_written) return std::nullopt;
    return destination(edge).to_vector<double>();
  }

  std::shared_ptr<Node> inner_;
  Fault& fault_;
};

// Plants the fault in every node of its op from which y was computed. It must live until backward.
inline void plant(Fault& fault, const Tensor& y) {
  std::map<Node*, std::shared_ptr<Node>> replaced;
  const auto replace = [&](const auto& self, std::shared_ptr<Node>& node) -> void {
    if (!node) return;
    const auto [known, fresh] = replaced.emplace(node.get(), node);
    if (fresh) {
      for (Edge& edge : node->inputs) self(self, edge.node);
      if (node->op == fault.op) known->second = std::make_shared<FaultyNode>(node, fault);
    }
    node = known->second;
  };
  replace(replace, y.impl()->grad_fn);
}

}  // namespace descent::test
