// Tensors: creation, views, copies, conversions, printing, errors.
#include "descent/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/tensor_impl.h"
#include "descent/autograd.h"
#include "descent/random.h"
#include "support/support.h"

namespace descent {
namespace {

TEST(Shape, KnowsItsSizes) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape.product(1, 3), 12);
  EXPECT_EQ(shape.with(-2, 7), (Shape{2, 7, 4}));
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_EQ((Shape{3, 0}).numel(), 0);
  EXPECT_EQ(to_string(shape), "[2, 3, 4]");
  EXPECT_EQ(shape.axis(-1, "op"), 2);
  EXPECT_INVALID(shape.axis(3, "op"), "op: axis 3 is out of range for shape [2, 3, 4]");
}

TEST(Shape, RefusesWhatCannotBe) {
  EXPECT_INVALID((Shape{2, -1}), "shape: dimension 1 is -1, expected 0 or more");
  EXPECT_INVALID((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "shape: 9 dimensions, at most 8 are supported");
  EXPECT_INVALID((Shape{1LL << 32, 1LL << 32}), "shape: [4294967296, 4294967296] has too many elements");
  // The product wraps to 0, and one dimension is 0: still refused.
  EXPECT_INVALID((Shape{0, 1LL << 32, 1LL << 32}), "has too many elements");
  EXPECT_INVALID((Shape{std::numeric_limits<std::int64_t>::max()}), "has too many elements");
}

TEST(Shape, BroadcastsAsNumPy) {
  EXPECT_EQ(broadcast({2, 1, 3}, {4, 1}, "op"), (Shape{2, 4, 3}));
  EXPECT_EQ(broadcast({}, {4, 1}, "op"), (Shape{4, 1}));
  EXPECT_EQ(broadcast({0, 3}, {1, 3}, "op"), (Shape{0, 3}));
  EXPECT_INVALID(broadcast({2, 3}, {2, 4}, "add"),
                 "add: shapes [2, 3] and [2, 4] don't broadcast: dimension 1 is 3 and 4");
  EXPECT_INVALID(broadcast({0}, {2}, "add"), "don't broadcast");
}

TEST(Tensor, IsMadeWithElements) {
  EXPECT_EQ(Tensor::zeros({2, 2}).to_vector<float>(), (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(Tensor::ones({3}, DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, 1, 1}));
  EXPECT_EQ(Tensor::full({2}, 2.5, DType::f64).to_vector<double>(), (std::vector<double>{2.5, 2.5}));
  EXPECT_EQ(Tensor::scalar(3).item(), 3);
  EXPECT_EQ(Tensor::scalar(3).rank(), 0);
  const Tensor t = Tensor::from(std::vector<std::uint8_t>{1, 2, 3, 255}, {2, 2});
  EXPECT_EQ(t.dtype(), DType::u8);
  EXPECT_EQ(t.bytes(), 4U);
  EXPECT_EQ(t.to_vector<double>(), (std::vector<double>{1, 2, 3, 255}));
  EXPECT_EQ(Tensor::empty({0, 4}).numel(), 0);
  EXPECT_EQ(Tensor::empty({0, 4}).to_vector<float>().size(), 0U);
}

TEST(Tensor, RefusesWrongUse) {
  EXPECT_INVALID(Tensor().shape(), "tensor: it is undefined");
  EXPECT_INVALID(Tensor::from(std::vector<float>{1, 2}, {3}), "tensor: 2 values, shape [3] needs 3");
  EXPECT_INVALID(Tensor::zeros({2}).item(), "item: the tensor has shape [2], expected one element");
  EXPECT_INVALID(Tensor::zeros({2}).data<double>(), "data: the elements are f32, asked for f64");
  EXPECT_INVALID(Tensor::zeros({2}).size(1), "size: axis 1 is out of range for shape [2]");
  EXPECT_INVALID(Tensor::zeros({2}).copy_from(Tensor::zeros({3})), "copy_from: the source has shape [3], expected [2]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).reshape({3, -1}), "reshape: [4, 2] can't become [3, -1]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).reshape({-1, -1}), "reshape: [4, 2] can't become [-1, -1]");
  EXPECT_INVALID(Tensor::zeros({0, 2}).reshape({0, -1}), "reshape: [0, 2] can't become [0, -1]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).narrow(0, 3, -1), "narrow: start 3 and length -1 on axis 0 of shape [4, 2]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).narrow(-1, INT64_MAX, 2),
                 "narrow: start 9223372036854775807 and length 2 on axis 1 of shape [4, 2]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).narrow(2, 0, 1), "narrow: axis 2 is out of range for shape [4, 2]");
  EXPECT_INVALID(Tensor::zeros({4, 2}).narrow(0, 0, 5), "narrow: start 0 and length 5 on axis 0 of shape [4, 2]");
}

TEST(Tensor, ThatIsTooLargeNamesItself) {
  try {
    Tensor::empty({1LL << 50}, DType::f64);
    FAIL() << "8 PiB were allocated";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find("tensor [1125899906842624] f64 on cpu: out of memory"), std::string::npos)
        << error.what();
    EXPECT_EQ(error.bytes_wanted(), 1ULL << 53);
  }
  EXPECT_EQ(Tensor::ones({4}).to_vector<float>(), (std::vector<float>{1, 1, 1, 1}));
}

TEST(Tensor, ViewsShareTheirElements) {
  Tensor t = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {3, 2});
  Tensor flat = t.reshape({-1});
  Tensor last = t.narrow(0, 1, 2);
  EXPECT_EQ(flat.shape(), (Shape{6}));
  EXPECT_EQ(last.to_vector<float>(), (std::vector<float>{2, 3, 4, 5}));
  last.data<float>()[0] = 20;
  EXPECT_EQ(flat.to_vector<float>()[2], 20);
  last.fill(7);
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{0, 1, 7, 7, 7, 7}));
  EXPECT_EQ(t.detach().data<float>(), t.data<float>());
  const Tensor copy = t;
  EXPECT_EQ(copy.data<float>(), t.data<float>());
}

