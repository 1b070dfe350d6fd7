// Mixed precision: activations in bf16 with parameters in f32. Every op agrees with its f32 result on the same
// numbers up to the rounding of what it stores, parameter gradients are not rounded, and invalid mixtures throw.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "core/tensor_impl.h"
#include "descent/nn.h"
#include "support/op_checks.h"
#include "support/support.h"
#include "support/training_fixture.h"

namespace descent {
namespace {

constexpr double kUnit = 0x1p-8;  // relative error of rounding to bf16

bool is_parameter(const ops::OpCase& row, std::size_t input) {
  static const std::set<std::string> with_parameters = {
      "linear", "conv2d", "conv_transpose2d", "batch_norm", "layer_norm",
  };
  return row.op == std::string("embedding") || (input > 0 && with_parameters.contains(row.op));
}

// The table's rows, plus layers large enough for a GPU's libraries to take over.
std::vector<ops::OpCase> rows() {
  std::vector<ops::OpCase> all = ops::op_cases();
  const auto add = [&](const char* op, const char* detail, std::vector<Shape> shapes, auto run) {
    ops::OpCase row{op, detail, {}, run};
    for (const Shape& shape : shapes) row.inputs.push_back({shape, -1, 1});
    all.push_back(std::move(row));
  };
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Shape a = ta ? Shape{48, 64} : Shape{64, 48}, b = tb ? Shape{40, 48} : Shape{48, 40};
      add("matmul", "large", {a, b}, [=](const auto& in) { return matmul(in[0], in[1], ta, tb); });
    }
  }
  add("matmul", "batches", {{3, 16, 24}, {3, 24, 32}}, [](const auto& in) { return matmul(in[0], in[1]); });
  for (const Activation activation : {Activation::none, Activation::relu}) {
    add("linear", "large", {{32, 64}, {40, 64}, {40}},
        [=](const auto& in) { return linear(in[0], in[1], in[2], activation); });
    add("conv2d", "large", {{2, 10, 10, 32}, {64, 3, 3, 32}, {64}},
        [=](const auto& in) { return conv2d(in[0], in[1], in[2], {.padding_h = 1, .padding_w = 1}, activation); });
  }
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    add("linear", "large, twice", {{32, 64}, {64, 64}, {64}},
        [=](const auto& in) { return linear(linear(in[0], in[1], in[2], activation), in[1], in[2]); });
  }
  add("conv2d", "strides", {{2, 11, 13, 16}, {24, 3, 3, 16}},
      [](const auto& in) { return conv2d(in[0], in[1], {}, {.stride_h = 2, .stride_w = 2}); });
  add("conv2d", "relu and pool, large", {{2, 10, 10, 32}, {64, 3, 3, 32}, {64}}, [](const auto& in) {
    return conv2d(in[0], in[1], in[2], {.padding_h = 1, .padding_w = 1}, Epilogue(Activation::relu, true));
  });
  return all;
}

Tensor rounded(const Tensor& x) { return x.detach().to(DType::bf16).to(DType::f32); }

// Runs the row in f32 or, if `mixed`, with activations in bf16, on the same numbers, all representable in bf16.
test::Run run_on_bf16_numbers(const ops::OpCase& row, bool mixed, Device device = {}) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : ops::case_inputs(row, DType::f32, Device::cpu())) {
    leaves.push_back(rounded(input).to(device).set_requires_grad(true));
  }
  std::vector<Tensor> inputs = leaves;
  for (std::size_t i = 0; mixed && i < inputs.size(); ++i) {
    if (!is_parameter(row, i)) inputs[i] = inputs[i].to(DType::bf16);
  }
  const Tensor y = row.run(inputs);
  backward(y, rounded(test::direction(y)).to(y.dtype()));
  test::Run run;
  run.values.push_back(y.to_vector<double>());
  for (const Tensor& leaf : leaves) run.values.push_back(test::gradient_of(leaf));
  return run;
}

// What backward reads is rounded too, which matters for 1 - y when y is near 1.
double bound(const ops::OpCase& row) {
  const std::string op = row.op;
  return op == "sigmoid" || op == "tanh" ? 4 * kUnit : 2 * kUnit;
}

TEST(MixedPrecision, EveryOpRoundsOnlyWhatItStores) {
  for (const ops::OpCase& row : rows()) {
    const double error = test::worst_distance(run_on_bf16_numbers(row, true), run_on_bf16_numbers(row, false));
    EXPECT_LT(error, bound(row)) << test::name_of_row(row);
  }
}

TEST(MixedPrecision, CudaAgreesWithTheCpu) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  for (const ops::OpCase& row : rows()) {
    const double error =
        test::worst_distance(run_on_bf16_numbers(row, true, Device::cuda()), run_on_bf16_numbers(row, true));
    // cuDNN's convolution is rounded before it is pooled: if maxima become equal, the first gets the gradient.
    const bool rounded_first = row.op == std::string("conv2d") && row.detail == std::string("relu and pool, large");
    EXPECT_LT(error, rounded_first ? 0.3 : kUnit) << test::name_of_row(row);
  }
}

