// Tests the simulated cuBLASLt's gradients of activations and biases against reference loops in double.
#include "libraries_epilogue_fixture.h"

namespace simulated {
namespace {

class LtGradients : public LtEpilogues {};

TEST_F(LtGradients, ReluGradientWithAndWithoutSums) {
  for_all([&](const Types& types, const Shape& shape) {
    for (const bool sums : {false, true}) {
      Example e = make(types, shape, sums ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU);
      std::vector<char> bits(4096);
      std::mt19937 generator(6);
      for (char& byte : bits) byte = static_cast<char>(generator());
      keep_bits(e, bits);
      const auto passes = [&](std::int64_t i, std::int64_t j) {
        return (bits[static_cast<std::size_t>(j * e.lt.aux_ld / 8 + i / 8)] >> i % 8 & 1) != 0;
      };
      check(e, [&](std::int64_t i, std::int64_t j, double sum) { return passes(i, j) ? sum : 0.0; });
      if (!sums) continue;
      const auto got = download(e.lt.bias, shape.m, types.result);
      for (std::int64_t i = 0; i < shape.m; ++i) {
        double sum = 0;
        for (std::int64_t j = 0; j < shape.n; ++j) {
          if (passes(i, j)) sum += e.product[static_cast<std::size_t>(j * shape.m + i)];
        }
        ASSERT_NEAR(got[static_cast<std::size_t>(i)], sum,
                    static_cast<double>(shape.n) * tolerance(shape.k, types.result));
      }
    }
  });
}

TEST_F(LtGradients, GeluGradientWithAndWithoutSums) {
  for_all([&](const Types& types, const Shape& shape) {
    for (const bool sums : {false, true}) {
      Example e = make(types, shape, sums ? CUBLASLT_EPILOGUE_DGELU_BGRAD : CUBLASLT_EPILOGUE_DGELU);
      keep_argument(e);
      const auto factor = [&](std::int64_t i, std::int64_t j) {
        return gelu_gradient(at(e.kept, j * e.lt.aux_ld + i, types.result));
      };
      check(e, [&](std::int64_t i, std::int64_t j, double sum) { return sum * factor(i, j); });
      if (!sums) continue;
      const auto got = download(e.lt.bias, shape.m, types.result);
      for (std::int64_t i = 0; i < shape.m; ++i) {
        double sum = 0;
        for (std::int64_t j = 0; j < shape.n; ++j)
          sum += e.product[static_cast<std::size_t>(j * shape.m + i)] * factor(i, j);
        ASSERT_NEAR(got[static_cast<std::size_t>(i)], sum,
                    static_cast<double>(shape.n) * tolerance(shape.k, types.result));
      }
    }
  });
}

// BGRADA sums the rows of op(A), BGRADB the columns of op(B). Alpha scales neither.
TEST_F(LtGradients, SumsOfOperands) {
  for (const Types& types : kTypes) {
    const Shape of_a = {17, 7, 40, false, false, 2, 0, 0}, of_b = {17, 7, 40, false, true, 0, 3, 0};
    Example a = make(types, of_a, CUBLASLT_EPILOGUE_BGRADA), b = make(types, of_b, CUBLASLT_EPILOGUE_BGRADB);
    check(a, [](auto, auto, double sum) { return sum; });
    check(b, [](auto, auto, double sum) { return sum; });
    const auto rows = download(a.lt.bias, 17, types.result), columns = download(b.lt.bias, 7, types.result);
    for (std::int64_t i = 0; i < 17; ++i) {
      double sum = 0;
      for (std::int64_t p = 0; p < 40; ++p) sum += at(a.a, p * of_a.lda() + i, types.operands);
      EXPECT_NEAR(rows[static_cast<std::size_t>(i)], sum, tolerance(40, types.result));
    }
    for (std::int64_t j = 0; j < 7; ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < 40; ++p) sum += at(b.b, p * of_b.ldb() + j, types.operands);
      EXPECT_NEAR(columns[static_cast<std::size_t>(j)], sum, tolerance(40, types.result));
    }
  }
}

}  // namespace
}  // namespace simulated
