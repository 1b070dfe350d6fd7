// Kernels on elements stored in bf16: the results of the same kernel on the same numbers in f32 (which other tests
// check against the CPU), rounded once, to nearest with ties to even. Gradients of parameters and statistics are f32
// and differ only by the grouping of their sums.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/conv/unfused.cuh"
#include "cuda/elementwise/broadcast.cuh"
#include "cuda/elementwise/elementwise.cuh"
#include "cuda/gemm/gemm.cuh"
#include "cuda/indexing/indexing.cuh"
#include "cuda/norm/norm.cuh"
#include "cuda/pool/pool.cuh"
#include "cuda/random/random.cuh"
#include "cuda/reduce/reduce.cuh"

namespace descent::gpu {
namespace {

using Bf16 = __nv_bfloat16;
using Floats = std::vector<float>;

const std::vector<std::int64_t> kLengths{0, 1, 7, 8, 9, 31, 32, 33, 255, 1025, 6157};
constexpr Write kWrites[] = {Write::overwrite, Write::accumulate};

float rounded(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }

// n numbers that bf16 represents exactly.
Floats numbers(std::int64_t n, unsigned seed, double low = -2, double high = 2) {
  Floats x = test::random_values<float>(n, seed, low, high);
  for (float& value : x) value = rounded(value);
  return x;
}

template <class T>
std::vector<T> stored(const Floats& x) {
  std::vector<T> y;
  for (const float value : x) y.push_back(narrow<T>(value));
  return y;
}

template <class T>
Floats floats(const std::vector<T>& x) {
  Floats y;
  for (const T value : x) y.push_back(widen(value));
  return y;
}

// A call's results: activations, and parameter values in f32.
struct Results {
  Floats activations, parameters;
};

// Maps bf16 numbers to integers so that adjacent numbers differ by one.
int order(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  const int size = static_cast<int>((bits & 0x7FFFFFFFU) >> 16);
  return (bits >> 31) != 0 ? -size : size;
}

// `apart`: the largest allowed distance in bf16 numbers. Parameters are compared relative to the largest of them.
void expect_rounded(const Results& full, const Results& mixed, int apart) {
  ASSERT_EQ(mixed.activations.size(), full.activations.size());
  for (std::size_t i = 0; i < full.activations.size(); ++i) {
    const float want = rounded(full.activations[i]), got = mixed.activations[i];
    const bool same = std::isnan(want) ? std::isnan(got) : std::abs(order(want) - order(got)) <= apart;
    ASSERT_TRUE(same) << "element " << i << " is " << got << ", expected " << want;
  }
  float size = 0;
  for (const float value : full.parameters) size = std::max(size, std::abs(value));
  ASSERT_EQ(mixed.parameters.size(), full.parameters.size());
  for (std::size_t i = 0; i < full.parameters.size(); ++i) {
    ASSERT_NEAR(mixed.parameters[i], full.parameters[i], 4e-7F * size) << "parameter " << i;
  }
}

// Where inputs and outputs begin, in elements after a 16-byte boundary.
struct Offsets {
  int in, out;
};
constexpr Offsets kOffsets[] = {{0, 0}, {1, 1}, {3, 0}, {0, 2}};

// op<T>(stream, offsets) returns Results, for T = float and T = bf16.
template <class Op>
void check(const std::string& name, const Op& op, int apart = 0) {
  for (const Offsets& offsets : kOffsets) {
    SCOPED_TRACE(name + ", offsets " + std::to_string(offsets.in) + " and " + std::to_string(offsets.out));
    TestStream stream;
    const Results full = op.template operator()<float>(stream, Offsets{0, 0});
    const Results mixed = op.template operator()<Bf16>(stream, offsets);
    expect_rounded(full, mixed, apart);
  }
}

template <class T>
struct In : DeviceArray<T> {
  In(const Floats& x, Offsets at) : DeviceArray<T>(stored<T>(x), at.in) {}
};
// An output that holds `before`, or NaN if it must not be read.
template <class T>
struct Out : DeviceArray<T> {
  Out(std::int64_t n, Offsets at) : DeviceArray<T>(n, at.out) {}
  Out(const Floats& before, Write write, Offsets at)
      : DeviceArray<T>(write == Write::accumulate
                           ? stored<T>(before)
                           : stored<T>(Floats(before.size(), std::numeric_limits<float>::quiet_NaN())),
                       at.out) {}
  Floats floats() const { return gpu::floats(this->host()); }
};

TEST(Bf16, UnaryAndItsGradient) {
  for (const Unary op : {Unary::relu, Unary::gelu, Unary::tanh, Unary::exp, Unary::affine, Unary::silu}) {
    for (const std::int64_t n : kLengths) {
      const Floats x = numbers(n, 1), dy = numbers(n, 2), before = numbers(n, 3);
      check("unary " + std::to_string(static_cast<int>(op)) + " of " + std::to_string(n),
            [&]<class T>(TestStream& stream, Offsets at) {
              const In<T> in(x, at);
              const Out<T> y(n, at);
              unary(stream, op, 1.5, -0.25, n, in.data(), y.data());
              return Results{y.floats(), {}};
            });
      for (const Write write : kWrites) {
        check("its gradient", [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> in(x, at), top(dy, at);
          const Out<T> dx(before, write, at);
          unary_backward(stream, op, 1.5, -0.25, n, in.data(), in.data(), top.data(), dx.data(), write);
          return Results{dx.floats(), {}};
        });
      }
    }
  }
}

TEST(Bf16, Arithmetic) {
  const Shape shape{3, 5, 24};
  const Floats a = numbers(360, 1), b = numbers(360, 2, 0.5, 2), before = numbers(360, 3);
  for (const Shape& second : {shape, Shape{24}, Shape{5, 1}, Shape{}}) {
    for (const Binary op : {Binary::add, Binary::sub, Binary::mul, Binary::div}) {
      for (const Write write : kWrites) {
        check("binary " + to_string(second), [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> left(a, at), right(b, at);
          const Out<T> y(before, write, at);
          binary(stream, op, Broadcast(shape, shape, second), left.data(), right.data(), y.data(), write);
          return Results{y.floats(), {}};
        });
      }
    }
  }
  for (const std::int64_t n : kLengths) {
    const Floats x = numbers(n, 4), y_before = numbers(n, 5);
    for (const double beta : {0.0, -0.5}) {
      check("axpby", [&]<class T>(TestStream& stream, Offsets at) {
        const In<T> in(x, at);
        const Out<T> y(y_before, beta == 0 ? Write::overwrite : Write::accumulate, at);
        axpby(stream, 0.75, in.data(), beta, n, y.data());
        return Results{y.floats(), {}};
      });
    }
    check("scale_by", [&]<class T>(TestStream& stream, Offsets at) {
      const Out<T> y(y_before, Write::accumulate, at);
      const DeviceArray<double> factor({0.3});
      scale_by(stream, n, y.data(), factor.data());
      return Results{y.floats(), {}};
    });
  }
}

// Every 7th bf16 number, values between adjacent numbers, and special values.
TEST(Bf16, ConvertsAsTheCpuDoes) {
  Floats x;
  for (std::uint32_t bits = 0; bits <= 0xFFFFU; bits += 7) {
    for (const std::uint32_t low : {0x0000U, 0x7FFFU, 0x8000U, 0x8001U}) {
      const std::uint32_t word = bits << 16 | low;
      float value = 0;
      std::memcpy(&value, &word, sizeof value);
      x.push_back(value);
    }
  }
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::uint16_t> want(x.size());
  test::cpu_backend().elementwise->convert({x.data(), {n}, DType::f32}, {want.data(), {n}, DType::bf16});
  for (const Offsets& at : kOffsets) {
    TestStream stream;
    const DeviceArray<float> in(x, at.in);
    const DeviceArray<Bf16> narrow(n, at.out);
    const DeviceArray<float> wide(n, at.in);
    convert(stream, n, in.data(), narrow.data());
    convert(stream, n, narrow.data(), wide.data());
    const std::vector<Bf16> got = narrow.host();
    const Floats back = wide.host();
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(back[i]));
        continue;
      }
      std::uint16_t bits = 0;
      std::memcpy(&bits, &got[i], sizeof bits);
      ASSERT_EQ(bits, want[i]) << x[i];
      ASSERT_EQ(back[i], rounded(x[i]));
    }
  }
}

