// Convolutions on a CUDA device, by cuDNN if it is available and by our kernels otherwise, against the CPU's reference
// implementation: a sweep of geometries, both write modes, aligned operands (which cuDNN accepts) and unaligned ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/backend_test.h"
#include "support/cpu_kernels.h"
#include "support/cuda_buffer.h"
#if defined(DESCENT_SIMULATED)
#include "control.h"
#endif

namespace descent {
namespace {

// Simulated blocks and warps run in another order in each run; on a GPU the order varies anyway.
#if defined(DESCENT_SIMULATED)
constexpr int kRuns = 4;
void set_order(int run) {
  simulated::settings().order = run == 0 ? simulated::Order::forward : simulated::Order::random;
  simulated::settings().seed = static_cast<std::uint64_t>(run);
}
#else
constexpr int kRuns = 20;
void set_order(int) {}
#endif

using test::CudaBuffer;
using test::random_values;

struct Case {
  std::int64_t images, height, width, channels, out, kernel_h, kernel_w;
  Conv2dFuncOptions g = {};

  Shape x() const { return {images, height, width, channels}; }
  Shape w() const { return {out, kernel_h, kernel_w, channels / g.groups}; }
  Shape y() const {
    return {images, (height + 2 * g.padding_h - g.dilation_h * (kernel_h - 1) - 1) / g.stride_h + 1,
            (width + 2 * g.padding_w - g.dilation_w * (kernel_w - 1) - 1) / g.stride_w + 1, out};
  }
};

const std::vector<Case> kCases{
    {3, 28, 28, 1, 32, 3, 3, {1, 1, 1, 1, 1, 1, 1}},
    {3, 14, 14, 32, 64, 3, 3, {1, 1, 1, 1, 1, 1, 1}},
    {3, 28, 28, 1, 6, 5, 5, {1, 1, 2, 2, 1, 1, 1}},
    {3, 14, 14, 6, 16, 5, 5},
    {1, 7, 9, 5, 7, 3, 2, {1, 1, 1, 0, 1, 1, 1}},
    {1, 9, 4, 8, 9, 2, 3, {2, 1, 0, 2, 1, 1, 1}},
    {2, 8, 8, 16, 24, 1, 1},
    {2, 9, 9, 12, 20, 1, 1, {2, 2, 0, 0, 1, 1, 1}},
    {2, 11, 13, 17, 33, 3, 3, {3, 3, 2, 2, 1, 1, 1}},
    {1, 11, 9, 12, 10, 3, 2, {2, 1, 2, 1, 1, 2, 1}},
    {2, 12, 12, 5, 9, 3, 3, {1, 1, 2, 2, 2, 2, 1}},
    {2, 10, 10, 6, 8, 3, 3, {1, 1, 1, 1, 1, 1, 2}},
    {2, 10, 10, 6, 6, 3, 3, {1, 1, 1, 1, 1, 1, 6}},
    {2, 10, 11, 8, 12, 3, 3, {2, 2, 1, 1, 2, 2, 4}},
    {2, 6, 6, 3, 4, 3, 3, {1, 1, 4, 4, 1, 1, 1}},
    {2, 6, 7, 3, 4, 2, 2, {5, 5, 0, 0, 1, 1, 1}},
    {1, 3, 3, 600, 5, 3, 3, {1, 1, 1, 1, 1, 1, 1}},
    {2, 40, 37, 3, 8, 7, 7, {2, 2, 3, 3, 1, 1, 1}},
    {0, 5, 5, 2, 3, 3, 3},
    // The same sizes with another padding: a plan belongs to only one of them.
    {2, 8, 8, 32, 32, 3, 3, {4, 4, 0, 0, 1, 1, 1}},
    {2, 8, 8, 32, 32, 3, 3, {4, 4, 1, 1, 1, 1, 1}},
};

enum class Pass { forward, data, filter };

template <class T>
struct Operands {
  std::vector<T> x, w, y, bias;  // the pass's result operand holds its contents before the call

