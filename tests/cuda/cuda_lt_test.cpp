// cuBLASLt does fuse the epilogues that gemm.cu asks for, at the sizes of a layer. Elsewhere our own kernels make up
// for a refusal, so the results alone would not tell. Only in builds with CUDA.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "cuda/gemm/cublaslt.h"
#include "cuda/gemm/epilogue.h"
#include "cuda/runtime/context.h"
#include "support/backend_test.h"
#include "support/cuda_buffer.h"

namespace descent::gpu {
namespace {

using test::CudaBuffer;

constexpr std::int64_t kRows = 128, kIn = 784, kOut = 512;

struct End {
  cublasLtEpilogue_t kind;
  const char* name;
  bool bits, argument;  // kind of auxiliary data: ReLU's mask or GELU's argument
};
constexpr std::array<End, 9> kEnds = {{{CUBLASLT_EPILOGUE_BIAS, "bias", false, false},
                                       {CUBLASLT_EPILOGUE_RELU_BIAS, "relu and bias", false, false},
                                       {CUBLASLT_EPILOGUE_RELU_AUX_BIAS, "relu with bits", true, false},
                                       {CUBLASLT_EPILOGUE_GELU_BIAS, "gelu and bias", false, false},
                                       {CUBLASLT_EPILOGUE_GELU_AUX_BIAS, "gelu with its argument", false, true},
                                       {CUBLASLT_EPILOGUE_DRELU_BGRAD, "gradients of relu and bias", true, false},
                                       {CUBLASLT_EPILOGUE_DGELU_BGRAD, "gradients of gelu and bias", false, true},
                                       {CUBLASLT_EPILOGUE_DRELU, "gradient of relu", true, false},
                                       {CUBLASLT_EPILOGUE_DGELU, "gradient of gelu", false, true}}};

class CudaLt : public ::testing::Test {
 protected:
  void SetUp() override { DESCENT_NEEDS_CUDA(); }

  // The test's own context is a second stream of the device. It must not start before the copies into the buffers,
  // which are queued on the backend's stream, have finished, and nothing may be read before it is done.
  bool run(const GemmDesc& g, const CudaBuffer<float>& a, const CudaBuffer<float>& b, const LtEpilogue& end,
           const CudaBuffer<float>& c) {
    return run(g, {}, a.view().data, b.view().data, end, c.view().data);
  }
  bool run(const GemmDesc& g, const GemmTypes& types, const void* a, const void* b, const LtEpilogue& end, void* c) {
    synchronize(Device::cuda());
    const bool taken = lt_->run(g, types, a, b, end, c);
    EXPECT_EQ(cudaStreamSynchronize(context_->handle), cudaSuccess);
    return taken;
  }