template <class T, class Y>
Floats reduced(TestStream& stream, ReduceOp op, const In<T>& x, const Shape& e, const Floats& before, Write write,
               Offsets at) {
  const Out<Y> y(before, write, at);
  reduce(stream, op, x.data(), e[0], e[1], e[2], y.data(), write);
  return y.floats();
}

TEST(Bf16, Reductions) {
  for (const Shape& e : {Shape{5, 33, 1}, Shape{3, 1025, 1}, Shape{1, 33000, 1}, Shape{2, 40, 3}, Shape{1, 257, 16},
                         Shape{2, 8, 264}, Shape{1, 9000, 8}}) {
    const Floats values = numbers(e.numel(), 1), before = numbers(e[0] * e[2], 2), top = numbers(e[0] * e[2], 3);
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::max}) {
      for (const Write write : kWrites) {
        check("reduce " + to_string(e), [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> x(values, at);  // to T, and to f32 as for gradients of parameters
          return Results{reduced<T, T>(stream, op, x, e, before, write, at),
                         reduced<T, float>(stream, op, x, e, before, write, at)};
        });
      }
    }
    for (const Write write : kWrites) {
      check("sum_to", [&]<class T>(TestStream& stream, Offsets at) {
        const In<T> x(values, at);
        const Out<T> y(Floats(before.begin(), before.begin() + e[2]), write, at);
        sum_to(stream, x.data(), e, Shape{e[2]}, y.data(), write);
        return Results{y.floats(), {}};
      });
      check("max_backward", [&]<class T>(TestStream& stream, Offsets at) {
        const In<T> x(values, at), dy(top, at);
        const Out<T> y(e[0] * e[2], at), dx(values, write, at);
        reduce(stream, ReduceOp::max, x.data(), e[0], e[1], e[2], y.data(), Write::overwrite);
        max_backward(stream, x.data(), y.data(), dy.data(), e[0], e[1], e[2], dx.data(), write);
        return Results{dx.floats(), {}};
      });
    }
    check("argmax, squares", [&]<class T>(TestStream& stream, Offsets at) {
      const In<T> x(values, at);
      const std::int64_t rows = e[0], n = e[1] * e[2];
      const DeviceArray<std::int32_t> indices(rows);
      const DeviceArray<double> squares(1);
      argmax_rows(stream, x.data(), rows, n, indices.data());
      sum_of_squares(stream, x.data(), rows * n, squares.data());
      Results r;
      for (const std::int32_t place : indices.host()) r.parameters.push_back(static_cast<float>(place));
      r.parameters.push_back(static_cast<float>(squares.host()[0]));
      return r;
    });
  }
}

