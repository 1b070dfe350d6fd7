// The simulated cuDNN's convolutions against plain loops, in all passes; what its engines do and say.
#include <algorithm>

#include "libraries_cudnn_fixture.h"

namespace simulated {
namespace {

cudaDataType cuda_type(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT ? CUDA_R_32F : CUDA_R_16BF; }

struct Engines {  // of those offered: what must, and what must not be said of one
  std::vector<cudnnBackendNumericalNote_t> notes;
  bool runtime_compiled = false;
};

class Convolutions : public Cudnn {
 protected:
  struct Values {
    std::vector<float> x, w, y, bias;
  };
  Values make_values(const ConvCase& c) {
    return {random(count(c.x), 1), random(count(c.w), 2), random(count(c.y()), 3), random(c.w[0], 4)};
  }

  static std::vector<double> naive(const ConvCase& c, const Values& v, bool tf32 = false) {
    const auto y_sizes = c.y();
    const auto operand = [&](const std::vector<float>& from, std::int64_t index) {
      const double value = at(from, index, cuda_type(c.operands));
      return tf32 ? to_tf32(static_cast<float>(value)) : value;
    };
    std::vector<double> result(static_cast<std::size_t>(count(c.result_sizes())));
    const std::int64_t of_group = c.w[0] / c.groups();
    for (std::int64_t n = 0; n < c.x[0]; ++n) {
      for (std::int64_t k = 0; k < c.w[0]; ++k) {
        for (std::int64_t p = 0; p < y_sizes[2]; ++p) {
          for (std::int64_t q = 0; q < y_sizes[3]; ++q) {
            const std::int64_t y = nhwc(y_sizes, n, k, p, q);
            for (std::int64_t g = 0; g < c.w[1]; ++g) {
              for (std::int64_t r = 0; r < c.w[2]; ++r) {
                for (std::int64_t s = 0; s < c.w[3]; ++s) {
                  const std::int64_t i = p * c.stride[0] - c.pad[0] + r * c.dilation[0];
                  const std::int64_t j = q * c.stride[1] - c.pad[1] + s * c.dilation[1];
                  if (i < 0 || i >= c.x[2] || j < 0 || j >= c.x[3]) continue;
                  const std::int64_t x = nhwc(c.x, n, k / of_group * c.w[1] + g, i, j), w = nhwc(c.w, k, g, r, s);
                  const auto add = [&](std::int64_t to, double value) {
                    result[static_cast<std::size_t>(to)] += value;
                  };
                  if (c.pass == ConvPass::forward) add(y, operand(v.x, x) * operand(v.w, w));
                  if (c.pass == ConvPass::data) add(x, operand(v.y, y) * operand(v.w, w));
                  if (c.pass == ConvPass::filter) add(w, operand(v.x, x) * operand(v.y, y));
                }
              }
            }
          }
        }
      }
    }
    for (std::size_t e = 0; e < result.size(); ++e) {
      if (c.bias) result[e] += at(v.bias, static_cast<std::int64_t>(e) % c.w[0], cuda_type(c.bias_type));
      if (c.relu) result[e] = std::max(result[e], 0.0);
    }
    return result;
  }

  // The first offer of which exactly this is said and a plan can be made; null where there is none.
  cudnnBackendDescriptor_t find(const ConvCase& c, const Engines& wanted, std::int64_t most_workspace = 1 << 24) {
    for (const auto config : offers(final(open_graph(c)))) {
      const bool compiled = !behaviors(config).empty();
      if (notes(config) != wanted.notes || compiled != wanted.runtime_compiled) continue;
      if (workspace_of(config) > most_workspace) continue;
      const auto plan = open_plan(config);
      if (cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS) return plan;
    }
    return nullptr;
  }

