// Nodes, the elements that they save, and the queue of nodes that are ready for backward.
#include <algorithm>

#include "autograd/tape.h"

namespace descent {
namespace {

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void take_inputs(Node& node, std::vector<std::shared_ptr<Node>>& out) {
  for (Edge& edge : node.inputs) {
    if (edge.node) out.push_back(std::move(edge.node));
  }
}

bool earlier(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) { return a->sequence < b->sequence; }

}  // namespace

Node::Node(const char* name, const Tensor& output, std::span<const Tensor* const> sources)
    : op(name), sequence(next_sequence()), backend(&backend_of(output)), shape(output.shape()), dtype(output.dtype()) {
  inputs.reserve(sources.size());
  for (const Tensor* source : sources) {
    Edge& edge = inputs.emplace_back();
    if (!source->defined()) continue;
    if (source->impl()->grad_fn) {
      edge.node = source->impl()->grad_fn;
      edge.node->num_consumers.fetch_add(1, std::memory_order_relaxed);
    } else if (source->impl()->requires_grad) {
      edge.leaf = source->impl();
    }
  }
}

// Default destructors would recurse once per node and overflow the stack on a long graph.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> behind;
  take_inputs(*this, behind);
  while (!behind.empty()) {
    const std::shared_ptr<Node> node = std::move(behind.back());
    behind.pop_back();
    if (node.use_count() == 1) take_inputs(*node, behind);
  }
}

void Saved::refuse() {
  throw InvalidArgument("a tensor that the gradient needs was changed in place after the forward pass");
}

void ReadyQueue::push(std::shared_ptr<Node> node) {
  nodes_.push_back(std::move(node));
  std::push_heap(nodes_.begin(), nodes_.end(), earlier);
}

std::shared_ptr<Node> ReadyQueue::pop() {
  std::pop_heap(nodes_.begin(), nodes_.end(), earlier);
  std::shared_ptr<Node> node = std::move(nodes_.back());
  nodes_.pop_back();
  return node;
}

ReadyQueue::~ReadyQueue() {
  for (const std::shared_ptr<Node>& node : nodes_) {
    node->gradient.reset();
    if (node->gate) node->gate->passed = node->gate->summed = false;
  }
  for (const std::shared_ptr<TensorImpl>& leaf : leaves_) leaf->grad_written = false;
}

}  // namespace descent
