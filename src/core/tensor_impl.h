// The implementation of Tensor, for the higher layers: its elements as views, and the moves that flat parameters need.
// A Node owns storages, leaves and other nodes, never the TensorImpl of a computed tensor, so there are no cycles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/backend.h"
#include "descent/tensor.h"

namespace descent {

class Node;  // autograd/tape.h

// Device memory, freed with its last owner.
struct Storage {
  Storage(Backend& owner, std::size_t size);  // throws OutOfMemory
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Backend* backend;
  void* data;
  std::size_t bytes;
  std::uint32_t version = 0;  // counts in-place changes, so that backward can detect modified elements
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
  bool grad_written = false;         // `grad` below holds a gradient
  std::shared_ptr<Node> grad_fn;     // the node that computed a non-leaf
  std::shared_ptr<TensorImpl> grad;  // a leaf's gradient buffer; its address stays the same across steps
};

// The elements; an empty view if the tensor is undefined.
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

// A tensor that shares the elements of `tensor` from byte `offset` on; not recorded on the tape.
Tensor share(const Tensor& tensor, std::size_t offset, const Shape& shape);

// The tensor converted to another element type, not recorded on the tape; itself if it already has that type.
Tensor converted(const Tensor& tensor, DType type);

// Records that the elements were changed through a view; a backward pass that needs the old ones then throws.
inline void mark_changed(const Tensor& tensor) { ++tensor.impl()->storage->version; }

// Moves the elements of `tensor`, for all its handles, into `flat` from element `offset` on; same type, any device.
void rebind(Tensor& tensor, const Tensor& flat, std::int64_t offset);
// Likewise for its gradient buffer; copies the gradient if one has been written.
void rebind_grad(Tensor& tensor, const Tensor& flat, std::int64_t offset);
// A leaf's gradient buffer, allocated if needed; its elements are undefined until grad_written() is true.
Tensor grad_buffer(const Tensor& leaf);
inline bool grad_written(const Tensor& leaf) { return leaf.impl()->grad_written; }
inline void set_grad_written(const Tensor& leaf, bool value) { leaf.impl()->grad_written = value; }

}  // namespace descent