// Results are those of f32, rounded once to nearest.
TEST(MixedPrecision, StoresTheNearestNumber) {
  const Tensor a = rounded(test::direction(Tensor::zeros({33, 17}))),
               b = rounded(test::direction(Tensor::zeros({17, 9})));
  const Tensor narrow_a = a.to(DType::bf16), narrow_b = b.to(DType::bf16);
  const auto expect = [](const Tensor& mixed, const Tensor& full) {
    ASSERT_EQ(mixed.dtype(), DType::bf16);
    EXPECT_EQ(mixed.to_vector<float>(), rounded(full).to_vector<float>());
  };
  expect(matmul(narrow_a, narrow_b), matmul(a, b));
  expect(exp(narrow_a), exp(a));
  expect(narrow_a * narrow_a, a * a);
  expect(sum(narrow_a, 0), sum(a, 0));
  expect(softmax(narrow_a), softmax(a));
}

TEST(MixedPrecision, GradientsOfParametersAreNotRounded) {
  const Tensor x = rounded(test::direction(Tensor::zeros({64, 16})));
  const Tensor weight = rounded(test::direction(Tensor::zeros({8, 16}))).set_requires_grad(true);
  const Tensor bias = Tensor::zeros({8}).set_requires_grad(true);
  const Tensor dy = rounded(test::direction(Tensor::zeros({64, 8})));
  backward(linear(x, weight, bias), dy);
  const Tensor full_weight = weight.grad().clone(), full_bias = bias.grad().clone();
  for (Tensor leaf : {weight, bias}) leaf.zero_grad();
  backward(linear(x.to(DType::bf16), weight, bias), dy.to(DType::bf16));
  EXPECT_EQ(weight.grad().dtype(), DType::f32);
  EXPECT_EQ(weight.grad().to_vector<float>(), full_weight.to_vector<float>());
  EXPECT_EQ(bias.grad().to_vector<float>(), full_bias.to_vector<float>());
  EXPECT_NE(full_weight.to_vector<float>(), rounded(full_weight).to_vector<float>());
}

TEST(MixedPrecision, ConvertingIsDifferentiable) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3}).set_requires_grad(true);
  const Tensor narrow = x.to(DType::bf16);
  sum(narrow * narrow + x.to(DType::bf16)).to(DType::f32).backward();  // three paths reach x
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{3, 5, 7}));
}

TEST(MixedPrecision, LossesAreF32) {
  const Tensor logits = rounded(test::direction(Tensor::zeros({4, 3}))).to(DType::bf16).set_requires_grad(true);
  const Tensor loss = cross_entropy(logits, Tensor::from(std::vector<std::int32_t>{0, 2, 1, 1}, {4}));
  EXPECT_EQ(loss.dtype(), DType::f32);
  loss.backward();
  EXPECT_EQ(logits.grad().dtype(), DType::bf16);
  EXPECT_EQ(mse_loss(logits.detach(), Tensor::zeros({4, 3})).dtype(), DType::f32);
}

TEST(MixedPrecision, RefusesOtherMixtures) {
  const Tensor x = Tensor::zeros({2, 3}, DType::bf16), full = Tensor::zeros({2, 3});
  EXPECT_INVALID(add(x, full), "add: the second operand is f32, expected bf16");
  EXPECT_INVALID(matmul(full, x, false, true), "matmul: the second operand is bf16, expected f32");
  EXPECT_INVALID(linear(x, Tensor::zeros({4, 3}, DType::bf16)), "linear: weight is bf16, expected f32");
  EXPECT_INVALID(linear(full, Tensor::zeros({4, 3}, DType::bf16)), "linear: weight is bf16, expected f32");
}

// A model has no precision of its own: its input's type determines it.
TEST(MixedPrecision, ModelsTakeIt) {
  for (const std::string_view preset : nn::preset_names()) {
    const std::string name(preset);
    nn::Model model = nn::build_model(nn::preset(name, {28, 28, 1}, 10), 1, name);
    const Tensor x = rounded(test::direction(Tensor::zeros({4, 28, 28, 1})));
    model.module->eval();
    const NoGradGuard off;
    const Tensor full = (*model.module)(x), mixed = (*model.module)(x.to(DType::bf16));
    EXPECT_EQ(mixed.dtype(), DType::bf16) << name;
    EXPECT_LT(test::distance(mixed.to_vector<double>(), full.to_vector<double>()), 4 * kUnit) << name;
  }
}

// Stays close to f32 training on the same images at every step: master weights keep what bf16 would lose.
TEST(MixedPrecision, TrainsLikeF32) {
  const data::Dataset images = test::quadrants(320);
  std::vector<train::Metrics> results;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    test::Parts parts(test::kStateful);
    train::TrainerOptions options = test::small_options(6);
    options.dtype = dtype;
    train::Trainer trainer(*parts.model.module, *parts.optimizer, options);
    trainer.fit(images);
    for (const nn::NamedTensor& p : parts.model.module->named_parameters()) EXPECT_EQ(p.tensor.dtype(), DType::f32);
    results.push_back(train::evaluate(*parts.model.module, images, options.normalization, {.dtype = dtype}).metrics);
  }
  EXPECT_GT(results[0].accuracy, 0.97);
  EXPECT_NEAR(results[1].accuracy, results[0].accuracy, 0.01);
  EXPECT_NEAR(results[1].loss, results[0].loss, 0.1 * results[0].loss);
}

}  // namespace
}  // namespace descent