  Pointers place(const ConvCase& c, const Values& v, cudnnBackendDescriptor_t plan) {
    Pointers p;
    const auto operands = cuda_type(c.operands), result = cuda_type(c.result);
    p.x = c.pass == ConvPass::data ? room(count(c.x), result) : upload(v.x, operands);
    p.w = c.pass == ConvPass::filter ? room(count(c.w), result) : upload(v.w, operands);
    p.y = c.pass == ConvPass::forward ? room(count(c.y()), result) : upload(v.y, operands);
    p.bias = upload(v.bias, cuda_type(c.bias_type));
    const auto bytes = values<std::int64_t>(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64).at(0);
    if (bytes > 0) p.workspace = device<char>(static_cast<std::size_t>(bytes));
    return p;
  }
  static void* result_of(const ConvCase& c, const Pointers& p) {
    return c.pass == ConvPass::forward ? p.y : c.pass == ConvPass::data ? p.x : p.w;
  }

  std::vector<double> run(const ConvCase& c, const Values& v, cudnnBackendDescriptor_t plan) {
    const Pointers p = place(c, v, plan);
    EXPECT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
    const auto got = download(result_of(c, p), count(c.result_sizes()), cuda_type(c.result));
    EXPECT_EQ(fault(), "");
    return got;
  }

  // The largest difference from plain loops.
  double error(const ConvCase& c, const Engines& wanted, bool tf32 = false) {
    const auto plan = find(c, wanted);
    EXPECT_NE(plan, nullptr);
    if (plan == nullptr) return INFINITY;
    const Values v = make_values(c);
    const auto got = run(c, v, plan), expected = naive(c, v, tf32);
    double most = 0;
    for (std::size_t e = 0; e < got.size(); ++e) most = std::max(most, std::abs(got[e] - expected[e]));
    return most;
  }
};

const Engines kNative = {{}, false};
const Engines kTensorCores = {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, false};

std::vector<ConvCase> shapes() {
  ConvCase plain, padded, strided, dilated, grouped, depthwise, pointwise, one_channel;
  padded.pad = {2, 1};
  strided.x = {2, 4, 9, 8};
  strided.stride = {2, 3};
  strided.pad = {1, 0};
  dilated.x = {1, 4, 9, 11};
  dilated.dilation = {2, 3};
  dilated.pad = {1, 2};
  grouped.x = {2, 6, 7, 5};
  grouped.w = {4, 3, 3, 2};
  grouped.pad = {1, 1};
  grouped.stride = {2, 1};
  depthwise.x = {2, 5, 6, 6};
  depthwise.w = {10, 1, 3, 3};
  pointwise.w = {7, 4, 1, 1};
  one_channel.x = {3, 1, 8, 8};
  one_channel.w = {2, 1, 5, 5};
  return {plain, padded, strided, dilated, grouped, depthwise, pointwise, one_channel};
}

TEST_F(Convolutions, F32InAllPasses) {
  for (ConvCase c : shapes()) {
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kNative), 1e-4);
    }
  }
}

TEST_F(Convolutions, Tf32InAllPasses) {
  for (ConvCase c : shapes()) {
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kTensorCores, true), 1e-4);
    }
  }
  EXPECT_GT(error(shapes()[0], kTensorCores, false), 1e-5) << "operands are not rounded";
}

TEST_F(Convolutions, Bf16InAllPasses) {
  for (ConvCase c : shapes()) {
    c.operands = c.result = c.bias_type = CUDNN_DATA_BFLOAT16;
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kTensorCores), 0.06);
    }
  }
}

TEST_F(Convolutions, BiasAndRelu) {
  for (const bool bias : {false, true}) {
    for (const bool relu : {false, true}) {
      ConvCase c;
      c.pad = {1, 1};
      c.bias = bias;
      c.relu = relu;
      EXPECT_LT(error(c, kNative), 1e-4);
      c.operands = c.result = c.bias_type = CUDNN_DATA_BFLOAT16;
      EXPECT_LT(error(c, kTensorCores), 0.06);
    }
  }
}

