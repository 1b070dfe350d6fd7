// The fast matrix products against the reference loops, with error bounds proportional to sum |a||b|, as rounding is.
#include <gtest/gtest.h>

#include "cpu/gemm/gemm.h"
#include "support/cpu_kernels.h"

namespace descent {
namespace {

using test::Fenced;

template <class T>
struct Product {
  GemmDesc g;
  bool bias = false;
};

template <class T>
class GemmFast : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GemmFast, Types);

// Every |c - reference| is within 16 units in the last place of sum |a||b| plus the magnitude of what is added to it.
template <class T>
void check(const Product<T>& p) {
  const GemmDesc& g = p.g;
  SCOPED_TRACE(::testing::Message() << g.m << "x" << g.n << "x" << g.k << " batch " << g.batch << " ta "
                                    << g.transpose_a << " tb " << g.transpose_b << " alpha " << g.alpha << " beta "
                                    << g.beta << " bias " << p.bias << " relu " << (g.activation == Activation::relu));
  test::Numbers numbers(7);
  const auto a = numbers.fenced<T>(g.batch * g.m * g.k), b = numbers.fenced<T>(g.batch * g.k * g.n),
             bias = numbers.fenced<T>(g.n);
  const std::int64_t size = g.batch * g.m * g.n;
  const auto old =
      g.beta != 0 ? numbers.fenced<T>(size) : Fenced<T>(size);  // with beta 0, c holds NaN and must not be read
  const auto run = [&](const GemmDesc& gemm, const auto& x, const auto& y, const Fenced<T>& z,
                       const Fenced<T>& before) {
    Fenced<T> c = before;
    cpu::gemm_ops()->gemm(gemm, x.view({x.size()}), y.view({y.size()}), p.bias ? z.view({g.n}) : ConstView(),
                          c.view({size}));
    return c;
  };
  const auto c = run(g, a, b, bias, old);
  EXPECT_TRUE(c.fences_hold());
  Fenced<T> expected(0), magnitude(0);
  {
    const test::ReferenceOnly reference;
    expected = run(g, a, b, bias, old);
    const auto absolute = [](Fenced<T> f) {
      for (std::int64_t i = 0; i < f.size(); ++i) f[i] = std::abs(f[i]);
      return f;
    };
    GemmDesc sizes = g;
    sizes.alpha = std::abs(g.alpha);
    sizes.beta = std::abs(g.beta);
    magnitude = run(sizes, absolute(a), absolute(b), absolute(bias), absolute(old));
  }
  EXPECT_TRUE(expected.fences_hold());
  const double unit = std::numeric_limits<T>::epsilon() / 2;
  for (std::int64_t i = 0; i < size; ++i) {
    const double error = std::abs(static_cast<double>(c[i]) - static_cast<double>(expected[i]));
    ASSERT_LE(error, 16 * unit * static_cast<double>(magnitude[i])) << "element " << i;
  }
}

template <class T>
Product<T> product(std::int64_t m, std::int64_t n, std::int64_t k, bool ta, bool tb) {
  Product<T> p;
  p.g.m = m;
  p.g.n = n;
  p.g.k = k;
  p.g.transpose_a = ta;
  p.g.transpose_b = tb;
  return p;
}

template <class T, class F>
void for_transposes(F&& f) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) f(ta, tb);
  }
}

TYPED_TEST(GemmFast, SmallSizesInAllTransposes) {
  for (const std::int64_t m : {0, 1, 2, 5, 6, 7, 13, 33}) {
    for (const std::int64_t n : {0, 1, 3, 8, 16, 17, 31, 33, 65}) {
      for (const std::int64_t k : {0, 1, 3, 8, 33}) {
        for_transposes<TypeParam>([&](bool ta, bool tb) { check(product<TypeParam>(m, n, k, ta, tb)); });
      }
    }
  }
}

TYPED_TEST(GemmFast, LargerThanOneBlock) {
  for_transposes<TypeParam>([](bool ta, bool tb) {
    check(product<TypeParam>(127, 130, 1025, ta, tb));
    check(product<TypeParam>(3, 1025, 2100, ta, tb));
    check(product<TypeParam>(1025, 2, 300, ta, tb));
    check(product<TypeParam>(1, 1025, 2049, ta, tb));
    check(product<TypeParam>(1025, 1, 2049, ta, tb));
    check(product<TypeParam>(1100, 1100, 31, ta, tb));
  });
}

TYPED_TEST(GemmFast, PackedOperandsLargerThanOneBlock) {
  check(product<TypeParam>(8, 1100, 1024, false, false));
  check(product<TypeParam>(1100, 9, 1024, true, false));
}

TYPED_TEST(GemmFast, ScalesBiasAndActivation) {
  for (const double alpha : {1.0, -0.5}) {
    for (const double beta : {0.0, 1.0, 0.25}) {
      for (const bool bias : {false, true}) {
        for (const Activation activation : {Activation::none, Activation::relu}) {
          for_transposes<TypeParam>([&](bool ta, bool tb) {
            for (const auto& [m, n, k] :
                 {std::array<std::int64_t, 3>{128, 10, 40}, {13, 35, 1030}, {1, 33, 17}, {33, 1, 17}, {4, 5, 0}}) {
              auto p = product<TypeParam>(m, n, k, ta, tb);
              p.g.alpha = alpha;
              p.g.beta = beta;
              p.g.activation = activation;
              p.bias = bias;
              check(p);
            }
          });
        }
      }
    }
  }
}

TYPED_TEST(GemmFast, Batches) {
  for_transposes<TypeParam>([](bool ta, bool tb) {
    auto p = product<TypeParam>(9, 17, 21, ta, tb);
    p.g.batch = 5;
    p.bias = true;
    check(p);
    p = product<TypeParam>(150, 140, 120, ta, tb);
    p.g.batch = 2;
    check(p);
    p.g.batch = 0;
    check(p);
  });
}

TYPED_TEST(GemmFast, SameBitsForAnyNumberOfThreads) {
  test::Numbers numbers(5);
  for_transposes<TypeParam>([&](bool ta, bool tb) {
    for (const auto& [m, n, k] :
         {std::array<std::int64_t, 3>{128, 512, 784}, {130, 140, 1030}, {1, 700, 513}, {700, 1, 513}}) {
      const auto p = product<TypeParam>(m, n, k, ta, tb);
      const auto a = numbers.fenced<TypeParam>(m * k), b = numbers.fenced<TypeParam>(k * n);
      test::same_for_all_threads([&] {
        Fenced<TypeParam> c(m * n);
        cpu::gemm_ops()->gemm(p.g, a.view({m * k}), b.view({k * n}), ConstView(), c.view({m * n}));
        return c;
      });
    }
  });
}

TYPED_TEST(GemmFast, ReluPassesNaN) {
  for (const std::int64_t n : {1, 10, 32}) {
    for (const std::int64_t m : {1, 12}) {
      auto p = product<TypeParam>(m, n, 20, false, true);
      p.g.activation = Activation::relu;
      const Fenced<TypeParam> a(m * 20, std::numeric_limits<TypeParam>::quiet_NaN()), b(n * 20, TypeParam{1});
      Fenced<TypeParam> c(m * n, TypeParam{0});
      cpu::gemm_ops()->gemm(p.g, a.view({m, 20}), b.view({n, 20}), ConstView(), c.view({m, n}));
      for (std::int64_t i = 0; i < m * n; ++i) EXPECT_TRUE(std::isnan(c[i]));
    }
  }
}

}  // namespace
}  // namespace descent