TEST(Tensor, CopiesDoNot) {
  Tensor t = Tensor::from(std::vector<double>{1, 2, 3}, {3});
  const Tensor copy = t.clone();
  t.fill(0);
  EXPECT_EQ(copy.to_vector<double>(), (std::vector<double>{1, 2, 3}));
  t.copy_from(copy.to(DType::f32));
  EXPECT_EQ(t.to_vector<double>(), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(t.to(Device::cpu()).data<double>(), t.data<double>());
  EXPECT_EQ(t.to(DType::f64).data<double>(), t.data<double>());
}

TEST(Tensor, CopiesBetweenItsOwnSlices) {
  const std::int64_t n = std::int64_t{1} << 20;
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  const Tensor x = Tensor::from(numbers, {n});
  x.narrow(0, 3, n - 3).copy_from(x.narrow(0, 0, n - 3));
  for (std::size_t i = numbers.size() - 1; i >= 3; --i) numbers[i] = numbers[i - 3];
  EXPECT_EQ(x.to_vector<std::int32_t>(), numbers);
}

template <class T>
concept HasDType = requires {
  dtype_of<T>;
};
static_assert(HasDType<float> && HasDType<std::uint8_t> && !HasDType<std::int64_t> && !HasDType<bool>);

TEST(Tensor, ConvertsAsCpp) {
  const Tensor t = Tensor::from(std::vector<double>{-1.75, 0.1, 200.9}, {3});
  EXPECT_EQ(t.to(DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{-1, 0, 200}));
  EXPECT_EQ(t.to(DType::f32).to_vector<float>(), (std::vector<float>{-1.75F, 0.1F, 200.9F}));
  EXPECT_EQ(t.to_vector<float>()[1], 0.1F);
  EXPECT_EQ(Tensor::from(std::vector<std::int32_t>{7, 255}, {2}).to(DType::u8).to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{7, 255}));
}

TEST(Tensor, Prints) {
  EXPECT_EQ(Tensor().to_string(), "tensor undefined");
  EXPECT_EQ(Tensor::scalar(1.5).to_string(), "tensor [] f32 cpu\n1.5");
  EXPECT_EQ(Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4}, {2, 2}).to_string(),
            "tensor [2, 2] i32 cpu\n[[1, 2],\n [3, 4]]");
  EXPECT_EQ(Tensor::zeros({2, 0}).to_string(), "tensor [2, 0] f32 cpu\n[[],\n []]");
  std::vector<double> many(20);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i);
  EXPECT_EQ(Tensor::from(many, {20}).to_string(), "tensor [20] f64 cpu\n[0, 1, 2, ..., 17, 18, 19]");
  EXPECT_EQ(Tensor::from(many, {10, 2}).to_string(),
            "tensor [10, 2] f64 cpu\n[[0, 1],\n [2, 3],\n [4, 5],\n ...,\n [14, 15],\n [16, 17],\n [18, 19]]");
}