TEST(Bf16, Indices) {
  const std::vector<std::int32_t> index{3, 0, -1, 5, 3, 9, 0, 3};
  for (const std::int64_t width : {1, 5, 8, 32}) {
    const Floats dy = numbers(8 * width, 1), before = numbers(6 * width, 2);
    for (const Write write : kWrites) {
      check("scatter_add_rows", [&]<class T>(TestStream& stream, Offsets at) {
        const In<T> from(dy, at);
        const Out<T> to(before, write, at);
        const DeviceArray<std::int32_t> rows(index);
        scatter_add_rows(stream, from.data(), rows.data(), 8, to.data(), 6, width, write);
        return Results{to.floats(), {}};
      });
    }
    check("add_block", [&]<class T>(TestStream& stream, Offsets at) {
      const In<T> from(dy, at);
      const Out<T> to(before, Write::accumulate, at);
      add_block(stream, from.data(), width, to.data(), 2 * width, 3, width);
      return Results{to.floats(), {}};
    });
    check("gather_images", [&]<class T>(TestStream& stream, Offsets at) {
      std::vector<std::uint8_t> pixels;
      for (std::int64_t i = 0; i < 6 * width; ++i) pixels.push_back(static_cast<std::uint8_t>(i * 37));
      const DeviceArray<std::uint8_t> x(pixels);
      const DeviceArray<std::int32_t> rows(index);
      const DeviceArray<float> shift({12.5F}), scale({0.013F});
      const Out<T> y(8 * width, at);
      gather_images(stream, x.data(), 6, rows.data(), 8, width, shift.data(), scale.data(), 1, y.data());
      return Results{y.floats(), {}};
    });
  }
}

