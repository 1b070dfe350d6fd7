// Matrix products with an epilogue, by the simulated cuBLASLt and by reference loops in double.
#pragma once

#include <algorithm>
#include <functional>

#include "libraries_lt_fixture.h"

namespace simulated {

struct Types {
  cublasComputeType_t compute;
  cudaDataType operands, result;
  bool tf32;
};
inline constexpr Types kTypes[] = {{CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, false},
                                   {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, true},
                                   {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, false},
                                   {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, false}};

inline constexpr Shape kLtShapes[] = {{17, 7, 5},
                                      {33, 13, 40, true, false, 0, 5, 3},
                                      {10, 64, 300, false, true, 1, 0, 0},
                                      {16, 6, 64, true, true, 2, 3, 2}};

inline double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
inline double gelu_gradient(double x) {
  const double step = 1e-6;
  return (gelu(x + step) - gelu(x - step)) / (2 * step);
}

class LtEpilogues : public CublasLt {
 protected:
  // A product with random operands, in place, with nonzero beta. Everything that it reads is on the host too.
  struct Example {
    LtCase lt;
    std::vector<float> a, b, c, bias, kept;
    std::vector<double> product;  // alpha op(A) op(B) + beta C
    std::int64_t aux_bytes = 0;
  };

  Example make(const Types& types, const Shape& shape, std::uint32_t epilogue, float alpha = 0.5F, float beta = 2) {
    Example e;
    e.a = random(shape.size_a(), 1);
    e.b = random(shape.size_b(), 2);
    e.c = random(shape.size_c(), 3);
    e.bias = random(std::max(shape.m, shape.n), 4);
    e.lt.shape = shape;
    e.lt.compute = types.compute;
    e.lt.operands = types.operands;
    e.lt.result = types.result;
    e.lt.epilogue = epilogue;
    e.lt.alpha = alpha;
    e.lt.beta = beta;
    e.lt.a = upload(e.a, types.operands);
    e.lt.b = upload(e.b, types.operands);
    e.lt.d = upload(e.c, types.result);
    e.lt.bias = upload(e.bias, types.result);
    e.product = naive_product(shape, e.a, e.b, types.operands, types.tf32);
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = 0; i < shape.m; ++i) {
        double& value = e.product[static_cast<std::size_t>(j * shape.m + i)];
        value = alpha * value + beta * at(e.c, j * shape.ldc() + i, types.result);
      }
    }
    return e;
  }

  void keep_bits(Example& e, std::vector<char> bits = {}) {
    e.lt.aux_ld = (e.lt.shape.m + 127) / 128 * 128 + 128;  // larger than the minimum
    e.aux_bytes = e.lt.aux_ld / 8 * e.lt.shape.n;
    bits.resize(static_cast<std::size_t>(e.aux_bytes));
    e.lt.aux = device<char>(bits.size());
    ok(cudaMemcpy(e.lt.aux, bits.data(), bits.size(), cudaMemcpyHostToDevice));
    ok(cudaDeviceSynchronize());  // a copy from pageable memory may return before its data has arrived
  }
  void keep_argument(Example& e) {
    e.lt.aux_ld = (e.lt.shape.m + 7) / 8 * 8 + 8;
    e.kept = random(e.lt.aux_ld * e.lt.shape.n, 5);
    e.lt.aux = upload(e.kept, e.lt.result);
  }

  static std::size_t aux_at(const Example& e, std::int64_t i, std::int64_t j) {
    return static_cast<std::size_t>(j * e.lt.aux_ld + i);
  }

  // Runs the product; D must hold expected(i, j, value of the product).
  using Expected = std::function<double(std::int64_t, std::int64_t, double)>;
  void check(Example& e, const Expected& expected) {
    ASSERT_EQ(run(e.lt), CUBLAS_STATUS_SUCCESS);
    const Shape& s = e.lt.shape;
    const auto got = download(e.lt.d, s.size_c(), e.lt.result);
    ASSERT_EQ(fault(), "");
    for (std::int64_t j = 0; j < s.n; ++j) {
      for (std::int64_t i = 0; i < s.ldc(); ++i) {
        const double value = got[static_cast<std::size_t>(j * s.ldc() + i)];
        if (i >= s.m) {
          ASSERT_EQ(value, at(e.c, j * s.ldc() + i, e.lt.result)) << "a gap was written";
          continue;
        }
        const double sum = e.product[static_cast<std::size_t>(j * s.m + i)];
        ASSERT_NEAR(value, expected(i, j, sum), tolerance(s.k, e.lt.result)) << i << " " << j;
      }
    }
  }

  template <class F>
  void for_all(F&& f) {
    for (const Types& types : kTypes) {
      for (const Shape& shape : kLtShapes) f(types, shape);
    }
  }
};

}  // namespace simulated
