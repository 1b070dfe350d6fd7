// Reference implementation of the convolution and its gradients.
#include "cpu/conv/reference.h"

#include <algorithm>
#include <cmath>

#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

template <class T>
void put(T* to, double value, Write write) {
  *to = static_cast<T>(write == Write::accumulate ? static_cast<double>(*to) + value : value);
}

// Calls f(x index, w index) for every product of output (n, oy, ox, o).
template <class F>
void for_products(const ConvShape& s, std::int64_t n, std::int64_t oy, std::int64_t ox, std::int64_t o, const F& f) {
  const Conv2dFuncOptions& g = s.geometry;
  const std::int64_t group = o / s.out_group();
  for (std::int64_t ky = 0; ky < s.kernel_h; ++ky) {
    const std::int64_t y = oy * g.stride_h - g.padding_h + ky * g.dilation_h;
    if (y < 0 || y >= s.height) continue;
    for (std::int64_t kx = 0; kx < s.kernel_w; ++kx) {
      const std::int64_t x = ox * g.stride_w - g.padding_w + kx * g.dilation_w;
      if (x < 0 || x >= s.width) continue;
      for (std::int64_t c = 0; c < s.in_group(); ++c) {
        f(((n * s.height + y) * s.width + x) * s.channels + group * s.in_group() + c,
          ((o * s.kernel_h + ky) * s.kernel_w + kx) * s.in_group() + c);
      }
    }
  }
}

}  // namespace

template <class T>
void conv_forward_reference(const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation, T* y) {
  parallel_for(s.images * s.out_height, [&](std::int64_t task) {
    const std::int64_t n = task / s.out_height, oy = task % s.out_height;
    for (std::int64_t ox = 0; ox < s.out_width; ++ox) {
      for (std::int64_t o = 0; o < s.out_channels; ++o) {
        double sum = bias != nullptr ? static_cast<double>(bias[o]) : 0;
        for_products(s, n, oy, ox, o, [&](std::int64_t at_x, std::int64_t at_w) {
          sum += static_cast<double>(x[at_x]) * static_cast<double>(w[at_w]);
        });
        if (activation == Activation::relu && sum < 0) sum = 0;
        y[(task * s.out_width + ox) * s.out_channels + o] = static_cast<T>(sum);
      }
    }
  });
}

template <class T>
void conv_data_reference(const ConvShape& s, const T* dy, const T* w, T* dx, Write write) {
  if (s.image() == 0) return;
  parallel_for(s.images, [&](std::int64_t n) {
    const Scratch<double> sum(s.image());
    std::fill_n(sum.data(), s.image(), 0.0);
    for (std::int64_t oy = 0; oy < s.out_height; ++oy) {
      for (std::int64_t ox = 0; ox < s.out_width; ++ox) {
        for (std::int64_t o = 0; o < s.out_channels; ++o) {
          const double gradient =
              static_cast<double>(dy[((n * s.out_height + oy) * s.out_width + ox) * s.out_channels + o]);
          for_products(s, n, oy, ox, o, [&](std::int64_t at_x, std::int64_t at_w) {
            sum[at_x - n * s.image()] += gradient * static_cast<double>(w[at_w]);
          });
        }
      }
    }
    for (std::int64_t i = 0; i < s.image(); ++i) put(dx + n * s.image() + i, sum[i], write);
  });
}

template <class T>
void conv_filter_reference(const ConvShape& s, const T* x, const T* dy, T* dw, Write write) {
  if (s.filter() == 0) return;
  parallel_for(s.out_channels, [&](std::int64_t o) {
    const Scratch<double> sum(s.filter());
    std::fill_n(sum.data(), s.filter(), 0.0);
    for (std::int64_t n = 0; n < s.images; ++n) {
      for (std::int64_t oy = 0; oy < s.out_height; ++oy) {
        for (std::int64_t ox = 0; ox < s.out_width; ++ox) {
          const double gradient =
              static_cast<double>(dy[((n * s.out_height + oy) * s.out_width + ox) * s.out_channels + o]);
          for_products(s, n, oy, ox, o, [&](std::int64_t at_x, std::int64_t at_w) {
            sum[at_w - o * s.filter()] += gradient * static_cast<double>(x[at_x]);
          });
        }
      }
    }
    for (std::int64_t i = 0; i < s.filter(); ++i) put(dw + o * s.filter() + i, sum[i], write);
  });
}

template <class T>
void conv_pooled_reference(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, std::uint8_t* code) {
  if (s.out_image() == 0 || s.images == 0) return;
  const Scratch<T> full(s.images * s.out_image());
  conv_forward_reference(s, x, w, bias, Activation::relu, full.data());
  const std::int64_t rows = s.out_height / 2, columns = s.out_width / 2, channels = s.out_channels;
  parallel_for(s.images * rows, [&](std::int64_t task) {
    const T* first = full.data() + (task / rows * s.out_height + task % rows * 2) * s.out_width * channels;
    for (std::int64_t i = 0; i < columns * channels; ++i) {
      const T* corner = first + i / channels * 2 * channels + i % channels;
      const T window[4] = {corner[0], corner[channels], corner[s.out_width * channels],
                           corner[(s.out_width + 1) * channels]};
      int best = 0;
      for (int k = 1; k < 4; ++k) {
        if (window[k] > window[best] || (std::isnan(window[k]) && !std::isnan(window[best]))) best = k;
      }
      y[task * columns * channels + i] = window[best];
      code[task * columns * channels + i] = static_cast<std::uint8_t>(window[best] <= 0 ? 4 : best);
    }
  });
}

template <class T>
void conv_expand_reference(const ConvShape& s, const T* dy, const std::uint8_t* code, T* full) {
  const std::int64_t rows = s.out_height / 2, columns = s.out_width / 2, channels = s.out_channels;
  std::fill_n(full, s.images * s.out_image(), T{0});
  for (std::int64_t i = 0; i < s.images * rows * columns * channels; ++i) {
    if (code[i] > 3) continue;
    const std::int64_t c = i % channels, q = i / channels % columns, r = i / channels / columns % rows;
    const std::int64_t n = i / channels / columns / rows;
    full[((n * s.out_height + 2 * r + code[i] / 2) * s.out_width + 2 * q + code[i] % 2) * channels + c] = dy[i];
  }
}

template <class T>
void conv_bias_reference(std::int64_t rows, std::int64_t channels, const T* dy, T* dbias, Write write) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (std::int64_t i = 0; i < rows; ++i) sum += static_cast<double>(dy[i * channels + c]);
    put(dbias + c, sum, write);
  }
}

#define DESCENT_INSTANTIATE(T)                                                                               \
  template void conv_forward_reference<T>(const ConvShape&, const T*, const T*, const T*, Activation, T*);   \
  template void conv_data_reference<T>(const ConvShape&, const T*, const T*, T*, Write);                     \
  template void conv_filter_reference<T>(const ConvShape&, const T*, const T*, T*, Write);                   \
  template void conv_pooled_reference<T>(const ConvShape&, const T*, const T*, const T*, T*, std::uint8_t*); \
  template void conv_expand_reference<T>(const ConvShape&, const T*, const std::uint8_t*, T*);               \
  template void conv_bias_reference<T>(std::int64_t, std::int64_t, const T*, T*, Write);
DESCENT_INSTANTIATE(float)
DESCENT_INSTANTIATE(double)

}  // namespace descent::cpu
