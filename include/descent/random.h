// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011), keyed by (seed, stream, call number, element) and never by thread, so every device draws the same bits.
#pragma once

#include <cstdint>

#include "descent/tensor.h"

namespace descent {

// A stream of random tensors. Every call uses the next call number, which is stored on the device and in checkpoints.
// Throws InvalidArgument for types other than f32 and f64.
class DESCENT_API Generator {
 public:
  explicit Generator(std::uint64_t seed = 0, std::uint32_t stream = 0, Device device = {});

  std::uint64_t seed() const { return seed_; }
  std::uint32_t stream() const { return stream_; }
  Tensor counter() const { return counter_; }  // i32 [1]: the number of the next call
  void set_counter(std::int32_t value);
  void to(Device device);

  Tensor uniform(const Shape& shape, double low = 0, double high = 1, DType dtype = DType::f32);
  Tensor normal(const Shape& shape, double mean = 0, double std = 1, DType dtype = DType::f32);
  Tensor permutation(std::int64_t n);  // i32 [n]

 private:
  std::uint64_t seed_;
  std::uint32_t stream_;
  Tensor counter_;
};

}  // namespace descent
