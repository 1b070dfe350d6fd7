// What the simulated cuBLASLt computes, against plain loops in double: every epilogue, type and layout.
#include <algorithm>
#include <functional>

#include "libraries_lt_fixture.h"

namespace simulated {
namespace {

struct Types {
  cublasComputeType_t compute;
  cudaDataType operands, result;
  bool tf32;
};
constexpr Types kTypes[] = {{CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, false},
                            {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, true},
                            {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, false},
                            {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, false}};

constexpr Shape kShapes[] = {{17, 7, 5},
                             {33, 13, 40, true, false, 0, 5, 3},
                             {10, 64, 300, false, true, 1, 0, 0},
                             {16, 6, 64, true, true, 2, 3, 2}};

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double gelu_gradient(double x) {
  const double step = 1e-6;
  return (gelu(x + step) - gelu(x - step)) / (2 * step);
}

class LtEpilogues : public CublasLt {
 protected:
  // A product with random operands, in place with beta. Everything it reads, on the host too.
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
    e.lt.aux_ld = (e.lt.shape.m + 127) / 128 * 128 + 128;  // wider than it must be
    e.aux_bytes = e.lt.aux_ld / 8 * e.lt.shape.n;
    bits.resize(static_cast<std::size_t>(e.aux_bytes));
    e.lt.aux = device<char>(bits.size());
    ok(cudaMemcpy(e.lt.aux, bits.data(), bits.size(), cudaMemcpyHostToDevice));
  }
  void keep_argument(Example& e) {
    e.lt.aux_ld = (e.lt.shape.m + 7) / 8 * 8 + 8;
    e.kept = random(e.lt.aux_ld * e.lt.shape.n, 5);
    e.lt.aux = upload(e.kept, e.lt.result);
  }

  static std::size_t aux_at(const Example& e, std::int64_t i, std::int64_t j) {
    return static_cast<std::size_t>(j * e.lt.aux_ld + i);
  }

  // Runs it; expected(i, j, what the product is) is what D must hold.
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
      for (const Shape& shape : kShapes) f(types, shape);
    }
  }
};

TEST_F(LtEpilogues, Default) {
  for_all([&](const Types& types, const Shape& shape) {
    Example e = make(types, shape, CUBLASLT_EPILOGUE_DEFAULT);
    check(e, [](auto, auto, double sum) { return sum; });
  });
}

TEST_F(LtEpilogues, BiasOfEachRow) {
  for_all([&](const Types& types, const Shape& shape) {
    Example e = make(types, shape, CUBLASLT_EPILOGUE_BIAS);
    check(e, [&](std::int64_t i, auto, double sum) { return sum + at(e.bias, i, types.result); });
  });
}

TEST_F(LtEpilogues, Relu) {
  for_all([&](const Types& types, const Shape& shape) {
    Example plain = make(types, shape, CUBLASLT_EPILOGUE_RELU);
    check(plain, [](auto, auto, double sum) { return std::max(sum, 0.0); });
    Example bias = make(types, shape, CUBLASLT_EPILOGUE_RELU_BIAS);
    check(bias, [&](std::int64_t i, auto, double sum) { return std::max(sum + at(bias.bias, i, types.result), 0.0); });
  });
}

TEST_F(LtEpilogues, Gelu) {
  for_all([&](const Types& types, const Shape& shape) {
    Example plain = make(types, shape, CUBLASLT_EPILOGUE_GELU);
    check(plain, [](auto, auto, double sum) { return gelu(sum); });
    Example bias = make(types, shape, CUBLASLT_EPILOGUE_GELU_BIAS);
    check(bias, [&](std::int64_t i, auto, double sum) { return gelu(sum + at(bias.bias, i, types.result)); });
  });
}

