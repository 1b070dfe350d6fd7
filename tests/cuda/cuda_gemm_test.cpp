// Matrix products on a CUDA device against plain sums in f64; errors are relative to sum |a||b|, as rounding is.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/backend_test.h"
#include "support/cuda_buffer.h"
#if defined(DESCENT_SIMULATED)
#include "control.h"
#endif

namespace descent {
namespace {

using test::CudaBuffer;

struct Product {
  GemmDesc g;
  bool bias = false;
  int offset = 0;  // of every operand, in elements
};

Product product(std::int64_t m, std::int64_t n, std::int64_t k, bool ta, bool tb) {
  Product p;
  p.g.m = m;
  p.g.n = n;
  p.g.k = k;
  p.g.transpose_a = ta;
  p.g.transpose_b = tb;
  return p;
}

template <class F>
void for_transposes(F&& f) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) f(ta, tb);
  }
}

template <class T>
struct Operands {
  std::vector<T> a, b, bias, old;

  explicit Operands(const GemmDesc& g)
      : a(test::random_values<T>(g.batch * g.m * g.k, 1)),
        b(test::random_values<T>(g.batch * g.k * g.n, 2)),
        bias(test::random_values<T>(g.n, 3)),
        old(test::random_values<T>(g.batch * g.m * g.n, 4)) {}
};

template <class T>
std::vector<T> on_device(const Product& p, const Operands<T>& x) {
  const GemmDesc& g = p.g;
  const CudaBuffer<T> a(x.a, p.offset), b(x.b, p.offset), bias(x.bias, p.offset);
  // If beta is 0, c holds NaN and must not be read.
  const std::vector<T> unset(x.old.size(), std::numeric_limits<T>::quiet_NaN());
  const CudaBuffer<T> c(g.beta != 0 ? x.old : unset, p.offset);
  backend(Device::cuda()).gemm->gemm(g, a.view(), b.view(), p.bias ? ConstView(bias.view()) : ConstView(), c.view());
  return c.values();
}

// The largest |c - sums in f64|, in units in the last place of the sum of absolute values.
template <class T>
double worst_error(const Product& p) {
  const GemmDesc& g = p.g;
  const Operands<T> x(g);
  const std::vector<T> c = on_device(p, x);
  const auto at = [](const std::vector<T>& v, std::int64_t i) {
    return static_cast<double>(v[static_cast<std::size_t>(i)]);
  };
  double worst = 0;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(c.size()); ++i) {
    const std::int64_t batch = i / (g.m * g.n), row = i / g.n % g.m, column = i % g.n;
    double sum = 0, size = 0;
    for (std::int64_t l = 0; l < g.k; ++l) {
      const std::int64_t from_a = batch * g.m * g.k + (g.transpose_a ? l * g.m + row : row * g.k + l);
      const std::int64_t from_b = batch * g.k * g.n + (g.transpose_b ? column * g.k + l : l * g.n + column);
      const double term = g.alpha * at(x.a, from_a) * at(x.b, from_b);
      sum += term;
      size += std::abs(term);
    }
    for (const double term : {g.beta * at(x.old, i), p.bias ? at(x.bias, column) : 0.0}) {
      sum += term;
      size += std::abs(term);
    }
    if (g.activation == Activation::relu && sum < 0) sum = 0;
    const double error = std::abs(at(c, i) - sum);
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    if (error > 0) worst = std::max(worst, error / (size * test::unit<T>()));
  }
  return worst;
}

template <class T>
void check(const Product& p) {
  const GemmDesc& g = p.g;
  SCOPED_TRACE(::testing::Message() << g.m << "x" << g.n << "x" << g.k << " batch " << g.batch << " ta "
                                    << g.transpose_a << " tb " << g.transpose_b << " alpha " << g.alpha << " beta "
                                    << g.beta << " bias " << p.bias << " relu " << (g.activation == Activation::relu)
                                    << " offset " << p.offset);
  EXPECT_LE(worst_error<T>(p), 16);
}

template <class T>
class CudaGemm : public ::testing::Test {
 protected:
  void SetUp() override { DESCENT_NEEDS_CUDA(); }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CudaGemm, Types);

TYPED_TEST(CudaGemm, SmallSizesInAllTransposes) {
  for (const std::int64_t m : {0, 1, 2, 7, 33}) {
    for (const std::int64_t n : {0, 1, 3, 8, 33}) {
      for (const std::int64_t k : {0, 1, 3, 8, 33}) {
        for_transposes([&](bool ta, bool tb) { check<TypeParam>(product(m, n, k, ta, tb)); });
      }
    }
  }
}

