// The epilogue pass of a matrix product: every combination of its terms at every alignment, exactly; and a product
// with an inner dimension of 0 against the CPU's.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/gemm/gemm.cuh"

namespace descent::gpu {
namespace {

using test::random_values;

struct Matrix {
  std::int64_t rows, n;
};

// Rows without packs, with some and with only whole packs; around a block; more than three blocks process at once.
const std::vector<Matrix> kMatrices{{0, 4},  {3, 0},  {1, 1},   {1, 3},  {5, 1},   {2, 4},   {3, 5},    {31, 1},
                                    {1, 32}, {3, 11}, {1, 255}, {64, 4}, {257, 1}, {41, 25}, {205, 30}, {129, 48}};

struct Terms {
  bool x, bias;
  double beta;
  Activation activation;
};

std::vector<Terms> all_terms() {
  std::vector<Terms> all;
  for (const bool x : {false, true}) {
    for (const bool bias : {false, true}) {
      for (const double beta : {0.0, 1.0, -0.5}) {  // 0 or powers of two: no rounding before the sum
        for (const Activation activation : {Activation::none, Activation::relu})
          all.push_back({x, bias, beta, activation});
      }
    }
  }
  return all;
}

template <class T>
std::vector<T> expected(const Matrix& m, const Terms& terms, const std::vector<T>& x, const std::vector<T>& c,
                        const std::vector<T>& bias) {
  std::vector<T> result(c.size());
  for (std::int64_t i = 0; i < m.rows * m.n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    T value = terms.x ? x[at] : T{0};
    if (terms.beta != 0) value += static_cast<T>(terms.beta) * c[at];
    if (terms.bias) value += bias[static_cast<std::size_t>(i % m.n)];
    result[at] = terms.activation == Activation::relu && value < 0 ? T{0} : value;
  }
  return result;
}

template <class T>
void check(const Matrix& m, const Terms& terms, int offset) {
  SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.n << " x " << terms.x << " bias " << terms.bias << " beta "
                                    << terms.beta << " relu " << (terms.activation == Activation::relu) << " offset "
                                    << offset);
  const std::int64_t total = m.rows * m.n;
  const auto x = random_values<T>(total, 1), before = random_values<T>(total, 2), bias = random_values<T>(m.n, 3);
  const DeviceArray<T> device_x(x, offset), device_bias(bias, offset);
  const DeviceArray<T> c(total, offset);  // NaN, which must not be read if beta is 0
  DeviceArray<T> filled(before, offset);
  const DeviceArray<T>& to = terms.beta == 0 ? c : filled;
  TestStream stream;
  epilogue<T>(stream, m.rows, m.n, terms.x ? device_x.data() : nullptr, terms.beta,
              terms.bias ? device_bias.data() : nullptr, terms.activation, to.data());
  const std::vector<T> got = to.host(), want = expected(m, terms, x, before, bias);
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(got[i], want[i]) << "element " << i;
}

template <class T>
class FinishKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FinishKernel, Types);

TYPED_TEST(FinishKernel, EveryCombinationOfTerms) {
  for (const Matrix& m : kMatrices) {
    for (const Terms& terms : all_terms()) {
      for (const int offset : {0, 1}) check<TypeParam>(m, terms, offset);
    }
  }
}

TYPED_TEST(FinishKernel, AnyOrderOfThreads) {
  for_schedules([] { check<TypeParam>({41, 28}, {true, true, 1, Activation::relu}, 0); });
}

TYPED_TEST(FinishKernel, OneUnalignedOperandIsEnough) {
  const auto values = random_values<TypeParam>(64, 5), bias = random_values<TypeParam>(16, 6);
  for (const int which : {0, 1, 2}) {
    const DeviceArray<TypeParam> x(values, which == 0), b(bias, which == 1), c(64, which == 2);
    TestStream stream;
    epilogue<TypeParam>(stream, 4, 16, x.data(), 0, b.data(), Activation::none, c.data());
    const auto got = c.host();
    for (std::size_t i = 0; i < 64; ++i) ASSERT_EQ(got[i], values[i] + bias[i % 16]);
  }
}