// Bit i % 8 of byte i / 8 of a column; the sign of the argument, where it is not too near to 0 to tell.
TEST_F(LtEpilogues, ReluKeepsBits) {
  for_all([&](const Types& types, const Shape& shape) {
    for (const bool bias : {false, true}) {
      Example e = make(types, shape, bias ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS : CUBLASLT_EPILOGUE_RELU_AUX);
      keep_bits(e);
      const auto argument = [&](std::int64_t i, double sum) { return sum + (bias ? at(e.bias, i, types.result) : 0); };
      check(e, [&](std::int64_t i, auto, double sum) { return std::max(argument(i, sum), 0.0); });
      const auto bits = download_bytes(e.lt.aux, e.aux_bytes);
      for (std::int64_t j = 0; j < shape.n; ++j) {
        for (std::int64_t i = 0; i < shape.m; ++i) {
          const double value = argument(i, e.product[static_cast<std::size_t>(j * shape.m + i)]);
          if (std::abs(value) < tolerance(shape.k, CUDA_R_32F)) continue;
          const bool bit = bits[static_cast<std::size_t>(j * e.lt.aux_ld / 8 + i / 8)] >> i % 8 & 1;
          ASSERT_EQ(bit, value > 0) << i << " " << j;
        }
      }
    }
  });
}

