// Reference implementation of pooling: loops over windows.
#include <cmath>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/pool/kernels.h"

namespace descent::cpu {
namespace {

PoolShape shape_of(const Pool2dOptions& g, const Shape& x, const Shape& y) { return {x[1], x[2], x[3], y[1], y[2], g}; }

// Calls f(n, oh, ow, c, index in y) for every output.
template <class F>
void for_outputs(const Shape& y, const F& f) {
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t oh = 0; oh < y[1]; ++oh) {
      for (std::int64_t ow = 0; ow < y[2]; ++ow) {
        for (std::int64_t c = 0; c < y[3]; ++c) f(n, oh, ow, c, i++);
      }
    }
  }
}

// Calls f(index in x, position in the window) for the pixels of window (oh, ow).
template <class F>
void for_window(const PoolShape& s, std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c, const F& f) {
  for (std::int64_t i = 0; i < s.g.kernel_h; ++i) {
    for (std::int64_t j = 0; j < s.g.kernel_w; ++j) {
      const std::int64_t h = oh * s.g.stride_h - s.g.padding_h + i, w = ow * s.g.stride_w - s.g.padding_w + j;
      if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
      f(((n * s.h + h) * s.w + w) * s.c + c, i * s.g.kernel_w + j);
    }
  }
}

template <class T>
void write(const std::vector<T>& gradient, Grad dx) {
  T* const out = dx.view.as<T>();
  for (std::size_t i = 0; i < gradient.size(); ++i)
    out[i] = dx.write == Write::accumulate ? out[i] + gradient[i] : gradient[i];
}

class ReferencePool final : public Pool {
 public:
  AuxSpec max_aux(const Pool2dOptions& g, const Shape& y, DType) const override {
    return {y, g.kernel_h * g.kernel_w <= 256 ? DType::u8 : DType::i32};
  }

  void max_forward(const Pool2dOptions& g, ConstView x, View y, View code) override {
    const PoolShape s = shape_of(g, x.shape, y.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_outputs(y.shape, [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t out) {
        T best = 0;
        std::int64_t place_of_best = -1;
        for_window(s, n, oh, ow, c, [&](std::int64_t at, std::int64_t place) {
          const T value = x.as<T>()[at];
          if (place_of_best >= 0 && (std::isnan(best) || value <= best)) return;
          best = value;
          place_of_best = place;
        });
        y.as<T>()[out] = best;
        if (s.narrow_code()) {
          code.as<std::uint8_t>()[out] = static_cast<std::uint8_t>(place_of_best);
        } else {
          code.as<std::int32_t>()[out] = static_cast<std::int32_t>(place_of_best);
        }
      });
    });
  }

  void max_backward(const Pool2dOptions& g, ConstView dy, ConstView code, Grad dx) override {
    const PoolShape s = shape_of(g, dx.view.shape, dy.shape);
    for_floating(dy.dtype, [&]<class T>(T) {
      std::vector<T> gradient(static_cast<std::size_t>(dx.view.numel()));
      for_outputs(dy.shape, [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t out) {
        const std::int64_t winner = s.narrow_code() ? code.as<std::uint8_t>()[out] : code.as<std::int32_t>()[out];
        for_window(s, n, oh, ow, c, [&](std::int64_t at, std::int64_t place) {
          if (place == winner) gradient[static_cast<std::size_t>(at)] += dy.as<T>()[out];
        });
      });
      write(gradient, dx);
    });
  }

  void average_forward(const Pool2dOptions& g, ConstView x, View y) override {
    const PoolShape s = shape_of(g, x.shape, y.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_outputs(y.shape, [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t out) {
        T sum = 0;
        for_window(s, n, oh, ow, c, [&](std::int64_t at, std::int64_t) { sum += x.as<T>()[at]; });
        y.as<T>()[out] = sum / static_cast<T>(average_divisor(s, oh, ow));
      });
    });
  }

  void average_backward(const Pool2dOptions& g, ConstView dy, Grad dx) override {
    const PoolShape s = shape_of(g, dx.view.shape, dy.shape);
    for_floating(dy.dtype, [&]<class T>(T) {
      std::vector<T> gradient(static_cast<std::size_t>(dx.view.numel()));
      for_outputs(dy.shape, [&](std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t out) {
        const T share = dy.as<T>()[out] / static_cast<T>(average_divisor(s, oh, ow));
        for_window(s, n, oh, ow, c,
                   [&](std::int64_t at, std::int64_t) { gradient[static_cast<std::size_t>(at)] += share; });
      });
      write(gradient, dx);
    });
  }

  void global_average_forward(ConstView x, View y) override {
    const std::int64_t pixels = x.shape[1] * x.shape[2], channels = x.shape[3];
    for_floating(x.dtype, [&]<class T>(T) {
      for (std::int64_t i = 0; i < y.numel(); ++i) {
        const T* const image = x.as<T>() + i / channels * pixels * channels + i % channels;
        double sum = 0;
        for (std::int64_t p = 0; p < pixels; ++p) sum += static_cast<double>(image[p * channels]);
        y.as<T>()[i] = static_cast<T>(sum / static_cast<double>(pixels));
      }
    });
  }

  void global_average_backward(ConstView dy, Grad dx) override {
    const Shape& x = dx.view.shape;
    const std::int64_t pixels = x[1] * x[2], channels = x[3];
    for_floating(dy.dtype, [&]<class T>(T) {
      std::vector<T> gradient(static_cast<std::size_t>(dx.view.numel()));
      for (std::int64_t i = 0; i < dx.view.numel(); ++i) {
        gradient[static_cast<std::size_t>(i)] =
            dy.as<T>()[i / (pixels * channels) * channels + i % channels] / static_cast<T>(pixels);
      }
      write(gradient, dx);
    });
  }
};

}  // namespace

Pool* pool_reference() {
  static ReferencePool* const reference = new ReferencePool;
  return reference;
}

}  // namespace descent::cpu