TEST(Bf16, RandomNumbers) {
  const DeviceArray<std::int32_t> number({5});
  const RandomCall call{42, 7, number.data()};
  for (const std::int64_t n : kLengths) {
    const Floats x = numbers(n, 1), before = numbers(n, 2);
    for (const Write write : kWrites) {
      check("dropout", [&]<class T>(TestStream& stream, Offsets at) {
        const In<T> in(x, at);
        const Out<T> y(before, write, at);
        dropout(stream, call, 0.3, in.data(), y.data(), n, write);
        return Results{y.floats(), {}};
      });
    }
    check("uniform and normal", [&]<class T>(TestStream& stream, Offsets at) {
      const Out<T> a(n, at), b(n, at);
      uniform(stream, call, -1, 2, a.data(), n);
      normal(stream, call, 0.5, 2, b.data(), n);
      Results r{a.floats(), {}};
      const Floats second = b.floats();
      r.activations.insert(r.activations.end(), second.begin(), second.end());
      return r;
    });
  }
}

TEST(Bf16, EndOfAProduct) {
  for (const Shape& e : {Shape{5, 8}, Shape{41, 24}, Shape{7, 11}, Shape{129, 48}}) {
    const Floats values = numbers(e.numel(), 1), before = numbers(e.numel(), 2);
    const Floats bias = test::random_values<float>(e[1], 3);
    for (const double beta : {0.0, 1.0}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        check("epilogue", [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> x(values, at);
          const DeviceArray<float> b(bias);
          const Out<T> c(before, beta == 0 ? Write::overwrite : Write::accumulate, at);
          epilogue<T>(stream, e[0], e[1], x.data(), beta, b.data(), activation, c.data());
          return Results{c.floats(), {}};
        });
      }
    }
    check("epilogue_relu", [&]<class T>(TestStream& stream, Offsets at) {
      const std::int64_t bytes = e[0] * relu_pitch(e[1]);
      const DeviceArray<float> b(bias);
      const DeviceArray<std::uint8_t> bits(std::vector<std::uint8_t>(static_cast<std::size_t>(bytes), 0xAB));
      const Out<T> c(before, Write::accumulate, at);
      epilogue_relu<T>(stream, e[0], e[1], b.data(), c.data(), bits.data());
      const std::vector<std::uint8_t> written = bits.host();
      return Results{c.floats(), Floats(written.begin(), written.end())};
    });
  }
}

PoolSize pool_size(const Shape& x, const Pool2dOptions& g) {
  return {x[0],
          x[1],
          x[2],
          x[3],
          (x[1] + 2 * g.padding_h - g.kernel_h) / g.stride_h + 1,
          (x[2] + 2 * g.padding_w - g.kernel_w) / g.stride_w + 1,
          g};
}

TEST(Bf16, ReluBehindPooling) {
  const Floats y{0, 1, -2, std::numeric_limits<float>::quiet_NaN(), 0.5, -0.0F};
  const auto check_type = [&]<class T>(T) {
    TestStream stream;
    const DeviceArray<T> pooled(stored<T>(y));
    const DeviceArray<std::uint8_t> code({0, 1, 2, 3, 0, 1});
    relu_pooled(stream, 6, pooled.data(), code.data());
    EXPECT_EQ(code.host(), (std::vector<std::uint8_t>{4, 1, 4, 3, 0, 4}));
    const Floats got = floats(pooled.host());
    EXPECT_TRUE(std::isnan(got[3]));
    EXPECT_EQ((Floats{got[0], got[1], got[2], got[4], got[5]}), (Floats{0, 1, 0, 0.5, 0}));
  };
  check_type(float());
  check_type(Bf16());
}