TEST(Tensor, MovesIntoAFlatBuffer) {
  Tensor flat = Tensor::zeros({10}, DType::f64);
  Tensor gradients = Tensor::zeros({10}, DType::f64);
  Tensor p = Tensor::from(std::vector<double>{1, 2, 3, 4}, {2, 2});
  const Tensor other_handle = p;
  p.set_requires_grad(true);
  rebind(p, flat, 3);
  rebind_grad(p, gradients, 5);
  EXPECT_EQ(flat.to_vector<double>(), (std::vector<double>{0, 0, 0, 1, 2, 3, 4, 0, 0, 0}));
  EXPECT_EQ(other_handle.data<double>(), flat.data<double>() + 3);
  EXPECT_FALSE(p.grad().defined());
  backward(p, Tensor::full({2, 2}, 2, DType::f64));
  EXPECT_EQ(gradients.to_vector<double>(), (std::vector<double>{0, 0, 0, 0, 0, 2, 2, 2, 2, 0}));
  p.zero_grad();
  EXPECT_FALSE(p.grad().defined());
  backward(p, Tensor::full({2, 2}, 3, DType::f64));
  EXPECT_EQ(p.grad().data<double>(), gradients.data<double>() + 5);
  EXPECT_EQ(p.grad().to_vector<double>(), (std::vector<double>{3, 3, 3, 3}));
  EXPECT_INVALID(rebind(p, flat, 7), "rebind: 4 elements at 7 don't fit into a buffer of 10");
  Tensor single = Tensor::zeros({10});
  EXPECT_INVALID(rebind(p, single, 0), "rebind: the buffer is f32, the tensor f64");
}

TEST(Device, IsParsed) {
  EXPECT_EQ(parse_device("cpu"), Device::cpu());
  EXPECT_EQ(to_string(Device::cpu()), "cpu");
  EXPECT_EQ(to_string(Device::cuda(1)), "cuda:1");
  EXPECT_INVALID(parse_device("gpu"), "device: \"gpu\", expected cpu, cuda, cuda:N or auto");
  EXPECT_INVALID(parse_device("cuda:"), "expected cpu, cuda");
  EXPECT_INVALID(parse_device("cuda:-1"), "expected cpu, cuda");
  EXPECT_INVALID(parse_device("cuda:1x"), "expected cpu, cuda");
  if (cuda_unavailable_reason().empty()) return;
  EXPECT_EQ(parse_device("auto"), Device::cpu());
  EXPECT_THROW(parse_device("cuda"), DeviceError);
  EXPECT_THROW(Tensor::zeros({1}, DType::f32, Device::cuda()), DeviceError);
}

TEST(Device, CountsItsMemory) {
  const std::uint64_t before = memory_info(Device::cpu()).bytes_in_use;
  {
    const Tensor t = Tensor::empty({1 << 20});
    EXPECT_GE(memory_info(Device::cpu()).bytes_in_use, before + (4U << 20U));
  }
  EXPECT_EQ(memory_info(Device::cpu()).bytes_in_use, before);
  synchronize(Device::cpu());
}

TEST(Generator, DependsOnSeedStreamAndCallOnly) {
  Generator a(1);
  Generator b(1);
  const std::vector<float> first = a.uniform({1000}).to_vector<float>();
  const std::vector<float> second = a.uniform({1000}).to_vector<float>();
  EXPECT_NE(first, second);
  EXPECT_EQ(a.counter().item(), 2);
  EXPECT_EQ(b.uniform({10, 100}).to_vector<float>(), first);
  b.set_counter(0);
  EXPECT_EQ(b.uniform({1000}).to_vector<float>(), first);
  EXPECT_NE(Generator(2).uniform({1000}).to_vector<float>(), first);
  EXPECT_NE(Generator(1, 1).uniform({1000}).to_vector<float>(), first);
  const std::vector<double> wide = Generator(1).uniform({1000}, 0, 1, DType::f64).to_vector<double>();
  EXPECT_EQ(wide, std::vector<double>(first.begin(), first.end()));
}

TEST(Generator, DrawsWhatItSays) {
  const std::vector<double> u = Generator(3).uniform({10000}, -1, 3, DType::f64).to_vector<double>();
  double mean = 0;
  for (const double x : u) {
    EXPECT_TRUE(x >= -1 && x < 3);
    mean += x / 10000;
  }
  EXPECT_NEAR(mean, 1, 0.05);
  const std::vector<double> n = Generator(3).normal({10000}, 5, 2, DType::f64).to_vector<double>();
  double first = 0;
  double second = 0;
  for (const double x : n) {
    first += x / 10000;
    second += (x - 5) * (x - 5) / 10000;
  }
  EXPECT_NEAR(first, 5, 0.1);
  EXPECT_NEAR(second, 4, 0.2);
  std::vector<std::int32_t> order = Generator(3).permutation(1000).to_vector<std::int32_t>();
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (std::int32_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(Generator(3).permutation(0).numel(), 0);
  EXPECT_INVALID(Generator(3).permutation(-1), "permutation: -1 elements");
  EXPECT_INVALID(Generator(3).uniform({2}, 0, 1, DType::i32), "uniform: the element type is i32, expected f32 or f64");
}

}  // namespace
}  // namespace descent