TYPED_TEST(CudaGemm, LargerSizes) {
  for_transposes([](bool ta, bool tb) {
    check<TypeParam>(product(127, 130, 1025, ta, tb));
    check<TypeParam>(product(128, 256, 512, ta, tb));
    check<TypeParam>(product(1, 1025, 2049, ta, tb));
    check<TypeParam>(product(1025, 1, 2049, ta, tb));
    check<TypeParam>(product(9, 10, 20000, ta, tb));  // a shape that invites split-K
  });
}

TYPED_TEST(CudaGemm, ScalesBiasAndActivation) {
  constexpr std::array<std::array<std::int64_t, 3>, 4> kProducts = {
      {{128, 12, 40}, {13, 35, 103}, {1, 33, 17}, {4, 5, 0}}};
  for (const double alpha : {1.0, -0.5}) {
    for (const double beta : {0.0, 1.0, 0.25}) {
      for (const bool bias : {false, true}) {
        for (const Activation activation : {Activation::none, Activation::relu}) {
          for (const auto& [m, n, k] : kProducts) {
            for (const int offset : {0, 1}) {
              Product p = product(m, n, k, false, true);
              p.g.alpha = alpha;
              p.g.beta = beta;
              p.g.activation = activation;
              p.bias = bias;
              p.offset = offset;
              check<TypeParam>(p);
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(CudaGemm, Batches) {
  for_transposes([](bool ta, bool tb) {
    for (const std::int64_t batch : {0, 2, 65}) {
      Product p = product(9, 17, 21, ta, tb);
      p.g.batch = batch;
      p.bias = true;
      p.g.activation = Activation::relu;
      check<TypeParam>(p);
    }
  });
}

TYPED_TEST(CudaGemm, ReluPassesNaN) {
  for (const bool with_bias : {false, true}) {
    for (const std::int64_t n : {1, 10, 32}) {
      Product p = product(12, n, 20, false, true);
      p.g.activation = Activation::relu;
      p.bias = with_bias;
      Operands<TypeParam> x(p.g);
      x.a.assign(x.a.size(), std::numeric_limits<TypeParam>::quiet_NaN());
      for (const TypeParam value : on_device(p, x)) ASSERT_TRUE(std::isnan(value));
    }
  }
}

TYPED_TEST(CudaGemm, SameBitsInEveryRun) {
  const std::array<Product, 3> products = {product(9, 10, 20000, false, true), product(512, 512, 512, false, false),
                                           product(65, 129, 3000, true, false)};
  for (const Product& p : products) {
    const Operands<TypeParam> x(p.g);
    const std::vector<TypeParam> first = on_device(p, x);
    for (int run = 1; run < 20; ++run) ASSERT_TRUE(test::same_bits(first, on_device(p, x))) << "run " << run;
  }
}

// An element of a product in f64, and the sum of its terms' absolute values, which scales the rounding error.
struct Sums {
  double value = 0, size = 0;
};

template <class T>
std::vector<Sums> plain_product(const GemmDesc& g, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<Sums> c(static_cast<std::size_t>(g.m * g.n));
  for (std::int64_t i = 0; i < g.m * g.n; ++i) {
    const std::int64_t row = i / g.n, column = i % g.n;
    for (std::int64_t l = 0; l < g.k; ++l) {
      const double term =
          static_cast<double>(a[static_cast<std::size_t>(g.transpose_a ? l * g.m + row : row * g.k + l)]) *
          static_cast<double>(b[static_cast<std::size_t>(g.transpose_b ? column * g.k + l : l * g.n + column)]);
      c[static_cast<std::size_t>(i)].value += term;
      c[static_cast<std::size_t>(i)].size += std::abs(term);
    }
  }
  return c;
}

template <class T>
void expect_near(const std::vector<T>& got, const std::vector<Sums>& want, double units, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(static_cast<double>(got[i]) - want[i].value), units * test::unit<T>() * want[i].size)
        << what << " " << i << ": " << got[i] << ", expected " << want[i].value;
  }
}

constexpr double kInner = 0.79788456080286535588, kCube = 0.044715;  // constants of the tanh GELU
double gelu_of(double x) { return 0.5 * x * (1 + std::tanh(kInner * (x + kCube * x * x * x))); }
double gelu_slope(double x) {
  const double t = std::tanh(kInner * (x + kCube * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kInner * (1 + 3 * kCube * x * x);
}

bool bit_of(const std::vector<std::uint8_t>& bits, std::int64_t pitch, std::int64_t row, std::int64_t column) {
  return (bits[static_cast<std::size_t>(row * pitch + column / 8)] >> (column % 8) & 1) != 0;
}

constexpr std::array<std::array<std::int64_t, 3>, 10> kLayers = {{{128, 512, 784},
                                                                  {64, 128, 256},
                                                                  {33, 136, 40},
                                                                  {5, 13, 9},
                                                                  {1, 136, 40},
                                                                  {64, 1, 40},
                                                                  {512, 784, 1},
                                                                  {1, 1, 1},
                                                                  {3, 24, 0},
                                                                  {128, 8, 64}}};

Gemm& cuda_gemm() { return *backend(Device::cuda()).gemm; }

std::int64_t bytes_of_mask(DType dtype, std::int64_t rows, std::int64_t n) {
  return cuda_gemm().aux(Activation::relu, dtype, rows, n).shape.numel();
}

TYPED_TEST(CudaGemm, KeepsWhatTheGradientOfReluNeeds) {
  for (const auto& [m, n, k] : kLayers) {
    for (const bool bias : {false, true}) {
      Product p = product(m, n, k, false, true);
      p.bias = bias;
      p.g.activation = Activation::relu;
      const Operands<TypeParam> x(p.g);
      const std::int64_t bytes = bytes_of_mask(dtype_of<TypeParam>, m, n);
      const CudaBuffer<TypeParam> a(x.a), b(x.b), add(x.bias), c(m * n);
      const CudaBuffer<std::uint8_t> aux(std::vector<std::uint8_t>(static_cast<std::size_t>(bytes)));
      cuda_gemm().gemm(p.g, a.view(), b.view(), bias ? ConstView(add.view()) : ConstView(), c.view(),
                       bytes > 0 ? aux.view() : View());
      const std::vector<TypeParam> y = c.values();
      EXPECT_TRUE(test::same_bits(y, on_device(p, x)));
      const std::vector<std::uint8_t> bits = aux.values();
      for (std::int64_t i = 0; i < m * n && bytes > 0; ++i) {
        ASSERT_EQ(bit_of(bits, bytes / m, i / n, i % n), y[static_cast<std::size_t>(i)] > 0) << i;
      }
    }
  }
}

TYPED_TEST(CudaGemm, GeluAndItsArgument) {
  for (const auto& [m, n, k] : kLayers) {
    for (const bool keep : {false, true}) {
      Product p = product(m, n, k, false, true);
      p.g.activation = Activation::gelu_tanh;
      const Operands<TypeParam> x(p.g);
      std::vector<Sums> argument = plain_product(p.g, x.a, x.b);
      std::vector<Sums> want;
      for (std::size_t i = 0; i < argument.size(); ++i) {
        const double term = static_cast<double>(x.bias[i % static_cast<std::size_t>(n)]);
        argument[i].value += term;
        argument[i].size += std::abs(term);
        want.push_back({gelu_of(argument[i].value), 1.2 * argument[i].size});  // the steepest slope is 1.13
      }
      const CudaBuffer<TypeParam> a(x.a), b(x.b), bias(x.bias), c(m * n), aux(m * n);
      cuda_gemm().gemm(p.g, a.view(), b.view(), bias.view(), c.view(), keep ? aux.view() : View());
      expect_near(c.values(), want, 24, "element");
      if (keep) expect_near(aux.values(), argument, 16, "argument");
    }
  }
}

// Inputs of gemm_dact_bgrad: a gradient, a weight, and the activated output of the layer before.
template <class T>
struct Layer {
  GemmDesc g;
  std::vector<T> a, b, argument, y, old_sums;
  std::vector<std::uint8_t> bits;

  Layer(std::int64_t m, std::int64_t n, std::int64_t k, Activation activation)
      : a(test::random_values<T>(m * k, 1)),
        b(test::random_values<T>(k * n, 2)),
        argument(test::random_values<T>(m * n, 3)),
        old_sums(test::random_values<T>(n, 4)) {
    g.m = m;
    g.n = n;
    g.k = k;
    g.activation = activation;
    bits.resize(static_cast<std::size_t>(bytes_of_mask(dtype_of<T>, m, n)));
    const std::int64_t pitch = static_cast<std::int64_t>(bits.size()) / m;
    for (std::int64_t i = 0; i < m * n; ++i) {
      y.push_back(std::max(argument[static_cast<std::size_t>(i)], T{0}));
      if (bits.empty() || !(y.back() > 0)) continue;
      auto& byte = bits[static_cast<std::size_t>(i / n * pitch + i % n / 8)];
      byte = static_cast<std::uint8_t>(byte | 1U << (i % n % 8));
    }
  }
  double slope(std::size_t i) const {
    const auto x = static_cast<double>(argument[i]);
    if (g.activation == Activation::gelu_tanh) return gelu_slope(x);
    return g.activation == Activation::relu && x <= 0 ? 0 : 1;
  }
};

enum class SumsWanted { no, overwrite, accumulate };

template <class T>
std::array<std::vector<T>, 2> through(const Layer<T>& l, bool with_bits, SumsWanted wanted) {
  const bool relu = l.g.activation == Activation::relu;
  const CudaBuffer<T> a(l.a), b(l.b), argument(l.argument), y(l.y), c(l.g.m * l.g.n);
  const CudaBuffer<T> sums = wanted == SumsWanted::accumulate ? CudaBuffer<T>(l.old_sums) : CudaBuffer<T>(l.g.n);
  const CudaBuffer<std::uint8_t> bits(l.bits);
  ConstView aux;
  if (relu && with_bits && !l.bits.empty()) aux = bits.view();
  if (!relu) aux = argument.view();
  const Write write = wanted == SumsWanted::accumulate ? Write::accumulate : Write::overwrite;
  cuda_gemm().gemm_dact_bgrad(l.g, a.view(), b.view(), relu ? ConstView(y.view()) : ConstView(), aux, c.view(),
                              wanted == SumsWanted::no ? Grad() : Grad{sums.view(), write});
  return {c.values(), sums.values()};
}

TYPED_TEST(CudaGemm, GradientThroughAnActivation) {
  for (const auto& [m, n, k] : kLayers) {
    for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
      const Layer<TypeParam> l(m, n, k, activation);
      std::vector<Sums> want = plain_product(l.g, l.a, l.b), sums(static_cast<std::size_t>(n)), added;
      for (std::size_t i = 0; i < want.size(); ++i) {
        want[i].value *= l.slope(i);
        Sums& column = sums[i % static_cast<std::size_t>(n)];
        column.value += want[i].value;
        column.size += want[i].size;
      }
      for (std::size_t j = 0; j < sums.size(); ++j) {
        const double old = static_cast<double>(l.old_sums[j]);
        added.push_back({sums[j].value + old, sums[j].size + std::abs(old)});
      }
      for (const bool with_bits : {false, true}) {
        for (const SumsWanted wanted : {SumsWanted::no, SumsWanted::overwrite, SumsWanted::accumulate}) {
          SCOPED_TRACE(::testing::Message() << m << "x" << n << "x" << k << " relu " << (activation == Activation::relu)
                                            << " bits " << with_bits << " sums " << static_cast<int>(wanted));
          const auto [c, got] = through(l, with_bits, wanted);
          expect_near(c, want, 24, "element");
          if (wanted != SumsWanted::no) {
            expect_near(got, wanted == SumsWanted::accumulate ? added : sums, 32, "sum");
          }
          for (int run = 0; run < 5; ++run) {
            const auto again = through(l, with_bits, wanted);
            ASSERT_TRUE(test::same_bits(c, again[0]));
            if (wanted == SumsWanted::no) continue;
            ASSERT_TRUE(test::same_bits(got, again[1]));
          }
        }
      }
    }
  }
}

// If the layer before produced NaN, the gradient passes, as on the CPU; if it produced 0, it does not.
TYPED_TEST(CudaGemm, GradientThroughReluOfNaNAndOfZero) {
  for (const bool with_bits : {false, true}) {
    Product p = product(32, 136, 24, false, true);
    p.g.activation = Activation::relu;
    Operands<TypeParam> x(p.g);
    std::fill(x.a.begin(), x.a.begin() + 24, std::numeric_limits<TypeParam>::quiet_NaN());  // the first row
    std::fill(x.a.begin() + 24, x.a.begin() + 48, TypeParam{0});                            // the second
    const CudaBuffer<TypeParam> a(x.a), b(x.b), y(32 * 136), dx(32 * 136);
    const std::int64_t bytes = bytes_of_mask(dtype_of<TypeParam>, 32, 136);
    const CudaBuffer<std::uint8_t> bits(bytes);
    const View aux = with_bits && bytes > 0 ? bits.view() : View();
    cuda_gemm().gemm(p.g, a.view(), b.view(), {}, y.view(), aux);
    const Layer<TypeParam> l(32, 136, 40, Activation::relu);
    const CudaBuffer<TypeParam> dy(l.a), w(l.b);
    cuda_gemm().gemm_dact_bgrad(l.g, dy.view(), w.view(), y.view(), aux, dx.view(), {});
    const std::vector<TypeParam> got = dx.values();
    for (std::size_t j = 0; j < 136; ++j) {
      ASSERT_NE(got[j], 0) << j;
      ASSERT_EQ(got[136 + j], 0) << j;
    }
  }
}

TYPED_TEST(CudaGemm, ProductAndTheSumsOfItsFirstMatrix) {
  for (const auto& [m, n, k] : kLayers) {
    for (const bool ta : {false, true}) {
      for (const int how : {0, 1, 2, 3}) {  // each of the two results may be accumulated
        const bool adds = how % 2 != 0, adds_sums = how / 2 != 0;
        Product p = product(m, n, k, ta, false);
        p.g.beta = adds ? 1 : 0;
        const Operands<TypeParam> x(p.g);
        const auto old_sums = test::random_values<TypeParam>(m, 9);
        std::vector<Sums> want = plain_product(p.g, x.a, x.b), want_sums(static_cast<std::size_t>(m));
        for (std::int64_t i = 0; i < m * k; ++i) {
          const auto value = static_cast<double>(x.a[static_cast<std::size_t>(i)]);
          Sums& row = want_sums[static_cast<std::size_t>(ta ? i % m : i / k)];
          row.value += value;
          row.size += std::abs(value);
        }
        const auto add = [&](std::vector<Sums>& to, const std::vector<TypeParam>& old) {
          for (std::size_t i = 0; i < to.size(); ++i) {
            to[i].value += static_cast<double>(old[i]);
            to[i].size += std::abs(static_cast<double>(old[i]));
          }
        };
        if (adds) add(want, x.old);
        if (adds_sums) add(want_sums, old_sums);
        const CudaBuffer<TypeParam> a(x.a), b(x.b);
        const CudaBuffer<TypeParam> c = adds ? CudaBuffer<TypeParam>(x.old) : CudaBuffer<TypeParam>(m * n);
        const CudaBuffer<TypeParam> sums = adds_sums ? CudaBuffer<TypeParam>(old_sums) : CudaBuffer<TypeParam>(m);
        cuda_gemm().gemm_bgrad(p.g, a.view(), b.view(), c.view(),
                               {sums.view(), adds_sums ? Write::accumulate : Write::overwrite});
        SCOPED_TRACE(::testing::Message() << m << "x" << n << "x" << k << " ta " << ta << " adds " << how);
        expect_near(c.values(), want, 16, "element");
        expect_near(sums.values(), want_sums, 16, "sum");
      }
    }
  }
}

// Sets the matmul precision during its lifetime.
class With {
 public:
  explicit With(Precision precision) { set_matmul_precision(precision); }
  ~With() { set_matmul_precision(Precision::f32); }
  With(const With&) = delete;
  With& operator=(const With&) = delete;
};

// TF32 keeps 11 significant bits of each factor, a relative error of at most 2^-10; there is no further loss. The
// setting restores strict f32. The test does not require rounding: a device may have no TF32 cores.
TEST(CudaPrecision, BoundsOfTheNamedPrecisions) {
  DESCENT_NEEDS_CUDA();
  const Product p = product(256, 256, 512, false, true);
  const double unit = test::unit<float>();
  {
    const With tf32(Precision::tf32);
    EXPECT_LE(worst_error<float>(p), 16 + 2.01 * 0x1p-10 / unit);
  }
  EXPECT_LE(worst_error<float>(p), 16);
}

// With TF32, the libraries apply their own activations in the epilogue.
TEST(CudaPrecision, ActivationsOfTheLibraries) {
  DESCENT_NEEDS_CUDA();
  const With tf32(Precision::tf32);
  constexpr double kCut = 2.01 * 0x1p-10;
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    const bool relu = activation == Activation::relu;
    Product p = product(128, 512, 256, false, true);
    p.g.activation = activation;
    const Operands<float> x(p.g);
    const std::vector<Sums> product = plain_product(p.g, x.a, x.b);
    const std::int64_t bytes = bytes_of_mask(DType::f32, p.g.m, p.g.n);
    const CudaBuffer<float> a(x.a), b(x.b), bias(x.bias), c(p.g.m * p.g.n), argument(p.g.m * p.g.n);
    const CudaBuffer<std::uint8_t> bits(std::vector<std::uint8_t>(static_cast<std::size_t>(bytes)));
    cuda_gemm().gemm(p.g, a.view(), b.view(), bias.view(), c.view(), relu ? bits.view() : argument.view());
    const std::vector<float> y = c.values();
    const std::vector<std::uint8_t> aux = bits.values();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double add = static_cast<double>(x.bias[i % 512]), value = product[i].value + add;
      const double bound = (kCut + 16 * test::unit<float>()) * (product[i].size + std::abs(add));
      // The hardware's tanh has half precision.
      ASSERT_NEAR(static_cast<double>(y[i]), relu ? std::max(value, 0.0) : gelu_of(value),
                  1.2 * bound + (relu ? 0 : 0x1p-10 * std::abs(value)));
      if (relu) {
        ASSERT_EQ(bit_of(aux, 64, static_cast<std::int64_t>(i) / 512, static_cast<std::int64_t>(i) % 512), y[i] > 0);
      }
    }
    const Layer<float> l(128, 512, 256, activation);
    const auto [dx, sums] = through(l, true, SumsWanted::overwrite);
    const std::vector<Sums> want = plain_product(l.g, l.a, l.b);
    std::vector<Sums> columns(512);
    for (std::size_t i = 0; i < dx.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(dx[i]), want[i].value * l.slope(i), 2 * kCut * want[i].size) << i;
      columns[i % 512].value += want[i].value * l.slope(i);
      columns[i % 512].size += want[i].size;
    }
    for (std::size_t j = 0; j < columns.size(); ++j) {
      ASSERT_NEAR(static_cast<double>(sums[j]), columns[j].value, 2 * kCut * columns[j].size) << j;
    }
  }
}

#if defined(DESCENT_SIMULATED)
// Kernels of ours make up for what cuBLASLt refuses, so the results don't tell that it was asked for the wrong thing.
TEST(CudaPrecision, TheLibraryAloneComputesALayer) {
  DESCENT_NEEDS_CUDA();
  if (simulated::settings().epilogues != simulated::Epilogues::all) GTEST_SKIP() << "it lacks epilogues";
  const With tf32(Precision::tf32);
  const auto kernels_of = [](const std::function<void()>& work) {
    simulated::record_work(true);
    work();
    synchronize(Device::cuda());
    std::string names;
    for (const simulated::Work& one : simulated::take_work()) {
      if (one.kind == simulated::WorkKind::kernel) names += one.name + "\n";
    }
    simulated::record_work(false);
    return names;
  };
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    for (const bool with_bias : {true, false}) {
      for (const bool keep : {true, false}) {
        Product p = product(64, 128, 40, false, true);
        p.g.activation = activation;
        const Operands<float> x(p.g);
        const CudaBuffer<float> a(x.a), b(x.b), bias(x.bias), c(p.g.m * p.g.n), argument(p.g.m * p.g.n);
        const std::int64_t bytes = bytes_of_mask(DType::f32, p.g.m, p.g.n);
        const CudaBuffer<std::uint8_t> bits(std::vector<std::uint8_t>(static_cast<std::size_t>(bytes)));
        const View aux = !keep ? View() : activation == Activation::relu ? bits.view() : argument.view();
        const ConstView add = with_bias ? ConstView(bias.view()) : ConstView();
        EXPECT_EQ(kernels_of([&] { cuda_gemm().gemm(p.g, a.view(), b.view(), add, c.view(), aux); }), "");
        const std::vector<float> y = c.values();
        const float least = *std::min_element(y.begin(), y.end());  // about half of the arguments are negative
        EXPECT_TRUE(activation == Activation::relu ? least == 0 : least < -0.1f) << least;
      }
    }
    const Layer<float> l(64, 128, 40, activation);
    EXPECT_EQ(kernels_of([&] { through(l, true, SumsWanted::overwrite); }), "");
    EXPECT_EQ(kernels_of([&] { through(l, true, SumsWanted::no); }), "");
  }
}
#endif

TEST(CudaPrecision, LeavesDoublesAlone) {
  DESCENT_NEEDS_CUDA();
  const With tf32(Precision::tf32);
  EXPECT_LE(worst_error<double>(product(100, 100, 100, false, false)), 16);
}

}  // namespace
}  // namespace descent