TEST(Bf16, Pooling) {
  for (const Shape& in : {Shape{2, 7, 6, 16}, Shape{1, 8, 8, 3}}) {
    for (const Pool2dOptions& g : {Pool2dOptions{}, Pool2dOptions{3, 3, 2, 2, 1, 1, false}}) {
      const PoolSize s = pool_size(in, g);
      const std::int64_t outs = s.n * s.out_h * s.out_w * s.c;
      const Floats values = numbers(in.numel(), 1), top = numbers(outs, 2), before = numbers(in.numel(), 3);
      for (const Write write : kWrites) {
        check("max_pool " + to_string(in), [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> x(values, at), dy(top, at);
          const Out<T> y(outs, at), dx(before, write, at);
          const DeviceArray<std::uint8_t> code(outs);
          max_pool(stream, s, x.data(), y.data(), code.data());
          max_pool_backward(stream, s, dy.data(), code.data(), dx.data(), write);
          Results r{y.floats(), {}};
          const Floats back = dx.floats();
          r.activations.insert(r.activations.end(), back.begin(), back.end());
          return r;
        });
        check("average_pool", [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> x(values, at), dy(top, at);
          const Out<T> y(outs, at), dx(before, write, at);
          average_pool(stream, s, x.data(), y.data());
          average_pool_backward(stream, s, dy.data(), dx.data(), write);
          Results r{y.floats(), {}};
          const Floats back = dx.floats();
          r.activations.insert(r.activations.end(), back.begin(), back.end());
          return r;
        });
        check("global_average_pool", [&]<class T>(TestStream& stream, Offsets at) {
          const In<T> x(values, at), dy(Floats(top.begin(), top.begin() + s.n * s.c), at);
          const Out<T> y(s.n * s.c, at), dx(before, write, at);
          global_average_pool(stream, s.n, s.h * s.w, s.c, x.data(), y.data());
          global_average_pool_backward(stream, s.n, s.h * s.w, s.c, dy.data(), dx.data(), write);
          Results r{y.floats(), {}};
          const Floats back = dx.floats();
          r.activations.insert(r.activations.end(), back.begin(), back.end());
          return r;
        });
      }
    }
  }
}

void append(Floats& to, const Floats& more) { to.insert(to.end(), more.begin(), more.end()); }

// A channel's parameters, both inputs and results: f32 whatever the activations' type.
struct Channels {
  DeviceArray<float> gamma, beta, running_mean, running_var, mean, inv_std, dgamma, dbeta;

  explicit Channels(std::int64_t c)
      : gamma(test::random_values<float>(c, 11, 0.5, 1.5)),
        beta(test::random_values<float>(c, 12)),
        running_mean(test::random_values<float>(c, 13)),
        running_var(test::random_values<float>(c, 14, 0.5, 1.5)),
        mean(c),
        inv_std(c),
        dgamma(c),
        dbeta(c) {}
  BatchParameters<float> parameters() const {
    return {gamma.data(), beta.data(), running_mean.data(), running_var.data(), 0.1, 1e-5};
  }
  BatchSaved<float> saved() const { return {gamma.data(), mean.data(), inv_std.data()}; }
  Floats results() const {
    Floats all;
    for (const DeviceArray<float>* part : {&running_mean, &running_var, &mean, &inv_std, &dgamma, &dbeta})
      append(all, part->host());
    return all;
  }
};

