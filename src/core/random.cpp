// Generator: a seed, a stream, and the number of the next call, which is stored on the device.
#include "descent/random.h"

#include <fmt/format.h>

#include <limits>

#include "core/tensor_impl.h"

namespace descent {
namespace {

void check_floating(const char* op, DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f64) {
    throw InvalidArgument(fmt::format("{}: the element type is {}, expected f32 or f64", op, to_string(dtype)));
  }
}

}  // namespace

Generator::Generator(std::uint64_t seed, std::uint32_t stream, Device device)
    : seed_(seed), stream_(stream), counter_(Tensor::zeros({1}, DType::i32, device)) {}

void Generator::set_counter(std::int32_t value) { counter_.fill(value); }

void Generator::to(Device device) { counter_ = counter_.to(device); }

Tensor Generator::uniform(const Shape& shape, double low, double high, DType dtype) {
  check_floating("uniform", dtype);
  Tensor y = Tensor::empty(shape, dtype, counter_.device());
  Random& random = *backend_of(y).random;
  random.uniform({seed_, stream_, cview(counter_)}, low, high, view(y));
  random.advance(view(counter_));
  return y;
}

Tensor Generator::normal(const Shape& shape, double mean, double std, DType dtype) {
  check_floating("normal", dtype);
  Tensor y = Tensor::empty(shape, dtype, counter_.device());
  Random& random = *backend_of(y).random;
  random.normal({seed_, stream_, cview(counter_)}, mean, std, view(y));
  random.advance(view(counter_));
  return y;
}

Tensor Generator::permutation(std::int64_t n) {
  if (n < 0 || n > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidArgument(fmt::format("permutation: {} elements, expected 0 to 2147483647", n));
  }
  Tensor y = Tensor::empty({n}, DType::i32, counter_.device());
  Random& random = *backend_of(y).random;
  random.permutation({seed_, stream_, cview(counter_)}, view(y));
  random.advance(view(counter_));
  return y;
}

}  // namespace descent
