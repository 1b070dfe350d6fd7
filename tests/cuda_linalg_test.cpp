// Matrix products on a CUDA device against plain sums in f64; judged by sum |a||b|, as rounding is.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "backend_test.h"
#include "cuda_buffer.h"

namespace descent {
namespace {

using test::CudaBuffer;

struct Product {
  Gemm g;
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

  explicit Operands(const Gemm& g)
      : a(test::random_values<T>(g.batch * g.m * g.k, 1)),
        b(test::random_values<T>(g.batch * g.k * g.n, 2)),
        bias(test::random_values<T>(g.n, 3)),
        old(test::random_values<T>(g.batch * g.m * g.n, 4)) {}
};

template <class T>
std::vector<T> on_device(const Product& p, const Operands<T>& x) {
  const Gemm& g = p.g;
  const CudaBuffer<T> a(x.a, p.offset), b(x.b, p.offset), bias(x.bias, p.offset);
  // Without beta c holds NaN, and must not be read.
  const std::vector<T> unset(x.old.size(), std::numeric_limits<T>::quiet_NaN());
  const CudaBuffer<T> c(g.beta != 0 ? x.old : unset, p.offset);
  backend(Device::cuda()).linalg->gemm(g, a.view(), b.view(), p.bias ? ConstView(bias.view()) : ConstView(), c.view());
  return c.values();
}

// |c - sums in f64| in units in the last place of the sum of absolute values; the largest.
template <class T>
double worst_error(const Product& p) {
  const Gemm& g = p.g;
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
  const Gemm& g = p.g;
  SCOPED_TRACE(::testing::Message() << g.m << "x" << g.n << "x" << g.k << " batch " << g.batch << " ta "
                                    << g.transpose_a << " tb " << g.transpose_b << " alpha " << g.alpha << " beta "
                                    << g.beta << " bias " << p.bias << " relu " << (g.activation == Activation::relu)
                                    << " offset " << p.offset);
  EXPECT_LE(worst_error<T>(p), 16);
}

template <class T>
class CudaLinalg : public ::testing::Test {
 protected:
  void SetUp() override { DESCENT_NEEDS_CUDA(); }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CudaLinalg, Types);

TYPED_TEST(CudaLinalg, SmallSizesInAllTransposes) {
  for (const std::int64_t m : {0, 1, 2, 7, 33}) {
    for (const std::int64_t n : {0, 1, 3, 8, 33}) {
      for (const std::int64_t k : {0, 1, 3, 8, 33}) {
        for_transposes([&](bool ta, bool tb) { check<TypeParam>(product(m, n, k, ta, tb)); });
      }
    }
  }
}

TYPED_TEST(CudaLinalg, LargerSizes) {
  for_transposes([](bool ta, bool tb) {
    check<TypeParam>(product(127, 130, 1025, ta, tb));
    check<TypeParam>(product(128, 256, 512, ta, tb));
    check<TypeParam>(product(1, 1025, 2049, ta, tb));
    check<TypeParam>(product(1025, 1, 2049, ta, tb));
    check<TypeParam>(product(9, 10, 20000, ta, tb));  // where splitting k is tempting
  });
}

TYPED_TEST(CudaLinalg, ScalesBiasAndActivation) {
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

TYPED_TEST(CudaLinalg, Batches) {
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

TYPED_TEST(CudaLinalg, ReluPassesNaN) {
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

TYPED_TEST(CudaLinalg, SameBitsInEveryRun) {
  const std::array<Product, 3> products = {product(9, 10, 20000, false, true), product(512, 512, 512, false, false),
                                           product(65, 129, 3000, true, false)};
  for (const Product& p : products) {
    const Operands<TypeParam> x(p.g);
    const std::vector<TypeParam> first = on_device(p, x);
    for (int run = 1; run < 20; ++run) ASSERT_TRUE(test::same_bits(first, on_device(p, x))) << "run " << run;
  }
}

// Sets the precision while it lives.
class With {
 public:
  explicit With(Precision precision) { set_precision(precision); }
  ~With() { set_precision(Precision::f32); }
  With(const With&) = delete;
  With& operator=(const With&) = delete;
};

// TF32 cuts each factor to 11 bits, which takes at most 2^-10 of it; nothing is lost beyond that. Strict f32 comes back
// with the setting. That it rounds at all is not asked: a device may have no such cores.
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

TEST(CudaPrecision, LeavesDoublesAlone) {
  DESCENT_NEEDS_CUDA();
  const With tf32(Precision::tf32);
  EXPECT_LE(worst_error<double>(product(100, 100, 100, false, false)), 16);
}

}  // namespace
}  // namespace descent