// One number apart: dx of the f32 kernel and of this one differ by the grouping of the sums in its coefficients.
TEST(Bf16, BatchNorm) {
  for (const Shape& e : {Shape{40, 16}, Shape{33, 5}, Shape{300, 24}}) {
    const std::int64_t rows = e[0], c = e[1];
    const Floats values = numbers(e.numel(), 1), top = numbers(e.numel(), 2), before = numbers(e.numel(), 3);
    for (const Activation activation : {Activation::none, Activation::relu}) {
      for (const Write write : kWrites) {
        check(
            "batch_norm " + to_string(e),
            [&]<class T>(TestStream& stream, Offsets at) {
              const In<T> x(values, at), dy(top, at);
              const Out<T> y(e.numel(), at), dx(before, write, at), evaluated(e.numel(), at);
              const Channels k(c);
              batch_train<T>(stream, rows, c, k.parameters(), x.data(), activation, y.data(), k.mean.data(),
                             k.inv_std.data());
              batch_eval<T>(stream, rows, c, k.parameters(), x.data(), activation, evaluated.data());
              batch_backward<T>(stream, true, activation, rows, c, x.data(), y.data(), dy.data(), k.saved(),
                                {dx.data(), write == Write::accumulate}, {k.dgamma.data(), false},
                                {k.dbeta.data(), false});
              Results r{y.floats(), k.results()};
              append(r.activations, evaluated.floats());
              append(r.activations, dx.floats());
              return r;
            },
            1);
      }
    }
  }
}

TEST(Bf16, BatchNormPooled) {
  for (const Shape& in : {Shape{3, 6, 6, 16}, Shape{2, 7, 5, 3}}) {
    const PooledShape s{in[0], in[1], in[2], in[3], in[1] / 2, in[2] / 2};
    const std::int64_t outs = s.n * s.out_h * s.out_w * s.c;
    const Floats values = numbers(in.numel(), 1), top = numbers(outs, 2), before = numbers(in.numel(), 3);
    for (const Write write : kWrites) {
      check(
          "batch_norm_relu_pool " + to_string(in),
          [&]<class T>(TestStream& stream, Offsets at) {
            const In<T> x(values, at), dy(top, at);
            const Out<T> y(outs, at), dx(before, write, at);
            const DeviceArray<std::uint8_t> code(outs);
            const Channels k(s.c);
            batch_train_relu_pool<T>(stream, s, k.parameters(), x.data(), y.data(), code.data(), k.mean.data(),
                                     k.inv_std.data());
            batch_backward_relu_pool<T>(stream, s, x.data(), dy.data(), code.data(), k.saved(),
                                        {dx.data(), write == Write::accumulate}, {k.dgamma.data(), false},
                                        {k.dbeta.data(), false});
            Results r{y.floats(), k.results()};
            append(r.activations, dx.floats());
            return r;
          },
          1);
    }
  }
}

TEST(Bf16, LayerNorm) {
  for (const Shape& e : {Shape{5, 24}, Shape{3, 256}, Shape{4, 33}, Shape{2, 1032}}) {
    const std::int64_t rows = e[0], n = e[1];
    const Floats values = numbers(e.numel(), 1), top = numbers(e.numel(), 2), before = numbers(e.numel(), 3);
    for (const Write write : kWrites) {
      check(
          "layer_norm " + to_string(e),
          [&]<class T>(TestStream& stream, Offsets at) {
            const In<T> x(values, at), dy(top, at);
            const Out<T> y(e.numel(), at), dx(before, write, at);
            const Channels k(n);
            const DeviceArray<float> mean(rows), inv_std(rows);
            layer<T>(stream, rows, n, x.data(), k.gamma.data(), k.beta.data(), 1e-5, y.data(), mean.data(),
                     inv_std.data());
            layer_backward<T>(stream, rows, n, x.data(), dy.data(), {k.gamma.data(), mean.data(), inv_std.data()},
                              {dx.data(), write == Write::accumulate}, {k.dgamma.data(), false},
                              {k.dbeta.data(), false});
            Results r{y.floats(), k.dgamma.host()};
            append(r.parameters, k.dbeta.host());
            append(r.parameters, mean.host());
            append(r.parameters, inv_std.host());
            append(r.activations, dx.floats());
            return r;
          },
          1);
    }
  }
}

}  // namespace
}  // namespace descent::gpu
