// Tests the numerics and notes of the simulated cuDNN's engines, and the execution of their plans.
#include "libraries_convolution_fixture.h"

namespace simulated {
namespace {

TEST_F(Convolutions, ReluKeepsNanOnlyWhereItIsSaid) {
  ConvCase c;
  c.relu = true;
  Values v = make_values(c);
  v.x.assign(v.x.size(), NAN);
  EXPECT_EQ(run(c, v, find(c, kNative))[0], 0);
  EXPECT_TRUE(std::isnan(run(c, v, find(c, {{CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, false}))[0]));
}

// Properties that callers must rule out have a visible effect on the result.
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
  ok(cudaDeviceSynchronize());  // a memset is asynchronous, and another stream does not wait for it
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
  p.x = uninitialized(count(c.x), CUDA_R_32F);  // never written
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

// The code of a runtime-compiled engine is unloaded with its plan, even if a graph still uses it.
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
