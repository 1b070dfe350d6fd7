// Initial values of parameters: PyTorch's initializers, drawn by Philox. Each filled tensor takes a stream of its own,
// so weights depend on the seed and on the place in the model only: the same on every machine and device.
#pragma once

#include <cstdint>

#include "descent/tensor.h"

namespace descent::nn {

// Seeds what is drawn from here on by this thread: initial weights and dropout masks of modules made after it.
DESCENT_API void seed(std::uint64_t seed);

namespace init {

// While one lives, this thread's draws use `seed` from the first stream on; after it, everything is as it was before.
class DESCENT_API SeedScope {
 public:
  explicit SeedScope(std::uint64_t seed);
  ~SeedScope();
  SeedScope(const SeedScope&) = delete;
  SeedScope& operator=(const SeedScope&) = delete;

 private:
  std::uint64_t seed_;
  std::uint32_t init_stream_;
  std::uint32_t dropout_stream_;
};

enum class Nonlinearity : std::uint8_t { linear, sigmoid, tanh, relu, leaky_relu, selu };
// The standard deviation's factor; `slope` is leaky_relu's.
DESCENT_API double gain(Nonlinearity nonlinearity, double slope = 0.01);

enum class FanMode : std::uint8_t { in, out };
struct Fans {
  std::int64_t in = 0, out = 0;
};
// Of a weight [out, in] or [out, kh, kw, in / groups]: in = kh kw in / groups, out = kh kw out. Throws below rank 2.
DESCENT_API Fans fans(const Shape& weight);

DESCENT_API void zeros(Tensor& tensor);
DESCENT_API void constant(Tensor& tensor, double value);
DESCENT_API void uniform(Tensor& tensor, double low = 0, double high = 1);
DESCENT_API void normal(Tensor& tensor, double mean = 0, double std = 1);
DESCENT_API void xavier_uniform(Tensor& tensor, double gain = 1);  // Glorot and Bengio, 2010
DESCENT_API void xavier_normal(Tensor& tensor, double gain = 1);
DESCENT_API void kaiming_uniform(Tensor& tensor, double slope = 0, FanMode mode = FanMode::in,  // He et al., 2015
                                 Nonlinearity nonlinearity = Nonlinearity::leaky_relu);
DESCENT_API void kaiming_normal(Tensor& tensor, double slope = 0, FanMode mode = FanMode::in,
                                Nonlinearity nonlinearity = Nonlinearity::leaky_relu);
inline void he_uniform(Tensor& tensor) { kaiming_uniform(tensor, 0, FanMode::in, Nonlinearity::relu); }
inline void he_normal(Tensor& tensor) { kaiming_normal(tensor, 0, FanMode::in, Nonlinearity::relu); }

// The stream that the next dropout layer takes, and the seed: for modules that draw random numbers.
DESCENT_API std::uint64_t current_seed();
DESCENT_API std::uint32_t next_dropout_stream();

}  // namespace init
}  // namespace descent::nn