TEST_F(Convolutions, ReluKeepsNanOnlyWhereItIsSaid) {
  ConvCase c;
  c.relu = true;
  Values v = make_values(c);
  v.x.assign(v.x.size(), NAN);
  EXPECT_EQ(run(c, v, find(c, kNative))[0], 0);
  EXPECT_TRUE(std::isnan(run(c, v, find(c, {{CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, false}))[0]));
}

// What the callers must not take shows in the result.
TEST_F(Convolutions, EnginesWithNotesShow) {
  ConvCase c;
  c.pad = {1, 1};
  for (const auto note : {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
                          CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
                          CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
                          CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13}) {
    EXPECT_GT(error(c, {{note}, false}), 3e-4) << note;
  }
  c.stride = {2, 1};
  EXPECT_EQ(find(c, {{CUDNN_NUMERICAL_NOTE_WINOGRAD}, false}), nullptr);
}

TEST_F(Convolutions, NondeterministicMeansAnotherResultEachTime) {
  const ConvCase c;
  const Values v = make_values(c);
  const auto plan = find(c, {{CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, false});
  EXPECT_NE(run(c, v, plan), run(c, v, plan));
  const auto native = find(c, kNative);
  EXPECT_EQ(run(c, v, native), run(c, v, native));
}

TEST_F(Convolutions, TransformsSpreadNan) {
  const ConvCase c;
  Values v = make_values(c);
  v.x[0] = NAN;
  const auto is_nan = [](double value) { return std::isnan(value); };
  const auto spread = run(c, v, find(c, {{CUDNN_NUMERICAL_NOTE_FFT}, false})), native = run(c, v, find(c, kNative));
  EXPECT_TRUE(std::all_of(spread.begin(), spread.end(), is_nan));
  EXPECT_FALSE(std::all_of(native.begin(), native.end(), is_nan));
}

TEST_F(Convolutions, OffersDependOnTheDevice) {
  ConvCase wide_bias, wide_result, strict;
  wide_bias.operands = wide_bias.result = CUDNN_DATA_BFLOAT16;
  wide_bias.bias = true;
  wide_result.operands = CUDNN_DATA_BFLOAT16;
  wide_result.pass = ConvPass::filter;
  strict.pass = ConvPass::data;
  const Engines compiled = {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, true};
  EXPECT_TRUE(offers(final(open_graph(wide_bias))).empty());
  EXPECT_TRUE(offers(final(open_graph(wide_result))).empty());
  EXPECT_NE(find(strict, kNative), nullptr);
  settings().capability = 90;
  EXPECT_EQ(offers(final(open_graph(wide_bias))).size(), 1U);
  EXPECT_LT(error(wide_bias, compiled), 0.06);
  EXPECT_LT(error(wide_result, kTensorCores), 1e-4);
  EXPECT_EQ(find(strict, kNative), nullptr);
  const std::int64_t copies = 4 * (count(strict.x) + count(strict.w) + count(strict.y()));
  bool found = false;
  for (const auto config : offers(final(open_graph(strict)))) {
    if (notes(config) != std::vector{CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}) continue;
    found = true;
    EXPECT_GE(workspace_of(config), copies);
  }
  EXPECT_TRUE(found);
}

TEST_F(Convolutions, SomeOffersHaveNoPlanAndSomeWantTooMuch) {
  const auto configs = offers(final(open_graph(ConvCase())));
  ASSERT_FALSE(configs.empty());
  EXPECT_EQ(cudnnBackendFinalize(open_plan(configs.front())), CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT);
  EXPECT_TRUE(std::any_of(configs.begin(), configs.end(),
                          [&](auto config) { return workspace_of(config) > std::int64_t{512} << 20; }));
}

TEST_F(Convolutions, WorkspacesAreOverwritten) {
  const ConvCase c;
  const auto plan = find(c, kTensorCores);
  const Values v = make_values(c);
  const Pointers p = place(c, v, plan);
  const auto bytes = values<std::int64_t>(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64).at(0);
  ASSERT_GT(bytes, 0);
  ok(cudaMemset(p.workspace, 0x11, static_cast<std::size_t>(bytes)));
  ASSERT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
  const auto after = download_bytes(p.workspace, bytes);
  for (std::int64_t i = 0; i < bytes; i += 4) {
    const char* word = after.data() + i;
    EXPECT_FALSE(word[0] == 0x11 && word[1] == 0x11 && word[2] == 0x11 && word[3] == 0x11) << i;
  }
}

TEST_F(Convolutions, SaysWhatItDid) {
  ConvCase c;
  c.bias = c.relu = true;
  const auto plan = find(c, kTensorCores);
  const Pointers p = place(c, make_values(c), plan);
  ok(cudaDeviceSynchronize());
  record_work(true);
  take_work();
  ASSERT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  const auto work = take_work();
  ASSERT_EQ(work.size(), 1U);
  EXPECT_EQ(work[0].name, "cudnn fprop 2x6x5x4 * 3x3x3x4 f32 bias relu (tensor cores)");
  EXPECT_EQ(work[0].flops, 2U * 2 * 3 * 4 * 3 * 3 * 3 * 4);
  EXPECT_EQ(work[0].bytes, 4U * (2 * 4 * 6 * 5 + 3 * 4 * 9 + 3 + 2 * 3 * 4 * 3));
}

TEST_F(Convolutions, ExecutionRefusals) {
  const ConvCase c;
  const auto plan = find(c, kTensorCores);
  const Pointers good = place(c, make_values(c), plan);
  Pointers p = good;
  p.w = nullptr;
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  p = good;
  p.workspace = nullptr;
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  p = good;
  p.x = static_cast<char*>(p.x) + 4;
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  const auto open = open_plan(offers(final(open_graph(c)))[1]);
  EXPECT_EQ(execute(open, good), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
  p = good;
  p.y = p.x;
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_EXECUTION_FAILED);
  EXPECT_NE(fault().find("overlaps"), std::string::npos) << fault();
  recover();
  p = good;
  p.x = room(count(c.x), CUDA_R_32F);  // which nobody wrote
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_NE(fault().find(": x"), std::string::npos) << fault();
}

TEST_F(Convolutions, CallsFailOnDemand) {
  const ConvCase c;
  const auto plan = find(c, kNative);
  const Pointers p = place(c, make_values(c), plan);
  fail("cudnnBackendExecute", CUDNN_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
  cudnnHandle_t handle = nullptr;
  fail("cudnnCreate", CUDNN_STATUS_INTERNAL_ERROR);
  EXPECT_EQ(cudnnCreate(&handle), CUDNN_STATUS_INTERNAL_ERROR);
  settings().cudnn = false;
  EXPECT_EQ(cudnnCreate(&handle), CUDNN_STATUS_NOT_INITIALIZED);
}

// The code of a runtime-compiled engine goes with its plan, graph or not.
TEST_F(Convolutions, GraphsMustNotOutliveACompiledPlan) {
  settings().capability = 90;
  const ConvCase c;
  for (const bool destroyed : {false, true}) {
    const auto plan = find(c, {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, true});
    const Pointers p = place(c, make_values(c), plan);
    ok(cudaDeviceSynchronize());
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    ok(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    EXPECT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
    ok(cudaStreamEndCapture(stream_, &graph));
    ok(cudaGraphInstantiate(&exec, graph, 0));
    if (destroyed) {
      EXPECT_EQ(cudnnBackendDestroyDescriptor(plan), CUDNN_STATUS_SUCCESS);
      std::erase(made_, plan);
    }
    ok(cudaGraphLaunch(exec, stream_));
    EXPECT_EQ(cudaDeviceSynchronize() == cudaSuccess, !destroyed);
    EXPECT_EQ(fault().find("plan was destroyed") != std::string::npos, destroyed) << fault();
  }
}

}  // namespace
}  // namespace simulated
