// Parameter initializers: PyTorch's, drawn with Philox. Each filled tensor uses a stream of its own, so weights
// depend only on the seed and on the position in the model, and are the same on every machine and device.
#pragma once

#include <cstdint>

#include "descent/tensor.h"

namespace descent::nn {

// Seeds this thread's later draws: the initial weights and dropout masks of modules constructed afterwards.
DESCENT_API void seed(std::uint64_t seed);

namespace init {

// While alive, this thread draws from `seed`, starting at the first stream; afterwards the previous state is restored.
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
// The gain: the factor on the standard deviation. `slope` is leaky_relu's.
DESCENT_API double gain(Nonlinearity nonlinearity, double slope = 0.01);

enum class FanMode : std::uint8_t { in, out };
struct Fans {
  std::int64_t in = 0, out = 0;
};
// For a weight [out, in] or [out, kh, kw, in / groups]: in = kh kw in / groups, out = kh kw out. Throws
// InvalidArgument below rank 2.
DESCENT_API Fans fans(const Shape& weight);

// The random ones throw InvalidArgument unless the tensor is f32 or f64.
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

// The current seed, and a new stream for the next dropout layer: for modules that draw random numbers.
DESCENT_API std::uint64_t current_seed();
DESCENT_API std::uint32_t next_dropout_stream();

}  // namespace init
}  // namespace descent::nn
