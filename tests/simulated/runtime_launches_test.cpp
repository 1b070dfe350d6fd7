// Tests kernel launches. Source: CUDA Runtime API, "Execution Control" and "Occupancy"; CUDA C++ Programming Guide,
// "Compute Capabilities".
#include "runtime_fixture.h"
#include "runtime_module.h"

namespace simulated {
namespace {

// Their addresses stand for the host side of kernels and of a variable.
char store, bounded, heavy, misplaced, templated, unknown;
char variable_on_host;

class RuntimeLaunches : public Runtime {
 protected:
  void SetUp() override {
    Runtime::SetUp();
    binary_.add_function(&store, "store");
    binary_.add_function(&bounded, "bounded");
    binary_.add_function(&heavy, "heavy");
    binary_.add_function(&misplaced, "misplaced");
    binary_.add_function(&templated, "_ZN3one3two3barIfLi3EEEvPT_");
    binary_.add_variable(&variable_on_host, "variable", 8);
    data_ = device<unsigned>(4);
    s_ = stream();
  }
  cudaError_t launch(const void* kernel, unsigned* to, unsigned value, dim3 grid = 1, dim3 block = 1,
                     std::size_t shared = 0) {
    void* arguments[] = {&to, &value};
    return cudaLaunchKernel(kernel, grid, block, arguments, shared, s_);
  }

