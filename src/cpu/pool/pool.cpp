// Pool on the CPU: rows of pixels, distributed in fixed groups.
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/pool/kernels.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 15;

template <class T>
const PoolKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return pool_f32();
  } else {
    return pool_f64();
  }
}

PoolShape shape_of(const Pool2dOptions& g, const Shape& x, const Shape& y) { return {x[1], x[2], x[3], y[1], y[2], g}; }

// Calls f(image, row) for `images` times `rows`, in groups that touch about kTaskElements.
template <class F>
void for_rows(std::int64_t images, std::int64_t rows, std::int64_t elements_per_row, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(1, elements_per_row));
  parallel_pieces(images * rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i / rows, i % rows);
  });
}

class CpuPool final : public Pool {
 public:
  AuxSpec max_aux(const Pool2dOptions& g, const Shape& y, DType dtype) const override {
    return pool_reference()->max_aux(g, y, dtype);
  }
  void max_forward(const Pool2dOptions& g, ConstView x, View y, View code) override {
    if (reference_only()) return pool_reference()->max_forward(g, x, y, code);
    const PoolShape s = shape_of(g, x.shape, y.shape);
    const std::int64_t row = s.out_w * s.c, code_size = s.narrow_code() ? 1 : 4;
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(y.shape[0], s.out_h, row * g.kernel_h * g.kernel_w, [&](std::int64_t n, std::int64_t oh) {
        const std::int64_t out = (n * s.out_h + oh) * row;
        kernels<T>().max_row(s, oh, x.as<T>() + n * s.h * s.w * s.c, y.as<T>() + out,
                             code.as<char>() + out * code_size);
      });
    });
  }

  void max_backward(const Pool2dOptions& g, ConstView dy, ConstView code, Grad dx) override {
    if (reference_only()) return pool_reference()->max_backward(g, dy, code, dx);
    const PoolShape s = shape_of(g, dx.view.shape, dy.shape);
    const std::int64_t row = s.w * s.c, image = s.out_h * s.out_w * s.c, code_size = s.narrow_code() ? 1 : 4;
    for_floating(dy.dtype, [&]<class T>(T) {
      for_rows(dy.shape[0], s.h, 4 * row, [&](std::int64_t n, std::int64_t ih) {
        kernels<T>().max_backward_row(s, ih, dy.as<T>() + n * image, code.as<char>() + n * image * code_size,
                                      dx.view.as<T>() + (n * s.h + ih) * row, dx.write == Write::accumulate);
      });
    });
  }

  void average_forward(const Pool2dOptions& g, ConstView x, View y) override {
    if (reference_only()) return pool_reference()->average_forward(g, x, y);
    const PoolShape s = shape_of(g, x.shape, y.shape);
    const std::int64_t row = s.out_w * s.c;
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(y.shape[0], s.out_h, row * g.kernel_h * g.kernel_w, [&](std::int64_t n, std::int64_t oh) {
        kernels<T>().average_row(s, oh, x.as<T>() + n * s.h * s.w * s.c, y.as<T>() + (n * s.out_h + oh) * row);
      });
    });
  }

  void average_backward(const Pool2dOptions& g, ConstView dy, Grad dx) override {
    if (reference_only()) return pool_reference()->average_backward(g, dy, dx);
    const PoolShape s = shape_of(g, dx.view.shape, dy.shape);
    const std::int64_t row = s.w * s.c;
    for_floating(dy.dtype, [&]<class T>(T) {
      for_rows(dy.shape[0], s.h, 4 * row, [&](std::int64_t n, std::int64_t ih) {
        kernels<T>().average_backward_row(s, ih, dy.as<T>() + n * s.out_h * s.out_w * s.c,
                                          dx.view.as<T>() + (n * s.h + ih) * row, dx.write == Write::accumulate);
      });
    });
  }

  void global_average_forward(ConstView x, View y) override {
    if (reference_only()) return pool_reference()->global_average_forward(x, y);
    const std::int64_t pixels = x.shape[1] * x.shape[2], channels = x.shape[3];
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(x.shape[0], 1, pixels * channels, [&](std::int64_t n, std::int64_t) {
        kernels<T>().mean_of_rows(pixels, channels, x.as<T>() + n * pixels * channels, y.as<T>() + n * channels);
      });
    });
  }

  void global_average_backward(ConstView dy, Grad dx) override {
    if (reference_only()) return pool_reference()->global_average_backward(dy, dx);
    const Shape& x = dx.view.shape;
    const std::int64_t pixels = x[1] * x[2], channels = x[3];
    for_floating(dy.dtype, [&]<class T>(T) {
      for_rows(x[0], 1, pixels * channels, [&](std::int64_t n, std::int64_t) {
        kernels<T>().spread_row(pixels, channels, dy.as<T>() + n * channels, dx.view.as<T>() + n * pixels * channels,
                                dx.write == Write::accumulate);
      });
    });
  }
};

}  // namespace

Pool* pool_ops() {
  static CpuPool* const group = new CpuPool;
  return group;
}

}  // namespace descent::cpu
