// Tensor: a handle to contiguous, row-major elements on one device. Copying a Tensor copies the handle, not the
// elements. Images are [N, H, W, C], convolution filters [out, kh, kw, in]. Only concurrent reading is thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "descent/device.h"
#include "descent/dtype.h"
#include "descent/error.h"
#include "descent/export.h"
#include "descent/shape.h"

namespace descent {

struct TensorImpl;

class DESCENT_API Tensor {
 public:
  Tensor() = default;  // undefined: no shape, no elements

  // `empty` leaves the elements uninitialized; the others set them as their names say. All throw OutOfMemory.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = {});
  static Tensor scalar(double value, DType dtype = DType::f32, Device device = {});  // rank 0
  // Copies shape.numel() elements from host memory; `from` throws InvalidArgument for another number of values.
  static Tensor from_host(const void* data, const Shape& shape, DType dtype, Device device = {});
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = {}) {
    check_count(static_cast<std::int64_t>(values.size()), shape);
    return from_host(values.data(), shape, dtype_of<T>, device);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = {}) {
    return from<T>(std::span<const T>(values), shape, device);
  }

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  std::int64_t size(int axis) const;  // a negative axis counts from the end
  int rank() const { return shape().rank(); }
  std::int64_t numel() const { return shape().numel(); }
  DType dtype() const;
  Device device() const;
  std::size_t bytes() const;

  // The elements of a CPU tensor; throws InvalidArgument for another device or element type.
  template <class T>
  T* data() {
    return static_cast<T*>(host_data(dtype_of<T>));
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(host_data(dtype_of<T>));
  }
  // A copy of the elements in host memory, from any device, converted to T's element type; waits for the device.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> out(static_cast<std::size_t>(numel()));
    copy_to_host(out.data(), dtype_of<T>);
    return out;
  }
  double item() const;  // the value of a one-element tensor, else InvalidArgument; waits for the device

  // Views: they share the elements, and gradients flow through them. One dimension may be -1: it is inferred.
  Tensor reshape(std::span<const std::int64_t> dims) const;
  Tensor reshape(std::initializer_list<std::int64_t> dims) const;
  // [start, start + length) of an axis. A copy if an axis before it has more than one element (never for axis 0).
  Tensor narrow(int axis, std::int64_t start, std::int64_t length) const;

  // Copies. `to` is differentiable between devices and between floating types: gradients are copied or converted back.
  Tensor clone() const;                  // not recorded for gradients
  Tensor to(Device device) const;        // the tensor itself if it is already there
  Tensor to(DType dtype) const;          // converted; the tensor itself if it has that type
  void copy_from(const Tensor& source);  // same shape; from any device and element type, into these elements
  void fill(double value);

  // Gradients: see autograd.h.
  bool requires_grad() const;             // true for such a leaf and for everything computed from one
  Tensor& set_requires_grad(bool value);  // leaves of floating type only
  Tensor grad() const;                    // undefined until backward has written it, and after zero_grad()
  void zero_grad();                       // discards the gradient: the next backward overwrites it
  Tensor detach() const;                  // the same elements, detached from the tape
  void backward() const;                  // for a tensor of one element, else InvalidArgument
  void backward(const Tensor& gradient) const;

  std::string to_string() const;  // shape, element type, device and the elements, shortened

  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  static void check_count(std::int64_t values, const Shape& shape);
  void* host_data(DType dtype) const;
  void copy_to_host(void* out, DType dtype) const;

  std::shared_ptr<TensorImpl> impl_;
};

}  // namespace descent
