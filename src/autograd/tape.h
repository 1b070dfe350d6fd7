// The tape: one Node for each recorded op, holding how to go back and where its inputs came from. Rules: a node saves
// elements, never tensors that know their producer, so there are no cycles; nodes carry rising sequence numbers, so
// that backward visits them in descending order without recursion; each node is gone through once.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/tensor_impl.h"

namespace descent {

class Gradients;

// Where an input came from: the node that computed it, or the leaf that it is, or nowhere (it needs no gradient).
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorImpl> leaf;
  explicit operator bool() const { return node != nullptr || leaf != nullptr; }
};

struct Gate;

class Node {
 public:
  Node(const char* op, const Tensor& output, std::span<const Tensor* const> inputs);
  virtual ~Node();  // takes the graph behind it down in a loop
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  virtual void run(Gradients& gradients) = 0;
  virtual void forget() noexcept = 0;  // what was saved for run()
  std::size_t bytes() const { return static_cast<std::size_t>(shape.numel()) * size_of(dtype); }

  const char* op;
  std::uint64_t sequence;
  Backend* backend;
  Shape shape;  // of the output
  DType dtype;
  bool implicit_one = false;  // the gradient is the 1 that loss.backward() begins with, and is not in memory
  bool spent = false;
  std::vector<Edge> inputs;
  std::atomic<std::uint32_t> uses = 0;  // recorded inputs that are this node's output
  std::shared_ptr<Storage> gradient;    // of the output; shared with another node only when it is not written any more
  std::unique_ptr<Gate> gate;           // where the op ends in an activation
};

// Elements kept for the backward pass. Throws InvalidArgument when they were changed in place since.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& tensor) {
    if (!tensor.defined()) return;
    storage_ = tensor.impl()->storage;
    view_ = cview(tensor);
    version_ = storage_->version;
  }
  explicit operator bool() const { return storage_ != nullptr; }
  operator ConstView() const {  // NOLINT(google-explicit-constructor)
    if (storage_ && storage_->version != version_) refuse();
    return view_;
  }
  ConstView as(const Shape& shape) const {
    ConstView view = *this;
    view.shape = shape;
    return view;
  }

 private:
  friend class Gradients;
  [[noreturn]] static void refuse();

  std::shared_ptr<Storage> storage_;
  ConstView view_;
  std::uint32_t version_ = 0;
};

// An activation at the end of an op. When a single op uses the output, its backward pass may take the gradient through
// the activation itself, and sum it over the rows for the bias: both cost nothing at the end of a matrix product.
struct Gate {
  Activation activation = Activation::none;
  Saved y, kept;         // as Linalg::gemm_through wants them
  std::size_t bias = 0;  // the input that is added to every row before the activation
  bool passed = false;   // `gradient` is that of the activation's argument
  bool summed = false;   // and the gradient of the bias is written
};

// One backward pass: the nodes that have a gradient and have not run, latest first. When it fails, leaves that had no
// gradient before have none after it, so that the same pass can be made again.
class Pending {
 public:
  void note_first_gradient(const std::shared_ptr<TensorImpl>& leaf) { leaves_.push_back(leaf); }
  void push(std::shared_ptr<Node> node);
  std::shared_ptr<Node> pop();
  bool empty() const { return nodes_.empty(); }
  void succeed() { leaves_.clear(); }
  ~Pending();  // drops the gradients of those that did not get to run

 private:
  std::vector<std::shared_ptr<Node>> nodes_;
  std::vector<std::shared_ptr<TensorImpl>> leaves_;  // whose gradient this pass wrote first
};

// What a recorded closure sees: the gradient of its output, and where the gradients of its inputs go.
class Gradients {
 public:
  Gradients(Node& node, Pending& pending);

