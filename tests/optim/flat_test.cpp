// Flat parameters: one buffer, aligned slices, tensors that follow, and segments of the parameters with gradients.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "core/tensor_impl.h"
#include "cpu/runtime/runtime.h"
#include "descent/nn.h"
#include "descent/optim.h"

namespace descent::nn {
namespace {

std::unique_ptr<Sequential> three_layers() {
  seed(1);
  auto model = std::make_unique<Sequential>();
  model->add<Linear>(3, 5).add<Tanh>().add<Linear>(5, 4).add<Tanh>().add<Linear>(4, 2);
  return model;
}

void backward(Module& model) { sum(model(Tensor::ones({2, 3}, model.parameters()[0].dtype()))).backward(); }

TEST(Flat, SlicesAreAlignedAndKeepTheValues) {
  const auto model = three_layers();
  std::vector<std::vector<float>> before;
  for (const Tensor& p : model->parameters()) before.push_back(p.to_vector<float>());
  const Tensor handle = model->find("2").parameters()[0];
  FlatParameters flat(*model);
  ASSERT_EQ(flat.slices().size(), 6u);
  const auto* base = flat.data().data<float>();
  for (std::size_t i = 0; i < 6; ++i) {
    const auto& slice = flat.slices()[i];
    EXPECT_EQ(slice.offset % 16, 0);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slice.tensor.data<float>()) % 64, 0u);
    EXPECT_EQ(slice.tensor.data<float>(), base + slice.offset);
    EXPECT_EQ(slice.tensor.to_vector<float>(), before[i]);
  }
  EXPECT_EQ(flat.slices()[2].name, "2.weight");
  EXPECT_EQ(handle.data<float>(), base + flat.slices()[2].offset);
  EXPECT_EQ(flat.size(), 16 + 16 + 32 + 16 + 16 + 16);
  Tensor(flat.data()).fill(2);
  EXPECT_EQ(handle.to_vector<float>(), std::vector<float>(20, 2));
}

TEST(Flat, GradientsLieInTheParallelBufferAndGapsStayZero) {
  const auto model = three_layers(), plain = three_layers();
  FlatParameters flat(*model);
  backward(*model);
  backward(*plain);
  const auto expected = plain->parameters();
  std::vector<float> all = flat.grad().to_vector<float>();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto& slice = flat.slices()[i];
    EXPECT_EQ(slice.tensor.grad().data<float>(), flat.grad().data<float>() + slice.offset);
    EXPECT_EQ(slice.tensor.grad().to_vector<float>(), expected[i].grad().to_vector<float>()) << slice.name;
    std::fill_n(all.begin() + slice.offset, slice.size, 0.0f);
  }
  EXPECT_EQ(all, std::vector<float>(all.size(), 0));
}

TEST(Flat, SegmentsAreWhatHasAGradientAndIsNotFrozen) {
  const auto model = three_layers();
  FlatParameters flat(*model);
  EXPECT_TRUE(flat.segments().empty());
  backward(*model);
  ASSERT_EQ(flat.segments().size(), 1u);
  EXPECT_EQ(flat.segments()[0].begin, 0);
  EXPECT_EQ(flat.segments()[0].end, flat.size());
  model->find("2").freeze();
  auto segments = flat.segments();
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].end, flat.slices()[2].offset);
  EXPECT_EQ(segments[1].begin, flat.slices()[4].offset);
  EXPECT_EQ(segments[1].first, 4);
  EXPECT_EQ(segments[1].last, 6);
  flat.zero_grad();
  EXPECT_TRUE(flat.segments().empty());
  EXPECT_FALSE(model->parameters()[0].grad().defined());
  backward(*model);
  EXPECT_EQ(flat.segments().size(), 2u);
}

TEST(Flat, RefreshGathersWhatAMoveScattered) {
  const auto model = three_layers(), plain = three_layers();
  FlatParameters flat(*model);
  EXPECT_FALSE(flat.refresh());
  backward(*model);
  EXPECT_FALSE(flat.refresh());
  model->to(DType::f64);
  backward(*model);
  EXPECT_TRUE(flat.refresh());
  EXPECT_FALSE(flat.refresh());
  EXPECT_EQ(flat.dtype(), DType::f64);
  EXPECT_EQ(flat.slices()[1].offset, 16);  // 15 doubles
  plain->to(DType::f64);
  backward(*plain);
  backward(*plain);
  for (std::size_t i = 0; i < 6; ++i) {
    const Tensor& p = flat.slices()[i].tensor;
    EXPECT_EQ(p.data<double>(), flat.data().data<double>() + flat.slices()[i].offset);
    EXPECT_EQ(p.to_vector<double>(), plain->parameters()[i].to_vector<double>());
    // One gradient was computed in f32 before the conversion, one in f64 after it.
    const std::vector<double> found = p.grad().to_vector<double>();
    const std::vector<double> expected = plain->parameters()[i].grad().to_vector<double>();
    for (std::size_t j = 0; j < found.size(); ++j) EXPECT_NEAR(found[j], expected[j], 1e-6);
  }
}

TEST(Flat, AnOptimizerFollowsToAnotherTypeOnceThereIsMemory) {
  const auto model = three_layers();
  const auto twin = three_layers();
  optim::Adam adam(*model), expected(*twin);
  for (const auto& [module, optimizer] : {std::pair(model.get(), &adam), std::pair(twin.get(), &expected)}) {
    backward(*module);
    optimizer->step();
    module->to(DType::f64);
  }
  cpu::fail_allocation_after(4);  // by then the parameters, gradients and one moment have been moved
  EXPECT_THROW(adam.state_dict(), OutOfMemory);
  cpu::fail_allocation_after(0);
  const auto found = adam.state_dict(), wanted = expected.state_dict();
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].tensor.to_vector<double>(), wanted[i].tensor.to_vector<double>()) << found[i].name;
  }
}

TEST(Flat, SharedTensorsHaveOneSlice) {
  const Tensor w = Tensor::ones({4});
  const FlatParameters flat(std::vector<NamedTensor>{{"a", w}, {"b", w}});
  EXPECT_EQ(flat.slices().size(), 1u);
}

TEST(Flat, RefusesWhatCannotShareABuffer) {
  EXPECT_THROW(FlatParameters(std::vector<NamedTensor>{}), InvalidArgument);
  EXPECT_THROW(FlatParameters({{"a", Tensor::ones({2})}, {"b", Tensor::ones({2}, DType::f64)}}), InvalidArgument);
  EXPECT_THROW(FlatParameters({{"a", Tensor::ones({2}, DType::i32)}}), InvalidArgument);
}

}  // namespace
}  // namespace descent::nn