TYPED_TEST(FinishKernel, ReluPassesNaNAndInfinity) {
  constexpr TypeParam nan = std::numeric_limits<TypeParam>::quiet_NaN(),
                      inf = std::numeric_limits<TypeParam>::infinity();
  for (const int offset : {0, 1}) {
    const std::vector<TypeParam> values{nan, -inf, inf, -1, 0, 2, nan, -2};
    const DeviceArray<TypeParam> c(values, offset);
    TestStream stream;
    epilogue<TypeParam>(stream, 2, 4, nullptr, 1, nullptr, Activation::relu, c.data());
    const auto got = c.host();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(got[i]));
      } else {
        EXPECT_EQ(got[i], values[i] < 0 ? TypeParam{0} : values[i]);
      }
    }
  }
}

// relu with its bit mask, against epilogue(), which writes no mask.
template <class T>
void check_relu(const Matrix& m, bool with_bias, int offset) {
  SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.n << " bias " << with_bias << " offset " << offset);
  const std::int64_t total = m.rows * m.n, pitch = relu_pitch(m.n);
  auto values = random_values<T>(total, 4);
  for (std::size_t i = 0; i < values.size(); i += 7)
    values[i] = std::array<T, 3>{0, T(-0.0), std::numeric_limits<T>::quiet_NaN()}[i % 3];
  const auto bias = random_values<T>(m.n, 5);
  const DeviceArray<T> device_bias(bias, offset), want(values, offset), got(values, offset);
  const DeviceArray<std::uint8_t> bits(std::vector<std::uint8_t>(static_cast<std::size_t>(m.rows * pitch), 0xAB));
  TestStream stream;
  const T* add = with_bias ? device_bias.data() : nullptr;
  epilogue<T>(stream, m.rows, m.n, nullptr, 1, add, Activation::relu, want.data());
  epilogue_relu<T>(stream, m.rows, m.n, add, got.data(), bits.data());
  const std::vector<T> y = got.host();
  EXPECT_TRUE(test::same_bits(y, want.host()));
  const std::vector<std::uint8_t> all = bits.host();
  for (std::int64_t row = 0; row < m.rows; ++row) {
    for (std::int64_t j = 0; j < 8 * pitch; ++j) {
      const bool bit = (all[static_cast<std::size_t>(row * pitch + j / 8)] >> (j % 8) & 1) != 0;
      const bool passes = j < m.n && !(y[static_cast<std::size_t>(row * m.n + j)] <= 0);
      ASSERT_EQ(bit, passes) << "row " << row << " element " << j;
    }
  }
}

TYPED_TEST(FinishKernel, ReluAndItsBits) {
  for (const Matrix& m : kMatrices) {
    for (const bool with_bias : {false, true}) {
      for (const int offset : {0, 1}) check_relu<TypeParam>(m, with_bias, offset);
    }
  }
  for (const std::int64_t n : {8, 120, 128, 136, 256}) check_relu<TypeParam>({70, n}, true, 0);
  for_schedules([] { check_relu<TypeParam>({23, 136}, true, 0); });
}

TYPED_TEST(FinishKernel, ProductOverNothingIsTheCpus) {
  for (const double beta : {0.0, 0.3}) {
    for (const bool with_bias : {false, true}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        GemmDesc g;
        g.m = 7;
        g.n = 12;
        g.batch = 3;
        g.beta = beta;
        g.activation = activation;
        const std::int64_t total = g.batch * g.m * g.n;
        const auto before = random_values<TypeParam>(total, 8);
        auto bias = random_values<TypeParam>(g.n, 9), want = before;
        const DType dtype = dtype_of<TypeParam>;
        test::cpu_backend().gemm->gemm(g, ConstView(bias.data(), {0}, dtype), ConstView(bias.data(), {0}, dtype),
                                       with_bias ? ConstView(bias.data(), {g.n}, dtype) : ConstView(),
                                       View{want.data(), {total}, dtype});
        const DeviceArray<TypeParam> c(before), device_bias(bias);
        TestStream stream;
        epilogue<TypeParam>(stream, g.batch * g.m, g.n, nullptr, g.beta, with_bias ? device_bias.data() : nullptr,
                            g.activation, c.data());
        const auto got = c.host();
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(got[i]), static_cast<double>(want[i]), 8 * test::unit<TypeParam>());
        }
      }
    }
  }
}

}  // namespace
}  // namespace descent::gpu
