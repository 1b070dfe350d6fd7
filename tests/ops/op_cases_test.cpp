// Every row of the op case table: gradients, types, reference loops, threads, placement, and CUDA if present.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "core/tensor_impl.h"
#include "cpu/op_groups.h"
#include "support/op_checks.h"

namespace descent {
namespace {

using test::name_of_row;

// Restores the CPU backend's switches.
struct Restore {
  ~Restore() {
    cpu::set_reference_only(before);
    set_num_threads(0);
  }
  bool before = cpu::reference_only();
};

// Every op that ops.h declares has a row, apart from those without a gradient.
TEST(OpCases, HaveEveryDifferentiableOp) {
  const std::set<std::string> without_gradient{"argmax", "bincount", "confusion_matrix", "one_hot",
                                               "flatten"};  // recorded as reshape
  std::set<std::string> names;
  for (const ops::OpCase& row : ops::op_cases()) names.insert(row.op);
  std::ifstream file(DESCENT_TESTS_DIR "/../include/descent/ops.h");
  const std::string header{std::istreambuf_iterator<char>(file), {}};
  const std::regex declaration(R"(DESCENT_API Tensor (\w+)\()");
  int declared = 0;
  for (std::sregex_iterator it(header.begin(), header.end(), declaration), end; it != end; ++it) {
    const std::string name = (*it)[1];
    ++declared;
    EXPECT_NE(names.contains(name), without_gradient.contains(name)) << name;
  }
  EXPECT_GT(declared, 40);
}

TEST(OpCases, GradientsAreCentralDifferences) {
  for (const ops::OpCase& row : ops::op_cases()) {
    const GradcheckResult result = gradcheck(row.run, ops::case_inputs(row, DType::f64, Device::cpu()));
    EXPECT_TRUE(result.passed) << name_of_row(row) << "\n" << result.to_string();
    for (const GradcheckEntry& entry : result.entries) EXPECT_LT(entry.error, 1e-7) << name_of_row(row);
  }
}

TEST(OpCases, GradientsAccumulate) {
  for (const ops::OpCase& row : ops::op_cases()) EXPECT_LT(test::accumulation_error(row), 1e-14) << name_of_row(row);
}

TEST(OpCases, LinearOpsHaveTheirAdjoints) {
  int checked = 0;
  for (const ops::OpCase& row : ops::op_cases()) {
    if (row.linear < 0) continue;
    ++checked;
    EXPECT_LT(test::adjoint_error(row), 1e-13) << name_of_row(row);
  }
  EXPECT_GT(checked, 50);
}

TEST(OpCases, SinglePrecisionIsCloseToDouble) {
  for (const ops::OpCase& row : ops::op_cases()) {
    const double error = test::worst_distance(test::run_row(row, DType::f32), test::run_row(row, DType::f64));
    EXPECT_LT(error, 2e-6) << name_of_row(row);
  }
}

TEST(OpCases, FastPathsAgreeWithPlainLoops) {
  const Restore restore;
  for (const ops::OpCase& row : ops::op_cases()) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      cpu::set_reference_only(true);
      const test::Run plain = test::run_row(row, dtype);
      cpu::set_reference_only(false);
      const test::Run fast = test::run_row(row, dtype);
      EXPECT_LT(test::worst_distance(fast, plain), dtype == DType::f32 ? 1e-6 : 2e-15)
          << name_of_row(row) << " " << to_string(dtype);
    }
  }
}

TEST(OpCases, AnyNumberOfThreadsGivesTheSameBits) {
  const Restore restore;
  for (const ops::OpCase& row : ops::op_cases()) {
    set_num_threads(1);
    const test::Run one = test::run_row(row, DType::f32);
    for (const int threads : {2, 3, 4}) {
      set_num_threads(threads);
      EXPECT_EQ(test::run_row(row, DType::f32).values, one.values) << name_of_row(row) << " with " << threads;
    }
  }
}

// Elements and gradients are placed inside larger buffers, at unaligned offsets.
TEST(OpCases, PlacementDoesNotMatter) {
  for (const ops::OpCase& row : ops::op_cases()) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      std::vector<Tensor> inputs = ops::case_inputs(row, dtype, Device::cpu());
      const test::Run aligned = test::run_row(row, inputs);
      std::vector<Tensor> buffers;
      for (Tensor& input : inputs) {
        Tensor elements = Tensor::full({input.numel() + 16}, 7, dtype);
        Tensor gradients = Tensor::full({input.numel() + 16}, 7, dtype);
        rebind(input, elements, 5);
        rebind_grad(input, gradients, 3);
        buffers.insert(buffers.end(), {elements, gradients});
      }
      EXPECT_LT(test::worst_distance(test::run_row(row, inputs), aligned), 1e-14) << name_of_row(row);
      for (std::size_t i = 0; i < buffers.size(); ++i) {
        const std::vector<double> all = buffers[i].to_vector<double>();
        const std::size_t before = i % 2 == 0 ? 5 : 3;
        for (std::size_t k = 0; k < all.size(); ++k) {
          const bool outside = k < before || k >= all.size() - 16 + before;
          EXPECT_TRUE(!outside || all[k] == 7) << name_of_row(row) << " wrote outside its tensor at " << k;
        }
      }
    }
  }
}

TEST(OpCases, CudaAgreesWithTheCpu) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  for (const ops::OpCase& row : ops::op_cases()) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const double error = test::worst_distance(test::run_row(row, dtype, Device::cuda()), test::run_row(row, dtype));
      EXPECT_LT(error, dtype == DType::f32 ? 2e-6 : 4e-15) << name_of_row(row) << " " << to_string(dtype);
    }
  }
}

TEST(OpCases, GradcheckAllOpsCoversTheTable) {
  GradcheckOptions options;
  options.max_elements = 2;
  const std::vector<OpGradcheck> results = gradcheck_all_ops(options);
  ASSERT_EQ(results.size(), ops::op_cases().size());
  for (const OpGradcheck& result : results) EXPECT_TRUE(result.result.passed) << result.op << ": " << result.detail;
}

}  // namespace
}  // namespace descent
