// What is behind a Tensor, for the rooms above core: its elements as views, and the moves that flat parameters need.
// A TensorImpl never owns its producer's inputs, and a producer never owns its output: there are no cycles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend.h"
#include "descent/tensor.h"

namespace descent {

class Node;  // autograd/tape.h

// Device memory, freed with its last user.
struct Storage {
  Storage(Backend& owner, std::size_t size);  // throws OutOfMemory
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Backend* backend;
  void* data;
  std::size_t bytes;
  std::uint32_t version = 0;  // counts changes in place, so that backward can refuse to use what was changed
};

struct TensorImpl {
  TensorImpl(std::shared_ptr<Storage> elements, std::size_t byte_offset, const Shape& dims, DType type)
      : storage(std::move(elements)), offset(byte_offset), shape(dims), dtype(type) {}

  std::byte* data() const { return static_cast<std::byte*>(storage->data) + offset; }
  std::size_t bytes() const { return static_cast<std::size_t>(shape.numel()) * size_of(dtype); }

  std::shared_ptr<Storage> storage;
  std::size_t offset;  // in bytes
  Shape shape;
  DType dtype;
  bool requires_grad = false;        // of a leaf
  bool grad_written = false;         // the buffer below holds a gradient
  std::shared_ptr<Node> producer;    // what a non-leaf was computed by
  std::shared_ptr<TensorImpl> grad;  // a leaf's gradient buffer; it stays where it is from one step to the next
};

// The elements; an empty view of an undefined tensor.
inline View view(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  const TensorImpl& impl = *tensor.impl();
  return {impl.data(), impl.shape, impl.dtype};
}
inline ConstView cview(const Tensor& tensor) { return view(tensor); }
// The same elements in another shape.
inline View view_as(const Tensor& tensor, const Shape& shape) {
  return {tensor.impl()->data(), shape, tensor.impl()->dtype};
}
inline Backend& backend_of(const Tensor& tensor) { return *tensor.impl()->storage->backend; }

// Elements shared with `tensor`, from byte `offset` of it on, unknown to the tape.
Tensor share(const Tensor& tensor, std::size_t offset, const Shape& shape);

// The tensor as elements of another type, unknown to the tape; the tensor itself where it has that type.
Tensor converted(const Tensor& tensor, DType type);

// Says that the elements were changed through a view: a backward pass that needs the old ones refuses then.
inline void mark_changed(const Tensor& tensor) { ++tensor.impl()->storage->version; }

// Moves the elements of `tensor` (all its handles see it) into `flat`, from element `offset` on; same element type,
// any device.
void rebind(Tensor& tensor, const Tensor& flat, std::int64_t offset);
// The same for its gradient buffer; a gradient that was written moves along.
void rebind_grad(Tensor& tensor, const Tensor& flat, std::int64_t offset);
// A leaf's gradient buffer, whether it has been written or not (then its elements mean nothing).
Tensor grad_buffer(const Tensor& leaf);
inline bool grad_written(const Tensor& leaf) { return leaf.impl()->grad_written; }
inline void set_grad_written(const Tensor& leaf, bool value) { leaf.impl()->grad_written = value; }

}  // namespace descent
