// The autograd tape: one Node per recorded op, with its backward function and the edges to its inputs. Rules: a node
// saves storages, never tensors that have a grad_fn, so there are no reference cycles; sequence numbers increase, so
// that backward visits nodes in descending order without recursion; each node is consumed once.
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

// The origin of an input: the node that computed it, or a leaf, or neither if it needs no gradient.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorImpl> leaf;
  explicit operator bool() const { return node != nullptr || leaf != nullptr; }
};

struct DeferredActivation;

class Node {
 public:
  Node(const char* op, const Tensor& output, std::span<const Tensor* const> inputs);
  virtual ~Node();  // releases the nodes that only this one holds, without recursion
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  virtual void run(Gradients& gradients) = 0;
  virtual void release_saved() noexcept = 0;  // drops what was saved for run()
  std::size_t bytes() const { return static_cast<std::size_t>(shape.numel()) * size_of(dtype); }

  const char* op;
  std::uint64_t sequence;
  Backend* backend;
  Shape shape;  // of the output
  DType dtype;
  bool implicit_one = false;  // the gradient is the initial 1 of loss.backward(), which dy() materializes
  bool consumed = false;
  std::vector<Edge> inputs;
  std::atomic<std::uint32_t> num_consumers = 0;  // how many recorded op inputs are this node's output
  std::shared_ptr<Storage> gradient;             // of the output; if it is shared, it is copied before a write
  std::unique_ptr<DeferredActivation> gate;      // set by linear; its activation may be `none`
};

// Elements saved for backward. Access throws InvalidArgument if they have been changed in place since.
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

// The activation at the end of an op. If a single op consumes the output, the consumer's backward may apply the
// activation's derivative itself, and sum the gradient over the rows for the bias: as GEMM epilogues, both are free.
struct DeferredActivation {
  Activation activation = Activation::none;
  Saved y, aux;          // as Gemm::gemm_dact_bgrad needs them
  std::size_t bias = 0;  // index of the input that is added to every row before the activation
  bool passed = false;   // Node::gradient is already that of the activation's argument
  bool summed = false;   // and the gradient of the bias is already written
};

// One backward pass: the nodes that have a gradient and have not run yet, latest first. If the pass fails, leaves that
// had no gradient before it have none after it, so that the step can be repeated.
class ReadyQueue {
 public:
  void note_first_gradient(const std::shared_ptr<TensorImpl>& leaf) { leaves_.push_back(leaf); }
  void push(std::shared_ptr<Node> node);
  std::shared_ptr<Node> pop();
  bool empty() const { return nodes_.empty(); }
  void succeed() { leaves_.clear(); }
  ~ReadyQueue();  // drops the gradients of nodes that have not run

 private:
  std::vector<std::shared_ptr<Node>> nodes_;
  std::vector<std::shared_ptr<TensorImpl>> leaves_;  // whose first gradient this pass wrote
};

// What a backward function receives: the gradient of the op's output, and the destinations of the input gradients.
class Gradients {
 public:
  Gradients(Node& node, ReadyQueue& ready) : node_(node), ready_(ready) {}

  Backend& backend() const { return *node_.backend; }
  ConstView dy();
  ConstView dy(const Shape& shape);                      // the same elements in another shape
  bool dy_is_one() const { return node_.implicit_one; }  // then avoid dy(), which would materialize it
  Tensor dy_tensor();
  const Shape& shape() const { return node_.shape; }  // of the output, and so of dy
  const Shape& shape_of(std::size_t input) const {    // of an input that needs a gradient
    const Edge& edge = node_.inputs[input];
    return edge.node ? edge.node->shape : edge.leaf->shape;
  }
  DType type_of(std::size_t input) const {  // likewise
    const Edge& edge = node_.inputs[input];
    return edge.node ? edge.node->dtype : edge.leaf->dtype;
  }
  Tensor temporary(const Shape& shape) const { return Tensor::empty(shape, node_.dtype, node_.backend->device); }

  bool wants(std::size_t input) const { return static_cast<bool>(node_.inputs[input]); }
  // Where and how to write the gradient of an input; empty if it needs none. At most one call per input. Destinations
  // of different inputs never overlap, so that one primitive may write them all: if inputs are the same tensor, the
  // later ones get temporaries, which finish() adds.
  Grad input_grad(std::size_t input);
  Grad input_grad(std::size_t input, const Shape& shape);
  // Passes dy on unchanged as the gradient of an input with the same number of elements.
  void forward_grad(std::size_t input);
  // Uses `saved` as the gradient; takes over its memory if it has no other owner.
  void donate(std::size_t input, Saved& saved);

  // The deferred activation of the op that computed an input, if the input gets no other gradient; else null. The
  // caller must then write the gradient of the activation's argument to `dx` and that of the bias to `sums` (empty if
  // not needed), and must not request the gradient of this input in any other way.
  struct Through {
    DeferredActivation* gate = nullptr;
    Grad dx, sums;
  };
  Through through(std::size_t input);
  const DeferredActivation& gate() const { return *node_.gate; }  // only for an op that set one

  void finish();  // after run(): adds the temporaries

 private:
  Grad place(const Edge& edge);
  Grad place_of_node(const std::shared_ptr<Node>& node);
  bool take_over(std::size_t input, const std::shared_ptr<Storage>& elements);
  void write(std::size_t input, ConstView elements);
  bool handed_out(const Edge& edge) const;

  Node& node_;
  ReadyQueue& ready_;
  std::vector<std::size_t> handed_;  // inputs whose destinations were requested
  std::vector<std::pair<std::size_t, Tensor>> apart_;
};

extern constinit thread_local bool recording_enabled;

inline bool needs_gradient(const Tensor& tensor) {
  return tensor.defined() && (tensor.impl()->requires_grad || tensor.impl()->grad_fn != nullptr);
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
  void release_saved() noexcept override { function_.reset(); }

 private:
  std::optional<F> function_;
};

// Records that y was computed by `op` from `inputs` (undefined ones are allowed); `back` writes their gradients.
template <class F>
Node& record(const char* op, std::span<const Tensor* const> inputs, Tensor& y, F back) {
  y.impl()->grad_fn = std::make_shared<NodeOf<F>>(op, y, inputs, std::move(back));
  return *y.impl()->grad_fn;
}
template <class F>
Node& record(const char* op, std::initializer_list<const Tensor*> inputs, Tensor& y, F back) {
  return record(op, std::span<const Tensor* const>(inputs.begin(), inputs.size()), y, std::move(back));
}

// Rethrows the current exception as the same class, with "backward of <op>: " before its message. Exceptions of other
// libraries become an Error, except std::bad_alloc, which is rethrown unchanged.
[[noreturn]] void rethrow_from(const char* op);

}  // namespace descent
