// Where gradients go: a leaf's own buffer, or a buffer that lives until the input's node has run.
#include <algorithm>

#include "autograd/fault.h"
#include "autograd/tape.h"

namespace descent {

Gradients::Gradients(Node& node, Pending& pending) : node_(node), pending_(pending) {
  if (!faulty() || fault::injected->kind != fault::Kind::ignore_dy) return;
  node_.gradient.reset();
  ++fault::injected->count;
}

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
  if (node->spent) throw InvalidArgument("this part of the tape was already gone through by an earlier backward pass");
  Write write = Write::accumulate;
  if (!node->gradient) {
    write = Write::overwrite;
    node->gradient = std::make_shared<Storage>(*node->backend, node->bytes());
    pending_.push(node);
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
  if (write == Write::overwrite) pending_.note_first_gradient(edge.leaf);
  leaf.grad_written = true;
  return {{leaf.grad->data(), leaf.shape, leaf.dtype}, write};
}

Grad Gradients::wanted(std::size_t input) {
  if (!wants(input)) return {};
  const bool hurt = faulty() && fault::injected->input == input;
  const bool again = handed_out(node_.inputs[input]);
  handed_.push_back(input);
  if (!hurt && !again) return place(node_.inputs[input]);
  auto& temporaries = hurt ? faulty_ : apart_;
  temporaries.emplace_back(input, Tensor::empty(shape_of(input), type_of(input), backend().device));
  return {view(temporaries.back().second), Write::overwrite};
}

bool Gradients::handed_out(const Edge& edge) const {
  return std::any_of(handed_.begin(), handed_.end(), [&](std::size_t other) {
    return node_.inputs[other].node == edge.node && node_.inputs[other].leaf == edge.leaf;
  });
}

Grad Gradients::wanted(std::size_t input, const Shape& shape) {
  Grad grad = wanted(input);
  grad.view.shape = shape;
  return grad;
}

bool Gradients::take_over(std::size_t input, const std::shared_ptr<Storage>& elements) {
  const std::shared_ptr<Node>& node = node_.inputs[input].node;
  if (faulty() || !node || node->gradient || node->spent || node->backend != node_.backend) return false;
  node->gradient = elements;
  pending_.push(node);
  return true;
}

void Gradients::write(std::size_t input, ConstView elements) {
  const Grad to = wanted(input);
  elements.shape = to.view.shape;
  backend().elementwise->axpby(1, elements, to.write == Write::accumulate ? 1 : 0, to.view);
}

void Gradients::pass(std::size_t input) {
  if (!wants(input)) return;
  const ConstView elements = dy();
  if (!take_over(input, node_.gradient)) write(input, elements);
}

void Gradients::give(std::size_t input, Saved& saved) {
  if (!wants(input)) return;
  const ConstView elements = saved;
  const bool exclusive = saved.storage_.use_count() == 1 && elements.data == saved.storage_->data;
  if (!exclusive || !take_over(input, saved.storage_)) write(input, elements);
}

Gradients::Through Gradients::through(std::size_t input) {
  const std::shared_ptr<Node>& node = node_.inputs[input].node;
  if (fault::injected != nullptr || !node || !node->gate || node->gate->activation == Activation::none ||
      node->uses != 1 || node->gradient || node->spent || node->backend != node_.backend) {
    return {};
  }
  Through to{node->gate.get(), place_of_node(node), {}};
  const Edge& bias = node->inputs[to.gate->bias];
  to.gate->passed = true;
  to.gate->summed = bias.leaf != nullptr && bias.leaf->dtype == node->dtype;
  if (to.gate->summed) to.sums = place(bias);
  return to;
}

bool Gradients::faulty() const { return fault::injected != nullptr && fault::injected->op == node_.op; }

void Gradients::finish() {
  for (auto& [input, gradient] : faulty_) {
    const fault::Kind kind = fault::injected->kind;
    ++fault::injected->count;
    if (kind == fault::Kind::drop) continue;
    std::vector<double> values = gradient.to_vector<double>();
    fault::apply(kind, values);
    const Tensor hurt = Tensor::from(values, gradient.shape(), gradient.device()).to(gradient.dtype());
    const Grad to = place(node_.inputs[input]);
    const bool accumulate = to.write == Write::accumulate && kind != fault::Kind::overwrite;
    backend().elementwise->axpby(1, cview(hurt), accumulate ? 1 : 0, to.view);
  }
  for (auto& [input, gradient] : apart_) {
    const Grad to = place(node_.inputs[input]);
    backend().elementwise->axpby(1, cview(gradient), to.write == Write::accumulate ? 1 : 0, to.view);
  }
}

}  // namespace descent
