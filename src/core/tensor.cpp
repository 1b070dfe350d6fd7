// Tensor: creation, copies between devices and element types, and properties.
#include "descent/tensor.h"

#include <fmt/format.h>

#include "core/tensor_impl.h"

namespace descent {
namespace {

TensorImpl& known(const std::shared_ptr<TensorImpl>& impl) {
  if (!impl) throw InvalidArgument("tensor: it is undefined");
  return *impl;
}

// True for slices of one tensor that share elements at different indices.
bool overlap(const TensorImpl& a, const TensorImpl& b) {
  const std::size_t distance = a.offset > b.offset ? a.offset - b.offset : b.offset - a.offset;
  return a.storage == b.storage && distance != 0 && distance < a.bytes();
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Backend& target = descent::backend(device);
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  try {
    return Tensor(std::make_shared<TensorImpl>(std::make_shared<Storage>(target, bytes), 0, shape, dtype));
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(fmt::format("tensor {} {} on {}", descent::to_string(shape), descent::to_string(dtype),
                                  descent::to_string(device)),
                      bytes, error.bytes_free());
  }
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::ones(const Shape& shape, DType dtype, Device device) { return full(shape, 1, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  backend_of(tensor).elementwise->fill(view(tensor), value);
  return tensor;
}

Tensor Tensor::scalar(double value, DType dtype, Device device) { return full(Shape(), value, dtype, device); }

Tensor Tensor::from_host(const void* data, const Shape& shape, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  backend_of(tensor).runtime->copy_from_host(tensor.impl()->data(), data, tensor.bytes());
  return tensor;
}

const Shape& Tensor::shape() const { return known(impl_).shape; }

std::int64_t Tensor::size(int axis) const { return shape()[shape().axis(axis, "size")]; }

DType Tensor::dtype() const { return known(impl_).dtype; }

Device Tensor::device() const { return known(impl_).storage->backend->device; }

std::size_t Tensor::bytes() const { return known(impl_).bytes(); }

double Tensor::item() const {
  if (numel() != 1)
    throw InvalidArgument(
        fmt::format("item: the tensor has shape {}, expected one element", descent::to_string(shape())));
  double value = 0;
  copy_to_host(&value, DType::f64);
  return value;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype(), device());
  backend_of(copy).runtime->copy(copy.impl()->data(), impl_->data(), bytes());
  return copy;
}

Tensor converted(const Tensor& tensor, DType type) {
  if (tensor.dtype() == type) return tensor;
  const Tensor copy = Tensor::empty(tensor.shape(), type, tensor.device());
  backend_of(copy).elementwise->convert(cview(tensor), view(copy));
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  if (source.shape() != shape()) {
    throw InvalidArgument(fmt::format("copy_from: the source has shape {}, expected {}",
                                      descent::to_string(source.shape()), descent::to_string(shape())));
  }
  ++impl_->storage->version;
  Runtime& here = *backend_of(*this).runtime;
  if (source.device() == device()) {
    if (overlap(*impl_, *source.impl_)) {
      const Tensor apart = source.clone();
      here.copy(impl_->data(), apart.impl_->data(), bytes());
    } else if (source.dtype() == dtype()) {
      here.copy(impl_->data(), source.impl_->data(), bytes());
    } else {
      backend_of(*this).elementwise->convert(cview(source), view(*this));
    }
    return;
  }
  const Tensor same_type = converted(source, dtype());
  if (source.device().type == DeviceType::cpu) {
    here.copy_from_host(impl_->data(), same_type.impl_->data(), bytes());
  } else if (device().type == DeviceType::cpu) {
    backend_of(source).runtime->copy_to_host(impl_->data(), same_type.impl_->data(), bytes());
  } else {
    std::vector<std::byte> host(bytes());
    backend_of(source).runtime->copy_to_host(host.data(), same_type.impl_->data(), bytes());
    here.copy_from_host(impl_->data(), host.data(), bytes());
  }
}

void Tensor::fill(double value) {
  ++known(impl_).storage->version;
  backend_of(*this).elementwise->fill(view(*this), value);
}

Tensor Tensor::detach() const {
  if (!impl_) return {};
  return share(*this, 0, shape());
}

void Tensor::check_count(std::int64_t values, const Shape& shape) {
  if (values != shape.numel()) {
    throw InvalidArgument(
        fmt::format("tensor: {} values, shape {} needs {}", values, descent::to_string(shape), shape.numel()));
  }
}

void* Tensor::host_data(DType type) const {
  if (dtype() != type)
    throw InvalidArgument(
        fmt::format("data: the elements are {}, asked for {}", descent::to_string(dtype()), descent::to_string(type)));
  if (device().type != DeviceType::cpu) {
    throw InvalidArgument(
        fmt::format("data: the tensor is on {}, copy it to the CPU first", descent::to_string(device())));
  }
  return impl_->data();
}

void Tensor::copy_to_host(void* out, DType type) const {
  const Tensor same_type = converted(*this, type);
  backend_of(same_type).runtime->copy_to_host(out, same_type.impl_->data(), same_type.bytes());
}

}  // namespace descent
