// Tests the simulated cuBLASLt against reference loops in double: every forward epilogue, type and layout.
#include "libraries_epilogue_fixture.h"

namespace simulated {
namespace {

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

// Bit i % 8 of byte i / 8 of a column: the sign of ReLU's argument. Arguments too close to 0 are skipped.
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
  t.d = uninitialized(3, CUDA_R_32F);
  t.aux = uninitialized(4, CUDA_R_32F);
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
    t.d = uninitialized(batch * shape.size_c(), CUDA_R_32F);
    t.batch = batch;
    t.stride_a = shape.size_a();  // all matrices of the batch use the same B
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
  t.d = uninitialized(30, CUDA_R_32F);
  t.beta = 1;
  ASSERT_EQ(run(t), CUBLAS_STATUS_SUCCESS);
  const auto got = download(t.d, 30, CUDA_R_32F), unchanged = download(t.c, 30, CUDA_R_32F);
  const auto product = naive_product(shape, a, b, CUDA_R_32F);
  for (std::size_t e = 0; e < 30; ++e) {
    EXPECT_NEAR(got[e], product[e] + c[e], tolerance(40, CUDA_R_32F));
    EXPECT_EQ(unchanged[e], c[e]);
  }
  t.c = uninitialized(30, CUDA_R_32F);  // never written
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

// Another stream that uses the same workspace may run between the two steps of a split-k product.
TEST_F(LtEpilogues, StreamsThatShareAWorkspaceAreCaught) {
  settings().streams = Streams::random;
  const Shape shape{64, 64, 64};
  const auto a = random(shape.size_a(), 1), b = random(shape.size_b(), 2);
  LtCase first;
  first.shape = shape;
  first.a = upload(a, CUDA_R_32F);
  first.b = upload(b, CUDA_R_32F);
  first.d = uninitialized(shape.size_c(), CUDA_R_32F);
  LtCase second = first;
  std::swap(second.a, second.b);  // a different product
  second.d = uninitialized(shape.size_c(), CUDA_R_32F);
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
