// Top-k, class counts and confusion matrices: against values by hand, sorting and counting; also on a GPU if present.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "descent/ops.h"
#include "descent/random.h"
#include "support/support.h"

namespace descent {
namespace {

using Ints = std::vector<std::int32_t>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

Tensor i32(const Ints& values) { return Tensor::from(values, {static_cast<std::int64_t>(values.size())}); }

TEST(TopKOp, OrdersByValueThenPlace) {
  const Tensor x =
      Tensor::from(std::vector<float>{1, 3, 3, -2, /**/ 0, -0.0F, -kInf, kInf, /**/ 5, kNan, 7, kNan}, {3, 4});
  const TopK top = topk(x, 3);
  EXPECT_EQ(top.indices.to_vector<std::int32_t>(), (Ints{1, 2, 0, 3, 0, 1, 1, 3, 2}));
  const std::vector<float> values = top.values.to_vector<float>();
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 6), (std::vector<float>{3, 3, 1, kInf, 0, -0.0F}));
  EXPECT_TRUE(std::isnan(values[6]) && std::isnan(values[7]));
  EXPECT_EQ(values[8], 7);
}

TEST(TopKOp, IsASortCutOff) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor x = Generator(3, 0).normal({4, 5, 101}).to(dtype);
    const std::vector<double> all = x.to_vector<double>();
    for (const std::int64_t k : {1, 2, 17, 101}) {
      const TopK top = topk(x, k);
      ASSERT_EQ(top.values.shape(), (Shape{4, 5, k}));
      ASSERT_EQ(top.values.dtype(), dtype);
      const std::vector<double> values = top.values.to_vector<double>();
      const Ints places = top.indices.to_vector<std::int32_t>();
      for (std::size_t row = 0; row < 20; ++row) {
        std::vector<double> sorted(all.begin() + static_cast<std::ptrdiff_t>(row * 101),
                                   all.begin() + static_cast<std::ptrdiff_t>((row + 1) * 101));
        const std::vector<double> original = sorted;
        std::sort(sorted.rbegin(), sorted.rend());
        for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
          const std::size_t at = row * static_cast<std::size_t>(k) + i;
          ASSERT_EQ(values[at], sorted[i]);
          ASSERT_EQ(original[static_cast<std::size_t>(places[at])], sorted[i]);
        }
      }
    }
  }
}

TEST(TopKOp, FirstIsArgmax) {
  const Tensor x = Generator(4, 0).normal({50, 10});
  EXPECT_EQ(topk(x, 1).indices.to_vector<std::int32_t>(), argmax(x).to_vector<std::int32_t>());
}

TEST(Counts, OfClassesAndPairs) {
  EXPECT_EQ(bincount(i32({0, 2, 2, 3, 2}), 5).to_vector<std::int32_t>(), (Ints{1, 0, 3, 1, 0}));
  EXPECT_EQ(bincount(i32({}), 2).to_vector<std::int32_t>(), (Ints{0, 0}));
  const Tensor matrix = confusion_matrix(i32({0, 0, 1, 2, 2, 2}), i32({0, 1, 1, 2, 0, 2}), 3);
  EXPECT_EQ(matrix.shape(), (Shape{3, 3}));
  EXPECT_EQ(matrix.to_vector<std::int32_t>(), (Ints{1, 1, 0, 0, 1, 0, 1, 0, 2}));
}

TEST(Counts, AndTopKOnCudaAreTheCpus) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  Ints labels, predicted;
  for (std::int32_t i = 0; i < 10007; ++i) {
    labels.push_back(i * 7919 % 10);
    predicted.push_back(i * 104729 % 10);
  }
  const Tensor l = i32(labels), p = i32(predicted);
  EXPECT_EQ(confusion_matrix(l.to(Device::cuda()), p.to(Device::cuda()), 10).to_vector<std::int32_t>(),
            confusion_matrix(l, p, 10).to_vector<std::int32_t>());
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor x = Generator(3, 0).normal({300, 1000}).to(dtype);
    const TopK here = topk(x, 5), there = topk(x.to(Device::cuda()), 5);
    EXPECT_EQ(there.values.to_vector<double>(), here.values.to_vector<double>());
    EXPECT_EQ(there.indices.to_vector<std::int32_t>(), here.indices.to_vector<std::int32_t>());
  }
}

TEST(Counts, AndTopKRefuse) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_INVALID(topk(x, 4), "topk: k is 4, expected 1 to 3");
  EXPECT_INVALID(topk(x, 0), "topk: k is 0");
  EXPECT_INVALID(topk(i32({1}), 1), "topk: input is i32");
  EXPECT_INVALID(topk(Tensor::zeros({}), 1), "topk: input has no axes");
  EXPECT_INVALID(bincount(i32({0, 3}), 3), "bincount: index 3 at 1, expected 0 to 2");
  EXPECT_INVALID(bincount(i32({0}), 0), "bincount: classes is 0");
  EXPECT_INVALID(confusion_matrix(i32({0, 1}), i32({0}), 2), "confusion_matrix: labels has shape [2], expected [1]");
  EXPECT_INVALID(confusion_matrix(i32({0, -1}), i32({0, 1}), 2), "confusion_matrix: labels -1 at 1");
  EXPECT_INVALID(confusion_matrix(x, i32({0}), 2), "confusion_matrix: labels is f32, expected i32");
}

}  // namespace
}  // namespace descent