  FatBinary binary_{
      {{1, header_of("sm_80") + ".visible .global .align 8 .b8 variable[8] = {1, 2, 3, 4, 5, 6, 7, 8};\n" +
               store_kernel("store") + store_kernel("bounded", ".maxntid 64, 1, 1\n") +
               store_kernel("heavy", "", ".shared .align 4 .b8 buffer[1024];\n") +
               store_kernel("misplaced", "", "trap;\n") + store_kernel("_ZN3one3two3barIfLi3EEEvPT_")}}};
  unsigned* data_ = nullptr;
  cudaStream_t s_ = nullptr;
};

TEST_F(RuntimeLaunches, RunsWhenTheStreamDoes) {
  record_work(true);
  ok(launch(&store, data_, 42));
  EXPECT_TRUE(take_work().empty());
  ok(cudaStreamSynchronize(s_));
  const std::vector<Work> work = take_work();
  ASSERT_EQ(work.size(), 1u);
  EXPECT_EQ(work[0].kind, WorkKind::kernel);
  EXPECT_EQ(work[0].name, "store");
  EXPECT_GT(work[0].counters.warp_instructions, 0u);
  EXPECT_EQ(read(data_), 42u);
}

TEST_F(RuntimeLaunches, NamesAreShort) {
  record_work(true);
  ok(launch(&templated, data_, 1));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(take_work().at(0).name, "bar<float, 3>");
}

TEST_F(RuntimeLaunches, BytesAreCountedIfAskedFor) {
  settings().counters = true;
  record_work(true);
  ok(launch(&store, data_, 1));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(take_work().at(0).bytes, 4u);
}

// Launches as nvcc's code for kernel<<<...>>>() does.
TEST_F(RuntimeLaunches, ByTheStubOfNvcc) {
  unsigned value = 9;
  void* arguments[] = {&data_, &value};
  cudaKernel_t kernel = nullptr;
  ok(__cudaGetKernel(&kernel, &store));
  EXPECT_EQ(__cudaPushCallConfiguration(2, 32, 16, s_), 0u);
  EXPECT_EQ(__cudaPushCallConfiguration(3, 64, 0, nullptr), 0u);  // a launch among the arguments of the first one
  dim3 grid, block;
  std::size_t shared = 1;
  cudaStream_t s = s_;
  ok(__cudaPopCallConfiguration(&grid, &block, &shared, &s));
  EXPECT_EQ(grid.x, 3u);
  EXPECT_EQ(s, nullptr);
  ok(__cudaPopCallConfiguration(&grid, &block, &shared, &s));
  EXPECT_EQ(grid.x, 2u);
  EXPECT_EQ(block.x, 32u);
  EXPECT_EQ(shared, 16u);
  EXPECT_EQ(s, s_);
  EXPECT_EQ(__cudaPopCallConfiguration(&grid, &block, &shared, &s), cudaErrorMissingConfiguration);
  ok(__cudaLaunchKernel(kernel, 1, 1, arguments, shared, s));
  ok(cudaStreamSynchronize(s));
  EXPECT_EQ(read(data_), 9u);
}

TEST_F(RuntimeLaunches, ExtendedLaunch) {
  unsigned value = 8;
  void* arguments[] = {&data_, &value};
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = 1;
  config.stream = s_;
  config.attrs = &attribute;
  config.numAttrs = 1;
  ok(cudaLaunchKernelExC(&config, &store, arguments));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(read(data_), 8u);
  attribute.id = cudaLaunchAttributeCooperative;
  EXPECT_EQ(cudaLaunchKernelExC(&config, &store, arguments), cudaErrorNotSupported);
}

TEST_F(RuntimeLaunches, ConfigurationsThatAreNone) {
  const std::pair<dim3, dim3> wrong[] = {
      {{0, 1, 1}, {1, 1, 1}},     {{1, 1, 1}, {0, 1, 1}},     {{1, 1, 1}, {1025, 1, 1}},
      {{1, 1, 1}, {1, 1025, 1}},  {{1, 1, 1}, {1, 1, 65}},    {{1, 1, 1}, {32, 33, 1}},
      {{1, 65536, 1}, {1, 1, 1}}, {{1, 1, 65536}, {1, 1, 1}}, {{0x80000000u, 1, 1}, {1, 1, 1}}};
  for (const auto& [grid, block] : wrong) {
    EXPECT_EQ(launch(&store, data_, 1, grid, block), cudaErrorInvalidConfiguration);
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  }
  EXPECT_EQ(launch(&bounded, data_, 1, 1, 65), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  settings().races = false;  // all blocks store the same value
  ok(launch(&bounded, data_, 1, 1, 64));
  ok(launch(&store, data_, 1, {1, 2, 2}, {4, 4, 64}));
  ok(cudaStreamSynchronize(s_));
}

TEST_F(RuntimeLaunches, SharedMemory) {
  ok(launch(&heavy, data_, 1, 1, 1, 47 * 1024));
  EXPECT_EQ(launch(&heavy, data_, 1, 1, 1, 47 * 1024 + 1), cudaErrorInvalidValue);  // plus the static kilobyte
  EXPECT_EQ(cudaFuncSetAttribute(&heavy, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024),
            cudaErrorInvalidValue);
  ok(cudaFuncSetAttribute(&heavy, cudaFuncAttributeMaxDynamicSharedMemorySize, 226 * 1024));
  ok(launch(&heavy, data_, 2, 1, 1, 226 * 1024));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(read(data_), 2u);
  EXPECT_EQ(launch(&heavy, data_, 1, 1, 1, 226 * 1024 + 1), cudaErrorInvalidValue);
  settings().capability = 86;
  EXPECT_EQ(cudaFuncSetAttribute(&store, cudaFuncAttributeMaxDynamicSharedMemorySize, 99 * 1024 + 1),
            cudaErrorInvalidValue);
  ok(cudaFuncSetAttribute(&store, cudaFuncAttributeMaxDynamicSharedMemorySize, 99 * 1024));
  ok(cudaFuncSetAttribute(&store, cudaFuncAttributePreferredSharedMemoryCarveout, 100));
}

TEST_F(RuntimeLaunches, Attributes) {
  cudaFuncAttributes a;
  ok(cudaFuncGetAttributes(&a, &heavy));
  EXPECT_EQ(a.sharedSizeBytes, 1024u);
  EXPECT_EQ(a.maxThreadsPerBlock, 1024);
  EXPECT_EQ(a.ptxVersion, 80);
  EXPECT_EQ(a.binaryVersion, 90);
  EXPECT_EQ(a.maxDynamicSharedSizeBytes, 47 * 1024);
  ok(cudaFuncGetAttributes(&a, &bounded));
  EXPECT_EQ(a.maxThreadsPerBlock, 64);
  EXPECT_EQ(cudaFuncGetAttributes(&a, &unknown), cudaErrorInvalidDeviceFunction);
}

TEST_F(RuntimeLaunches, Occupancy) {
  const auto blocks = [](const void* kernel, int threads, std::size_t shared) {
    int count = -1;
    ok(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, kernel, threads, shared));
    return count;
  };
  EXPECT_EQ(blocks(&store, 1024, 0), 2);        // 2048 threads
  EXPECT_EQ(blocks(&store, 100, 0), 16);        // rounded up to warps: 128 threads
  EXPECT_EQ(blocks(&store, 32, 0), 32);         // 32 blocks
  EXPECT_EQ(blocks(&heavy, 32, 36 * 1024), 6);  // 228 / (36 + 1 + 1 reserved) kilobytes
  EXPECT_EQ(blocks(&heavy, 32, 227 * 1024), 0);
  EXPECT_EQ(blocks(&bounded, 65, 0), 0);
  // Capability 7.5 reserves nothing: 64 kilobytes hold two blocks of 32.
  FatBinary old({{1, header_of("sm_75") + store_kernel("plain") +
                         store_kernel("shares", "", ".shared .align 4 .b8 buffer[1024];\n")}});
  char plain = 0, shares = 0;
  old.add_function(&plain, "plain");
  old.add_function(&shares, "shares");
  settings().capability = 75;
  EXPECT_EQ(blocks(&shares, 32, 31 * 1024), 2);
  EXPECT_EQ(blocks(&plain, 32, 0), 16);
}

TEST_F(RuntimeLaunches, FunctionsThatNobodyRegistered) {
  EXPECT_EQ(launch(&unknown, data_, 1), cudaErrorInvalidDeviceFunction);
}

TEST_F(RuntimeLaunches, FaultsOfKernels) {
  const auto faults = [&](const void* kernel, unsigned* to, cudaError_t error) {
    ok(launch(kernel, to, 1));
    EXPECT_EQ(cudaStreamSynchronize(s_), error) << fault();
    EXPECT_NE(fault().find(static_cast<const char*>(kernel) == &store ? "store" : "misplaced"), std::string::npos);
    EXPECT_EQ(launch(&store, data_, 1), error);
    recover();
  };
  faults(&store, data_ + 4, cudaErrorIllegalAddress);
  faults(&store, nullptr, cudaErrorIllegalAddress);
  faults(&store, reinterpret_cast<unsigned*>(reinterpret_cast<char*>(data_) + 2), cudaErrorMisalignedAddress);
  faults(&misplaced, data_, cudaErrorLaunchFailure);
  ok(launch(&store, data_, 3));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(read(data_), 3u);
}

// "A kernel launch will fail if it is issued to a stream that is not associated to the current device."
TEST_F(RuntimeLaunches, StreamsOfAnotherDevice) {
  settings().devices = 2;
  ok(cudaSetDevice(1));
  EXPECT_EQ(launch(&store, data_, 1), cudaErrorInvalidResourceHandle);
  ok(cudaSetDevice(0));
  ok(launch(&store, data_, 1));
}

// A graph uses the parameter values at the time of the capture.
TEST_F(RuntimeLaunches, ParametersInAGraph) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ok(cudaStreamBeginCapture(s_, cudaStreamCaptureModeRelaxed));
  {
    unsigned value = 5;
    void* arguments[] = {&data_, &value};
    ok(cudaLaunchKernel(&store, 1, 1, arguments, 0, s_));
    value = 6;
  }
  ok(cudaStreamEndCapture(s_, &graph));
  ok(cudaGraphInstantiate(&executable, graph, 0));
  EXPECT_EQ(nodes_of_graph(executable, WorkKind::kernel), 1u);
  ok(cudaGraphLaunch(executable, s_));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(read(data_), 5u);
}

TEST_F(RuntimeLaunches, Variables) {
  char bytes[8] = {};
  ok(cudaMemcpyFromSymbol(bytes, &variable_on_host, 8, 0, cudaMemcpyDeviceToHost));
  EXPECT_EQ(bytes[7], 8);
  ok(cudaMemcpyToSymbol(&variable_on_host, "ab", 2, 6, cudaMemcpyHostToDevice));
  ok(cudaMemcpyFromSymbol(bytes, &variable_on_host, 4, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(std::string(bytes, 4), "\5\6ab");
  EXPECT_EQ(cudaMemcpyFromSymbol(bytes, &variable_on_host, 4, 5, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyFromSymbol(bytes, &unknown, 4, 5, cudaMemcpyDeviceToHost), cudaErrorInvalidSymbol);
  std::size_t size = 0;
  void* address = nullptr;
  ok(cudaGetSymbolSize(&size, &variable_on_host));
  ok(cudaGetSymbolAddress(&address, &variable_on_host));
  EXPECT_EQ(size, 8u);
  EXPECT_NE(address, nullptr);
}

}  // namespace
}  // namespace simulated