 private:
  std::unique_ptr<Context> context_ = cuda_unavailable_reason().empty() ? std::make_unique<Context>(0) : nullptr;
  std::unique_ptr<LtGemm> lt_ = context_ ? std::make_unique<LtGemm>(*context_) : nullptr;
};

GemmDesc layer(std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a, bool transpose_b) {
  GemmDesc g;
  g.m = m;
  g.n = n;
  g.k = k;
  g.transpose_a = transpose_a;
  g.transpose_b = transpose_b;
  return g;
}

TEST_F(CudaLt, TakesActivationsBiasesAndTheirGradientsAlong) {
  const GemmDesc g = layer(kRows, kOut, kIn, false, true);
  const CudaBuffer<float> a(std::vector<float>(kRows * kIn, 0.5F)), b(std::vector<float>(kOut * kIn, 0.25F));
  for (const End& end : kEnds) {
    SCOPED_TRACE(end.name);
    const bool sums = end.kind == CUBLASLT_EPILOGUE_DRELU_BGRAD || end.kind == CUBLASLT_EPILOGUE_DGELU_BGRAD;
    const CudaBuffer<float> bias(std::vector<float>(kOut, 1)), c(kRows * kOut);
    const CudaBuffer<float> argument(std::vector<float>(kRows * kOut, 0.5F));
    const CudaBuffer<std::uint8_t> bits(std::vector<std::uint8_t>(kRows * relu_pitch(kOut), 0xFF));
    LtEpilogue wanted{.kind = end.kind, .bias = bias.view().data};
    if (end.bits) wanted.aux = bits.view().data, wanted.aux_stride = 8 * relu_pitch(kOut);
    if (end.argument) wanted.aux = argument.view().data, wanted.aux_stride = kOut;
    EXPECT_TRUE(run(g, a, b, wanted, c));
    const std::vector<float> results = c.values();
    for (const float result : results) ASSERT_GT(result, 0);  // all the same, and positive
    for (const float sum : bias.values()) ASSERT_NEAR(sum, sums ? results[0] * kRows : 1, 1e-4 * sum);
  }
}

TEST_F(CudaLt, SumsTheRowsOfTheGradientAlong) {
  const CudaBuffer<float> dy(std::vector<float>(kRows * kOut, 0.5F)), x(std::vector<float>(kRows * kIn, 0.25F));
  const CudaBuffer<float> dw(kOut * kIn), sums(kOut);
  const LtEpilogue end{.kind = CUBLASLT_EPILOGUE_BGRADB, .bias = sums.view().data};
  EXPECT_TRUE(run(layer(kOut, kIn, kRows, true, false), dy, x, end, dw));
  for (const float sum : sums.values()) ASSERT_EQ(sum, 0.5F * kRows);
}

TEST_F(CudaLt, EachCallAddsItsOwnBias) {
  const GemmDesc g = layer(kRows, kOut, kIn, false, true);
  const CudaBuffer<float> a(std::vector<float>(kRows * kIn, 0.5F)), b(std::vector<float>(kOut * kIn, 0.25F));
  const CudaBuffer<float> one(std::vector<float>(kOut, 1)), two(std::vector<float>(kOut, 2));
  for (const auto& [bias, added] : {std::pair{&one, 1.0F}, std::pair{&two, 2.0F}}) {
    const CudaBuffer<float> c(kRows * kOut);
    EXPECT_TRUE(run(g, a, b, {.kind = CUBLASLT_EPILOGUE_BIAS, .bias = bias->view().data}, c));
    for (const float result : c.values()) ASSERT_EQ(result, 0.125F * kIn + added);
  }
}

// Partial sums of a split k would need more memory than the workspace has.
TEST_F(CudaLt, KeepsToItsWorkspace) {
  constexpr std::int64_t m = 2048, n = 2112, k = 32;
  static_assert(m * n * sizeof(float) * 2 > Context::kLtWorkspace);
  const CudaBuffer<float> a(std::vector<float>(m * k, 0.5F)), b(std::vector<float>(n * k, 0.25F)), c(m * n);
  EXPECT_TRUE(run(layer(m, n, k, false, true), a, b, {}, c));
  for (const float result : c.values()) ASSERT_EQ(result, 0.125F * k);
}

// bf16 as its 16 bits, rounded to nearest even.
std::uint16_t to_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
std::vector<std::int32_t> in_words(const std::vector<std::uint16_t>& bits) {  // buffers have no 16-bit type
  std::vector<std::int32_t> words(bits.size() / 2);
  std::memcpy(words.data(), bits.data(), 2 * bits.size());
  return words;
}
float from_bits(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

// Sums must stay f32 until the end: an algorithm that adds partial sums of k in bf16 would be off by up to one ulp.
TEST_F(CudaLt, RoundsABf16ResultOnce) {
  constexpr std::int64_t m = 64, n = 64, k = 512;
  const auto random_bits = [](std::int64_t count, unsigned seed) {
    std::vector<std::uint16_t> bits;
    for (const float value : test::random_values<float>(count, seed)) bits.push_back(to_bits(std::abs(value)));
    return bits;
  };
  const std::vector<std::uint16_t> first = random_bits(m * k, 1), second = random_bits(n * k, 2);
  const CudaBuffer<std::int32_t> a(in_words(first)), b(in_words(second)), c(m * n / 2);
  EXPECT_TRUE(
      run(layer(m, n, k, false, true), {DType::bf16, DType::bf16}, a.view().data, b.view().data, {}, c.view().data));
  std::vector<std::uint16_t> results(m * n);
  std::memcpy(results.data(), c.values().data(), 2 * results.size());
  double worst = 0;
  for (std::size_t row = 0; row < m; ++row) {
    for (std::size_t column = 0; column < n; ++column) {
      double exact = 0;
      for (std::size_t i = 0; i < k; ++i)
        exact += double{from_bits(first[row * k + i])} * from_bits(second[column * k + i]);
      const double unit = std::ldexp(1.0, std::ilogb(exact) - 7);
      worst = std::max(worst, std::abs(from_bits(results[row * n + column]) - exact) / unit);
    }
  }
  EXPECT_LE(worst, 0.51);
}

TEST_F(CudaLt, RefusesWhatVectorsCannotTake) {
  const CudaBuffer<float> a(kRows * kIn), b(kOut * kIn), c(kRows * kOut), bias(kOut, 1);
  const LtEpilogue end{.kind = CUBLASLT_EPILOGUE_BIAS, .bias = bias.view().data};
  EXPECT_FALSE(run(layer(kRows, kOut, kIn, false, true), a, b, end, c));
}

}  // namespace
}  // namespace descent::gpu