  explicit Operands(const Case& c)
      : x(random_values<T>(c.x().numel(), 1)),
        w(random_values<T>(c.w().numel(), 2)),
        y(random_values<T>(c.y().numel(), 3)),
        bias(random_values<T>(c.out, 4)) {}
};

struct Call {
  Pass pass = Pass::forward;
  Write write = Write::overwrite;
  bool bias = true;
  Activation activation = Activation::none;
};

void call(Conv& conv, const Case& c, const Call& how, View x, View w, View y, ConstView bias) {
  switch (how.pass) {
    case Pass::forward:
      return conv.forward(c.g, x, w, how.bias ? bias : ConstView(), how.activation, y);
    case Pass::data:
      return conv.backward_data(c.g, y, w, {x, how.write});
    case Pass::filter:
      return conv.backward_filter(c.g, x, y, {w, how.write});
  }
}

template <class T>
std::vector<T>& result_of(Operands<T>& operands, Pass pass) {
  if (pass == Pass::forward) return operands.y;
  return pass == Pass::data ? operands.x : operands.w;
}

// The operands; the pass's result is NaN if it must not be read.
template <class T>
Operands<T> prepared(const Case& c, const Call& how) {
  Operands<T> operands(c);
  if (how.write == Write::overwrite) {
    std::vector<T>& result = result_of(operands, how.pass);
    result.assign(result.size(), std::numeric_limits<T>::quiet_NaN());
  }
  return operands;
}

template <class T>
std::vector<T> on_device(const Case& c, const Call& how, const Operands<T>& from, int offset = 0) {
  const CudaBuffer<T> x(from.x, offset), w(from.w, offset), y(from.y, offset), bias(from.bias, offset);
  call(*backend(Device::cuda()).conv, c, how, x.view(c.x()), w.view(c.w()), y.view(c.y()), bias.view());
  if (how.pass == Pass::forward) return y.values();
  return how.pass == Pass::data ? x.values() : w.values();
}

template <class T>
std::vector<T> on_cpu(const Case& c, const Call& how, Operands<T> operands) {
  const test::ReferenceOnly reference;
  const DType dtype = dtype_of<T>;
  call(*cpu::backend().conv, c, how, {operands.x.data(), c.x(), dtype}, {operands.w.data(), c.w(), dtype},
       {operands.y.data(), c.y(), dtype}, {operands.bias.data(), {c.out}, dtype});
  return result_of(operands, how.pass);
}

template <class T>
Operands<T> absolute(Operands<T> operands) {
  for (std::vector<T>* values : {&operands.x, &operands.w, &operands.y, &operands.bias}) {
    for (T& value : *values) value = std::abs(value);
  }
  return operands;
}

// The largest error, in units in the last place of the sum of absolute values.
template <class T>
double worst_error(const Case& c, const Call& how, int offset = 0) {
  const Operands<T> operands = prepared<T>(c, how);
  const auto got = on_device(c, how, operands, offset), want = on_cpu(c, how, operands),
             size = on_cpu(c, how, absolute(operands));
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    if (error > 0) worst = std::max(worst, error / (static_cast<double>(size[i]) * test::unit<T>()));
  }
  return worst;
}

std::vector<Call> calls() {
  return {{Pass::forward, Write::overwrite, false, Activation::none},
          {Pass::forward, Write::overwrite, true, Activation::none},
          {Pass::forward, Write::overwrite, true, Activation::relu},
          {Pass::forward, Write::overwrite, false, Activation::relu},
          {Pass::data, Write::overwrite},
          {Pass::data, Write::accumulate},
          {Pass::filter, Write::overwrite},
          {Pass::filter, Write::accumulate}};
}

template <class T>
class CudaConv : public ::testing::Test {
 protected:
  void SetUp() override { DESCENT_NEEDS_CUDA(); }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CudaConv, Types);

TYPED_TEST(CudaConv, EveryGeometryAndCall) {
  for (std::size_t i = 0; i < kCases.size(); ++i) {
    for (const Call& how : calls()) {
      for (const int offset : {0, 1}) {
        EXPECT_LE((worst_error<TypeParam>(kCases[i], how, offset)), 16)
            << "case " << i << ", pass " << static_cast<int>(how.pass) << ", write " << static_cast<int>(how.write)
            << ", bias " << how.bias << ", relu " << static_cast<int>(how.activation) << ", offset " << offset;
      }
    }
  }
}

TYPED_TEST(CudaConv, ReluPassesNaN) {
  for (const bool bias : {false, true}) {
    const Case c = kCases[1];
    const Call how{Pass::forward, Write::overwrite, bias, Activation::relu};
    Operands<TypeParam> operands = prepared<TypeParam>(c, how);
    operands.x.assign(operands.x.size(), std::numeric_limits<TypeParam>::quiet_NaN());
    for (const TypeParam value : on_device(c, how, operands)) ASSERT_TRUE(std::isnan(value));
  }
}

TYPED_TEST(CudaConv, SameBitsInEveryRun) {
  for (const Case& c : {kCases[0], kCases[1]}) {
    for (const Call& how : calls()) {
      const Operands<TypeParam> operands = prepared<TypeParam>(c, how);
      const auto first = on_device(c, how, operands);
      for (int run = 1; run < kRuns; ++run) {
        set_order(run);
        ASSERT_TRUE(test::same_bits(first, on_device(c, how, operands)));
      }
      set_order(0);
    }
  }
}

// The bias alone may have an alignment that cuDNN's vector loads cannot use.
TEST(CudaConvBias, MayLieAnywhere) {
  DESCENT_NEEDS_CUDA();
  const Case& c = kCases[1];
  const Call how{Pass::forward, Write::overwrite, true, Activation::none};
  const Operands<float> operands = prepared<float>(c, how);
  const auto with_bias_at = [&](int offset) {
    const CudaBuffer<float> x(operands.x), w(operands.w), y(operands.y), bias(operands.bias, offset);
    call(*backend(Device::cuda()).conv, c, how, x.view(c.x()), w.view(c.w()), y.view(c.y()), bias.view());
    return y.values();
  };
  const std::vector<float> aligned = with_bias_at(0), other = with_bias_at(1);
  for (std::size_t i = 0; i < aligned.size(); ++i) ASSERT_NEAR(other[i], aligned[i], 1e-5) << i;
}

#if defined(DESCENT_SIMULATED)
// Our kernels take over calls that cuDNN refuses, so the results alone would not reveal a malformed call. TF32 has an
// engine for every pass.
TEST(CudaConvLibrary, TakesEveryGeometryOfManyChannels) {
  DESCENT_NEEDS_CUDA();
  const std::string why = cudnn_unavailable_reason(Device::cuda());
  if (!why.empty()) GTEST_SKIP() << why;
  set_matmul_precision(Precision::tf32);
  int taken = 0;
  for (const Case& c : kCases) {
    const std::int64_t least = std::min(c.channels, c.out) / c.g.groups;
    if (c.images == 0 || least <= 8) continue;
    ++taken;
    for (const Call& how : calls()) {
      const Operands<float> operands = prepared<float>(c, how);
      simulated::reset_calls();
      simulated::record_work(true);
      on_device(c, how, operands);
      const std::vector<simulated::Work> work = simulated::take_work();
      simulated::record_work(false);
      const auto kernels = std::count_if(
          work.begin(), work.end(), [](const simulated::Work& one) { return one.kind == simulated::WorkKind::kernel; });
      EXPECT_EQ(kernels, how.write == Write::accumulate ? 1 : 0) << "bias " << how.bias;  // it alone cannot add
      EXPECT_GE(simulated::calls_of("cudnnBackendExecute"), 1)
          << "case " << &c - kCases.data() << ", pass " << static_cast<int>(how.pass);
    }
  }
  set_matmul_precision(Precision::f32);
  EXPECT_GE(taken, 4);
}
#endif

// TF32 keeps 11 bits of each factor, a relative error of at most 2^-10; and the setting restores strict f32.
TEST(CudaConvPrecision, Tf32KeepsItsBoundAndLeavesNothingBehind) {
  DESCENT_NEEDS_CUDA();
  for (const Call& how : calls()) {
    set_matmul_precision(Precision::tf32);
    const double lower = worst_error<float>(kCases[1], how);
    set_matmul_precision(Precision::f32);
    EXPECT_LE(lower, 16 + 2.01 * 0x1p-10 / test::unit<float>());
    EXPECT_LE(worst_error<float>(kCases[1], how), 16);
  }
}

}  // namespace
}  // namespace descent
