// What primitives of the backend interface take: non-owning views, and how a gradient is written.
#pragma once

#include <cstdint>

#include "descent/dtype.h"
#include "descent/shape.h"

namespace descent {

struct View {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  std::int64_t numel() const { return shape.numel(); }
  explicit operator bool() const { return data != nullptr; }  // false: an optional view that was not passed
};

struct ConstView {
  const void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  ConstView() = default;
  ConstView(const void* data_, const Shape& shape_, DType dtype_) : data(data_), shape(shape_), dtype(dtype_) {}
  ConstView(const View& v) : data(v.data), shape(v.shape), dtype(v.dtype) {}  // NOLINT(google-explicit-constructor)
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  std::int64_t numel() const { return shape.numel(); }
  explicit operator bool() const { return data != nullptr; }
};

// What a primitive saves for its backward in addition to its output; without elements: nothing.
struct AuxSpec {
  Shape shape{0};
  DType dtype = DType::u8;
  explicit operator bool() const { return shape.numel() > 0; }
};

enum class Write : std::uint8_t { overwrite, accumulate };

struct Grad {  // where and how a gradient is written
  View view;
  Write write = Write::overwrite;
  explicit operator bool() const { return static_cast<bool>(view); }
};

}  // namespace descent
