// Storage, and the moves of elements and gradients into flat buffers.
#include "core/tensor_impl.h"

#include <fmt/format.h>

#include <algorithm>

namespace descent {

// Even a tensor without elements has an address, since a null view means that an optional tensor was not given.
Storage::Storage(Backend& owner, std::size_t size)
    : backend(&owner),
      data(owner.runtime->allocate(std::max<std::size_t>(size, 1))),
      bytes(std::max<std::size_t>(size, 1)) {}

Storage::~Storage() { backend->runtime->free(data, bytes); }

Tensor share(const Tensor& tensor, std::size_t offset, const Shape& shape) {
  const TensorImpl& impl = *tensor.impl();
  return Tensor(std::make_shared<TensorImpl>(impl.storage, impl.offset + offset, shape, impl.dtype));
}

namespace {

Tensor slice_of(const Tensor& flat, std::int64_t offset, const Tensor& tensor, const char* op) {
  if (flat.dtype() != tensor.dtype()) {
    throw InvalidArgument(
        fmt::format("{}: the buffer is {}, the tensor {}", op, to_string(flat.dtype()), to_string(tensor.dtype())));
  }
  if (offset < 0 || offset > flat.numel() - tensor.numel()) {
    throw InvalidArgument(
        fmt::format("{}: {} elements at {} don't fit into a buffer of {}", op, tensor.numel(), offset, flat.numel()));
  }
  return share(flat, static_cast<std::size_t>(offset) * size_of(flat.dtype()), tensor.shape());
}

}  // namespace

void rebind(Tensor& tensor, const Tensor& flat, std::int64_t offset) {
  Tensor place = slice_of(flat, offset, tensor, "rebind");
  place.copy_from(tensor);
  tensor.impl()->storage = place.impl()->storage;
  tensor.impl()->offset = place.impl()->offset;
}

void rebind_grad(Tensor& tensor, const Tensor& flat, std::int64_t offset) {
  Tensor place = slice_of(flat, offset, tensor, "rebind_grad");
  if (grad_written(tensor)) place.copy_from(tensor.grad());
  tensor.impl()->grad = place.impl();
}

Tensor grad_buffer(const Tensor& leaf) {
  TensorImpl& impl = *leaf.impl();
  if (!impl.grad) {
    impl.grad = std::make_shared<TensorImpl>(std::make_shared<Storage>(*impl.storage->backend, impl.bytes()), 0,
                                             impl.shape, impl.dtype);
  }
  return Tensor(impl.grad);
}

}  // namespace descent
