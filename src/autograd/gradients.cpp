// Destinations of gradients: a leaf's own buffer, or a buffer that lives until the input's node has run.
#include <algorithm>

#include "autograd/tape.h"

namespace descent {

Tensor Gradients::dy_tensor() {
  if (!node_.gradient) {
    node_.gradient = std::make_shared<Storage>(*node_.backend, node_.bytes());
    backend().elementwise->fill({node_.gradient->data, node_.shape, node_.dtype}, 1);
  }
  return Tensor(std::make_shared<TensorImpl>(node_.gradient, 0, node_.shape, node_.dtype));
}

ConstView Gradients::dy(const Shape& shape) {
  if (!node_.gradient) dy_tensor();
  return {node_.gradient->data, shape, node_.dtype};
}

ConstView Gradients::dy() { return dy(node_.shape); }

Grad Gradients::place_of_node(const std::shared_ptr<Node>& node) {
  if (node->consumed) throw InvalidArgument("this part of the graph was already consumed by a previous backward()");
  Write write = Write::accumulate;
  if (!node->gradient) {
    write = Write::overwrite;
    node->gradient = std::make_shared<Storage>(*node->backend, node->bytes());
    ready_.push(node);
  } else if (node->gradient.use_count() > 1) {
    auto own = std::make_shared<Storage>(*node->backend, node->bytes());
    node->backend->runtime->copy(own->data, node->gradient->data, node->bytes());
    node->gradient = std::move(own);
  }
  return {{node->gradient->data, node->shape, node->dtype}, write};
}

Grad Gradients::place(const Edge& edge) {
  if (edge.node) return place_of_node(edge.node);
  if (!edge.leaf) return {};
  TensorImpl& leaf = *edge.leaf;
  if (!leaf.grad) grad_buffer(Tensor(edge.leaf));
  const Write write = leaf.grad_written ? Write::accumulate : Write::overwrite;
  if (write == Write::overwrite) ready_.note_first_gradient(edge.leaf);
  leaf.grad_written = true;
  return {{leaf.grad->data(), leaf.shape, leaf.dtype}, write};
}

Grad Gradients::input_grad(std::size_t input) {
  if (!wants(input)) return {};
  const bool again = handed_out(node_.inputs[input]);
  handed_.push_back(input);
  if (!again) return place(node_.inputs[input]);
  apart_.emplace_back(input, Tensor::empty(shape_of(input), type_of(input), backend().device));
  return {view(apart_.back().second), Write::overwrite};
}

bool Gradients::handed_out(const Edge& edge) const {
  return std::any_of(handed_.begin(), handed_.end(), [&](std::size_t other) {
    return node_.inputs[other].node == edge.node && node_.inputs[other].leaf == edge.leaf;
  });
}

Grad Gradients::input_grad(std::size_t input, const Shape& shape) {
  Grad grad = input_grad(input);
  grad.view.shape = shape;
  return grad;
}

bool Gradients::take_over(std::size_t input, const std::shared_ptr<Storage>& elements) {
  const std::shared_ptr<Node>& node = node_.inputs[input].node;
  if (!node || node->gradient || node->consumed || node->backend != node_.backend) return false;
  node->gradient = elements;
  ready_.push(node);
  return true;
}

void Gradients::write(std::size_t input, ConstView elements) {
  const Grad to = input_grad(input);
  elements.shape = to.view.shape;
  backend().elementwise->axpby(1, elements, to.write == Write::accumulate ? 1 : 0, to.view);
}

void Gradients::forward_grad(std::size_t input) {
  if (!wants(input)) return;
  const ConstView elements = dy();
  if (!take_over(input, node_.gradient)) write(input, elements);
}

void Gradients::donate(std::size_t input, Saved& saved) {
  if (!wants(input)) return;
  const ConstView elements = saved;
  const bool exclusive = saved.storage_.use_count() == 1 && elements.data == saved.storage_->data;
  if (!exclusive || !take_over(input, saved.storage_)) write(input, elements);
}

Gradients::Through Gradients::through(std::size_t input) {
  const std::shared_ptr<Node>& node = node_.inputs[input].node;
  if (!node || !node->gate || node->gate->activation == Activation::none || node->num_consumers != 1 ||
      node->gradient || node->consumed || node->backend != node_.backend) {
    return {};
  }
  Through to{node->gate.get(), place_of_node(node), {}};
  const Edge& bias = node->inputs[to.gate->bias];
  to.gate->passed = true;
  to.gate->summed = bias.leaf != nullptr && bias.leaf->dtype == node->dtype;
  if (to.gate->summed) to.sums = place(bias);
  return to;
}

void Gradients::finish() {
  for (auto& [input, gradient] : apart_) {
    const Grad to = place(node_.inputs[input]);
    backend().elementwise->axpby(1, cview(gradient), to.write == Write::accumulate ? 1 : 0, to.view);
  }
}

}  // namespace descent