TEST_F(LtEpilogues, ReluMakesZeroOfNanAndLetsZeroPass) {
  LtCase t;
  t.shape = {3, 1, 1};
  t.epilogue = CUBLASLT_EPILOGUE_RELU_AUX;
  t.a = upload({NAN, 0, -1}, CUDA_R_32F);
  t.b = upload({1}, CUDA_R_32F);
  t.d = room(3, CUDA_R_32F);
  t.aux = room(4, CUDA_R_32F);
  t.aux_ld = 128;
  ASSERT_EQ(run(t), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(t.d, 3, CUDA_R_32F), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(download_bytes(t.aux, 1)[0], 0b010);
}

TEST_F(LtEpilogues, GeluKeepsItsArgument) {
  for_all([&](const Types& types, const Shape& shape) {
    for (const bool bias : {false, true}) {
      Example e = make(types, shape, bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX);
      keep_argument(e);
      const auto argument = [&](std::int64_t i, double sum) { return sum + (bias ? at(e.bias, i, types.result) : 0); };
      check(e, [&](std::int64_t i, auto, double sum) { return gelu(argument(i, sum)); });
      const auto kept = download(e.lt.aux, e.lt.aux_ld * shape.n, types.result);
      for (std::int64_t j = 0; j < shape.n; ++j) {
        for (std::int64_t i = 0; i < e.lt.aux_ld; ++i) {
          const double before = at(e.kept, j * e.lt.aux_ld + i, types.result);
          const double sum = i < shape.m ? argument(i, e.product[static_cast<std::size_t>(j * shape.m + i)]) : before;
          ASSERT_NEAR(kept[aux_at(e, i, j)], sum, i < shape.m ? tolerance(shape.k, types.result) : 0);
        }
      }
    }
  });
}

TEST_F(LtEpilogues, ReluGradientWithAndWithoutSums) {
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

TEST_F(LtEpilogues, GeluGradientWithAndWithoutSums) {
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

// BGRADA: the rows of A; BGRADB: the columns of op(B). Neither sees alpha.
TEST_F(LtEpilogues, SumsOfOperands) {
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

TEST_F(LtEpilogues, BatchesShareABiasOfStrideZero) {
  const Shape shape{6, 5, 40};
  const std::int64_t batch = 3;
  const auto a = random(batch * shape.size_a(), 1), b = random(shape.size_b(), 2), bias = random(batch * 6, 3);
  for (const std::int64_t stride : {std::int64_t{0}, std::int64_t{6}}) {
    LtCase t;
    t.shape = shape;
    t.epilogue = CUBLASLT_EPILOGUE_BIAS;
    t.a = upload(a, CUDA_R_32F);
    t.b = upload(b, CUDA_R_32F);
    t.bias = upload(bias, CUDA_R_32F);
    t.d = room(batch * shape.size_c(), CUDA_R_32F);
    t.batch = batch;
    t.stride_a = shape.size_a();  // all use the same B
    t.stride_c = shape.size_c();
    t.bias_stride = stride;
    ASSERT_EQ(run(t), CUBLAS_STATUS_SUCCESS);
    const auto got = download(t.d, batch * shape.size_c(), CUDA_R_32F);
    for (std::int64_t z = 0; z < batch; ++z) {
      const auto product = naive_product(shape, a, b, CUDA_R_32F, false, z * shape.size_a());
      for (std::int64_t e = 0; e < shape.size_c(); ++e) {
        const double expected = product[static_cast<std::size_t>(e)] + at(bias, z * stride + e % 6, CUDA_R_32F);
        EXPECT_NEAR(got[static_cast<std::size_t>(z * shape.size_c() + e)], expected, tolerance(40, CUDA_R_32F));
      }
    }
  }
}

TEST_F(LtEpilogues, OutOfPlaceAndWithoutReadingC) {
  const Shape shape{6, 5, 40};
  LtCase t;
  t.shape = shape;
  const auto a = random(shape.size_a(), 1), b = random(shape.size_b(), 2), c = random(shape.size_c(), 3);
  t.a = upload(a, CUDA_R_32F);
  t.b = upload(b, CUDA_R_32F);
  t.c = upload(c, CUDA_R_32F);
  t.d = room(30, CUDA_R_32F);
  t.beta = 1;
  ASSERT_EQ(run(t), CUBLAS_STATUS_SUCCESS);
  const auto got = download(t.d, 30, CUDA_R_32F), unchanged = download(t.c, 30, CUDA_R_32F);
  const auto product = naive_product(shape, a, b, CUDA_R_32F);
  for (std::size_t e = 0; e < 30; ++e) {
    EXPECT_NEAR(got[e], product[e] + c[e], tolerance(40, CUDA_R_32F));
    EXPECT_EQ(unchanged[e], c[e]);
  }
  t.c = room(30, CUDA_R_32F);  // which nobody wrote
  t.beta = 0;
  ASSERT_EQ(run(t), CUBLAS_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(fault(), "");
}

TEST_F(LtEpilogues, SaysWhatItDid) {
  Example e = make(kTypes[1], {128, 32, 784}, CUBLASLT_EPILOGUE_RELU_AUX_BIAS, 1, 0);
  keep_bits(e);
  ok(cudaDeviceSynchronize());
  record_work(true);
  take_work();
  ASSERT_EQ(run(e.lt), CUBLAS_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  const auto work = take_work();
  ASSERT_EQ(work.size(), 1U);
  EXPECT_EQ(work[0].name, "cublasLtMatmul 128x32x784 tf32 RELU_AUX_BIAS");
  EXPECT_EQ(work[0].flops, 2U * 128 * 32 * 784);
  EXPECT_GE(work[0].bytes, 4U * (128 * 784 + 32 * 784 + 128 * 32));
}

// Another stream that uses the same workspace may run between the two steps of a split product.
TEST_F(LtEpilogues, StreamsThatShareAWorkspaceAreCaught) {
  settings().streams = Streams::random;
  const Shape shape{64, 64, 64};
  const auto a = random(shape.size_a(), 1), b = random(shape.size_b(), 2);
  LtCase first;
  first.shape = shape;
  first.a = upload(a, CUDA_R_32F);
  first.b = upload(b, CUDA_R_32F);
  first.d = room(shape.size_c(), CUDA_R_32F);
  LtCase second = first;
  std::swap(second.a, second.b);  // another product
  second.d = room(shape.size_c(), CUDA_R_32F);
  const Prepared p = prepare(first);
  const auto product = naive_product(shape, a, b, CUDA_R_32F);
  char* const own = device<char>(kWorkspace);
  const cudaStream_t mine = stream_, other = stream();
  const auto times_wrong = [&](char* workspace_of_second) {
    int wrong = 0;
    for (int repetition = 0; repetition < 30; ++repetition) {
      stream_ = mine;
      EXPECT_EQ(run(first, p), CUBLAS_STATUS_SUCCESS);
      stream_ = other;
      EXPECT_EQ(run(second, p, workspace_of_second, kWorkspace), CUBLAS_STATUS_SUCCESS);
      const auto got = download(first.d, shape.size_c(), CUDA_R_32F);
      bool right = true;
      for (std::size_t e = 0; e < got.size(); ++e) {
        right = right && std::abs(got[e] - product[e]) < tolerance(64, CUDA_R_32F);
      }
      wrong += !right;
    }
    return wrong;
  };
  EXPECT_EQ(times_wrong(own), 0);
  EXPECT_GT(times_wrong(workspace_), 0);
}

}  // namespace
}  // namespace simulated
