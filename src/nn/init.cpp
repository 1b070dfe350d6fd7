// Initializers. Numbers are drawn on the host in f64 and rounded once: the same weights on every machine and device.
#include "descent/init.h"

#include <fmt/format.h>

#include <cmath>

#include "core/philox.h"
#include "nn/streams.h"

namespace descent::nn {
namespace {

struct State {
  std::uint64_t seed = 0;
  std::uint32_t init_stream = kInitStream;
  std::uint32_t dropout_stream = kDropoutStream;
};
thread_local State state;

void check_floating(const Tensor& tensor) {
  if (tensor.dtype() == DType::f32 || tensor.dtype() == DType::f64) return;
  throw InvalidArgument(fmt::format("init: the element type is {}, expected f32 or f64", to_string(tensor.dtype())));
}

template <class T, class Draw>
void draw_blocks(T* out, std::int64_t count, const Draw& draw) {
  const std::uint32_t stream = state.init_stream++;
  for (std::int64_t i = 0; i < count; i += 4) {
    double values[4];
    draw(philox::block(state.seed, stream, 0, static_cast<std::uint64_t>(i / 4)), values);
    for (std::int64_t j = 0; j < 4 && i + j < count; ++j) out[i + j] = static_cast<T>(values[j]);
  }
}

// `draw` turns one Philox block into four values.
template <class Draw>
void fill(Tensor& tensor, const Draw& draw) {
  check_floating(tensor);
  Tensor host = Tensor::empty(tensor.shape(), tensor.dtype());
  if (tensor.dtype() == DType::f32) {
    draw_blocks(host.data<float>(), host.numel(), draw);
  } else {
    draw_blocks(host.data<double>(), host.numel(), draw);
  }
  tensor.detach().copy_from(host);
}

}  // namespace

void seed(std::uint64_t seed) { state = {seed, kInitStream, kDropoutStream}; }

namespace init {

SeedScope::SeedScope(std::uint64_t seed)
    : seed_(state.seed), init_stream_(state.init_stream), dropout_stream_(state.dropout_stream) {
  nn::seed(seed);
}

SeedScope::~SeedScope() { state = {seed_, init_stream_, dropout_stream_}; }

std::uint64_t current_seed() { return state.seed; }
std::uint32_t next_dropout_stream() { return state.dropout_stream++; }

double gain(Nonlinearity nonlinearity, double slope) {
  switch (nonlinearity) {
    case Nonlinearity::linear:
    case Nonlinearity::sigmoid:
      return 1;
    case Nonlinearity::tanh:
      return 5.0 / 3;
    case Nonlinearity::relu:
      return std::sqrt(2.0);
    case Nonlinearity::leaky_relu:
      return std::sqrt(2 / (1 + slope * slope));
    case Nonlinearity::selu:
      return 0.75;
  }
  throw InvalidArgument("init: an unknown nonlinearity");
}

Fans fans(const Shape& weight) {
  if (weight.rank() < 2) {
    throw InvalidArgument(
        fmt::format("init: a weight of shape {} has no fans, expected rank 2 or more", to_string(weight)));
  }
  const std::int64_t window = weight.product(1, weight.rank() - 1);
  return {window * weight[-1], window * weight[0]};
}

void zeros(Tensor& tensor) { constant(tensor, 0); }

void constant(Tensor& tensor, double value) { tensor.detach().fill(value); }

void uniform(Tensor& tensor, double low, double high) {
  fill(tensor, [low, high](const philox::Block& block, double* values) {
    for (int i = 0; i < 4; ++i) values[i] = low + (high - low) * philox::uniform<double>(block.word[i]);
  });
}

void normal(Tensor& tensor, double mean, double std) {
  fill(tensor, [mean, std](const philox::Block& block, double* values) {
    for (int i = 0; i < 4; i += 2) {
      philox::normal_pair(block.word[i], block.word[i + 1], values[i], values[i + 1]);
      values[i] = mean + std * values[i];
      values[i + 1] = mean + std * values[i + 1];
    }
  });
}

void xavier_uniform(Tensor& tensor, double gain) {
  const Fans f = fans(tensor.shape());
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out));
  uniform(tensor, -bound, bound);
}

void xavier_normal(Tensor& tensor, double gain) {
  const Fans f = fans(tensor.shape());
  normal(tensor, 0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)));
}

namespace {

double kaiming_std(const Tensor& tensor, double slope, FanMode mode, Nonlinearity nonlinearity) {
  const Fans f = fans(tensor.shape());
  return gain(nonlinearity, slope) / std::sqrt(static_cast<double>(mode == FanMode::in ? f.in : f.out));
}

}  // namespace

void kaiming_uniform(Tensor& tensor, double slope, FanMode mode, Nonlinearity nonlinearity) {
  const double bound = std::sqrt(3.0) * kaiming_std(tensor, slope, mode, nonlinearity);
  uniform(tensor, -bound, bound);
}

void kaiming_normal(Tensor& tensor, double slope, FanMode mode, Nonlinearity nonlinearity) {
  normal(tensor, 0, kaiming_std(tensor, slope, mode, nonlinearity));
}

}  // namespace init
}  // namespace descent::nn