  Backend& backend() const { return *node_.backend; }
  ConstView dy();
  ConstView dy(const Shape& shape);                      // the same elements in another shape
  bool dy_is_one() const { return node_.implicit_one; }  // and reading dy() would be a waste
  Tensor dy_tensor();
  const Shape& shape() const { return node_.shape; }  // of the output, and so of dy
  const Shape& shape_of(std::size_t input) const {    // of an input that is wanted
    const Edge& edge = node_.inputs[input];
    return edge.node ? edge.node->shape : edge.leaf->shape;
  }
  DType type_of(std::size_t input) const {  // likewise
    const Edge& edge = node_.inputs[input];
    return edge.node ? edge.node->dtype : edge.leaf->dtype;
  }
  Tensor temporary(const Shape& shape) const { return Tensor::empty(shape, node_.dtype, node_.backend->device); }

  bool wants(std::size_t input) const { return static_cast<bool>(node_.inputs[input]); }
  // Where the gradient of an input is to be written, and how; empty when it is not wanted. At most one call per input.
  // The places of several inputs never overlap, so that one primitive may write them all: of inputs that are the same
  // tensor, the later ones are written apart and added by finish().
  Grad wanted(std::size_t input);
  Grad wanted(std::size_t input, const Shape& shape);
  // Writes dy itself as the gradient of an input with as many elements.
  void pass(std::size_t input);
  // Writes `saved` as the gradient; takes its memory over when nobody else holds it.
  void give(std::size_t input, Saved& saved);

  // The gate of the op that computed an input, when this gradient is the only one that comes there; else null. Whoever
  // takes it writes its gradient into `dx` and `sums` (empty when not wanted), and asks for that input no other way.
  struct Through {
    Gate* gate = nullptr;
    Grad dx, sums;
  };
  Through through(std::size_t input);
  const Gate& gate() const { return *node_.gate; }  // of an op that set one

  void finish();  // after run(): adds what was written apart, injected faults included

 private:
  Grad place(const Edge& edge);
  Grad place_of_node(const std::shared_ptr<Node>& node);
  bool take_over(std::size_t input, const std::shared_ptr<Storage>& elements);
  void write(std::size_t input, ConstView elements);
  bool faulty() const;
  bool handed_out(const Edge& edge) const;

  Node& node_;
  Pending& pending_;
  std::vector<std::size_t> handed_;  // inputs whose places were asked for
  std::vector<std::pair<std::size_t, Tensor>> apart_;
  std::vector<std::pair<std::size_t, Tensor>> faulty_;
};

extern constinit thread_local bool recording_enabled;

inline bool needs_gradient(const Tensor& tensor) {
  return tensor.defined() && (tensor.impl()->requires_grad || tensor.impl()->producer != nullptr);
}
// Whether an op with these inputs must be recorded.
template <class... T>
bool recording(const T&... inputs) {
  return recording_enabled && (needs_gradient(inputs) || ...);
}

template <class F>
class NodeOf final : public Node {
 public:
  NodeOf(const char* name, const Tensor& output, std::span<const Tensor* const> sources, F function)
      : Node(name, output, sources), function_(std::move(function)) {}
  void run(Gradients& gradients) override { (*function_)(gradients); }
  void forget() noexcept override { function_.reset(); }

 private:
  std::optional<F> function_;
};

// Records that y was computed by `op` from `inputs` (undefined ones are allowed); `back` writes their gradients.
template <class F>
Node& record(const char* op, std::span<const Tensor* const> inputs, Tensor& y, F back) {
  y.impl()->producer = std::make_shared<NodeOf<F>>(op, y, inputs, std::move(back));
  return *y.impl()->producer;
}
template <class F>
Node& record(const char* op, std::initializer_list<const Tensor*> inputs, Tensor& y, F back) {
  return record(op, std::span<const Tensor* const>(inputs.begin(), inputs.size()), y, std::move(back));
}

// Throws the current exception again, of the same class, with "backward of <op>: " before its message. What is no
// error of ours becomes an Error, but for std::bad_alloc, which stays what it is.
[[noreturn]] void rethrow_from(const char* op);

}  // namespace descent
