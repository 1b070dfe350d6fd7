// Modules: names, modes, shapes, errors, file layouts, and layers with state.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "descent/nn.h"

namespace descent::nn {
namespace {

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "no error";
}

Tensor random(const Shape& shape, std::uint32_t stream = 1) { return Generator(9, stream).normal(shape); }

std::vector<std::string> names_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

TEST(Module, NamesAreDottedPathsInOrder) {
  Sequential model;
  model.add<Conv2d>(1, 2, 3).add<BatchNorm2d>(2).add<Dropout>();
  auto inner = std::make_unique<Sequential>();
  inner->add<Flatten>().add<Linear>(8, 3, false);
  model.add(std::move(inner));
  EXPECT_EQ(names_of(model.named_parameters()),
            (std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "3.1.weight"}));
  EXPECT_EQ(names_of(model.named_buffers()),
            (std::vector<std::string>{"1.running_mean", "1.running_var", "1.num_batches_tracked"}));
  EXPECT_EQ(names_of(model.checkpoint_state()), std::vector<std::string>{"2.calls"});
  EXPECT_EQ(model.find("3.1").type(), "Linear");
  EXPECT_EQ(model[1].type(), "BatchNorm2d");
  EXPECT_EQ(model.named_modules().size(), 7u);
  EXPECT_EQ(model.parameter_count(), 18 + 2 + 4 + 24);
  EXPECT_EQ(error_of([&] { model.find("3.2"); }), "Sequential: there is no module \"3.2\"");
  EXPECT_EQ(error_of([&] { model[4]; }), "Sequential: there is no module 4, the last is 3");
  EXPECT_THROW(model.add(nullptr), InvalidArgument);
}

class Pairwise : public Module {
 public:
  Pairwise() : Module("Pairwise") {
    weight_ = register_parameter("weight", Tensor::ones({2}));
    tied_ = register_parameter("tied", weight_);
    EXPECT_THROW(register_parameter("weight", Tensor::ones({2})), InvalidArgument);
    EXPECT_THROW(register_buffer("a.b", Tensor::ones({2})), InvalidArgument);
    EXPECT_THROW(register_buffer("", Tensor::ones({2})), InvalidArgument);
    EXPECT_THROW(register_module("x.y", std::make_unique<ReLU>()), InvalidArgument);
    register_module("act", std::make_unique<ReLU>());
    EXPECT_THROW(register_module("act", std::make_unique<ReLU>()), InvalidArgument);
  }
  Tensor forward(const Tensor& x) override { return mul(x, weight_) + tied_; }

 private:
  Tensor weight_, tied_;
};

TEST(Module, UserModulesRegisterWhatTheyOwn) {
  Pairwise module;
  EXPECT_EQ(names_of(module.named_parameters()), std::vector<std::string>{"weight"});  // shared: listed once
  EXPECT_EQ(module.state_dict().size(), 2u);                                           // a file has both names
  EXPECT_EQ(module(Tensor::full({1, 2}, 3)).to_vector<float>(), (std::vector<float>{4, 4}));
  EXPECT_EQ(error_of([&] { module.output_shape({2}); }), "Pairwise: it does not say which shape its output has");
}

// Two inputs, a residual connection, and children that are members: no forward(Tensor).
class Merge : public Module {
 public:
  Merge() : Module("Merge") {
    register_module("left", left_);
    register_module("right", right_);
  }
  std::pair<Tensor, Tensor> operator()(const Tensor& a, const Tensor& b) {
    const Tensor hidden = left_(a) + right_(b);
    return {hidden, hidden + a};
  }
  void adopt(Module& module) { register_module("adopted", module); }

 private:
  Linear left_{3, 3}, right_{2, 3, false};
};

TEST(Module, MayHaveAnySignatureAndHoldChildrenByValue) {
  Merge merge;
  EXPECT_EQ(names_of(merge.named_parameters()), (std::vector<std::string>{"left.weight", "left.bias", "right.weight"}));
  EXPECT_EQ(merge.parameter_count(), 9 + 3 + 6);
  const auto [hidden, sum] = merge(Tensor::ones({4, 3}), Tensor::ones({4, 2}));
  descent::sum(sum).backward();
  EXPECT_TRUE(merge.parameters()[2].grad().defined());
  merge.eval();
  EXPECT_FALSE(merge.find("right").is_training());
  EXPECT_EQ(merge.state_dict().size(), 3U);
  EXPECT_EQ(
      error_of([&] {
        merge.forward(Tensor::ones({4, 3}));
      }),
      "Merge: it has no forward(Tensor), which Sequential and the Trainer call; it may have functions of its own");
  EXPECT_EQ(error_of([&] { merge.adopt(merge); }), "Merge: the child \"adopted\" contains this module");
  Linear other(2, 2);
  merge.adopt(other);
  EXPECT_EQ(error_of([&] { merge.adopt(other); }),
            "Merge: \"adopted\" can't be the name of a child: it is empty, has a dot, or is there already");
}

TEST(Module, TrainEvalFreezeAndZeroGradReachAllModules) {
  Sequential model;
  model.add<Linear>(2, 2).add<Dropout>(0.5).add<Linear>(2, 2);
  EXPECT_TRUE(model[1].is_training());
  model.eval();
  EXPECT_FALSE(model.is_training());
  EXPECT_FALSE(model[1].is_training());
  model.train();
  EXPECT_TRUE(model[1].is_training());
  model[0].freeze();
  EXPECT_EQ(model.parameter_count(true), 6);
  sum(model(Tensor::ones({1, 2}))).backward();
  EXPECT_FALSE(model.parameters()[0].grad().defined());
  EXPECT_TRUE(model.parameters()[2].grad().defined());
  model.zero_grad();
  EXPECT_FALSE(model.parameters()[2].grad().defined());
  model.unfreeze();
  EXPECT_EQ(model.parameter_count(true), 12);
}

TEST(Module, ToAnotherTypeKeepsHandlesAndIntegers) {
  Sequential model;
  model.add<Linear>(3, 2).add<BatchNorm1d>(2).add<Dropout>(0.2);
  const Tensor weight = static_cast<Linear&>(model[0]).weight();
  const std::vector<float> before = weight.to_vector<float>();
  sum(model(random({4, 3}))).backward();
  const std::vector<float> grad = weight.grad().to_vector<float>();
  model.to(DType::f64);
  EXPECT_EQ(weight.dtype(), DType::f64);
  EXPECT_EQ(weight.to_vector<float>(), before);
  EXPECT_EQ(weight.grad().dtype(), DType::f64);
  EXPECT_EQ(weight.grad().to_vector<float>(), grad);
  EXPECT_EQ(model.named_buffers()[2].tensor.dtype(), DType::i32);
  EXPECT_EQ(model(random({4, 3}).to(DType::f64)).dtype(), DType::f64);
  EXPECT_EQ(model.named_buffers()[2].tensor.item(), 2);
  EXPECT_THROW(model.to(DType::i32), InvalidArgument);
  model.to(Device::cpu());
  EXPECT_EQ(weight.dtype(), DType::f64);
}

TEST(Module, DescribesItselfAsPyTorchDoes) {
  Sequential model;
  model.add<Conv2d>(1, 6, 5, Conv2dOptions{.padding = 2}).add<MaxPool2d>(2).add<Flatten>().add<Linear>(1176, 10);
  EXPECT_EQ(model.to_string(),
            "Sequential(\n"
            "  (0): Conv2d(1, 6, kernel_size=5, padding=2)\n"
            "  (1): MaxPool2d(kernel_size=2)\n"
            "  (2): Flatten()\n"
            "  (3): Linear(in_features=1176, out_features=10)\n"
            ")");
  EXPECT_EQ(ConvTranspose2d(4, 2, Pair(3, 2), {.stride = 2, .output_padding = 1, .bias = false}).extra_repr(),
            "4, 2, kernel_size=(3, 2), stride=2, output_padding=1, bias=False");
  EXPECT_EQ(BatchNorm(3).extra_repr(), "3, eps=1e-05, momentum=0.1");
  EXPECT_EQ(AvgPool2d(3, 2, 1, false).extra_repr(), "kernel_size=3, stride=2, padding=1, count_include_pad=False");
}

TEST(Shapes, FollowPyTorchsFormulas) {
  EXPECT_EQ(Conv2d(3, 8, 5, {.stride = 2, .padding = 1, .dilation = 2}).output_shape({32, 20, 3}), (Shape{13, 7, 8}));
  EXPECT_EQ(ConvTranspose2d(8, 4, 3, {.stride = 2, .padding = 1, .output_padding = 1}).output_shape({7, 5, 8}),
            (Shape{14, 10, 4}));
  EXPECT_EQ(MaxPool2d(2).output_shape({7, 6, 5}), (Shape{3, 3, 5}));
  EXPECT_EQ(MaxPool2d(3, 2, 1).output_shape({7, 6, 5}), (Shape{4, 3, 5}));
  EXPECT_EQ(GlobalAvgPool2d().output_shape({7, 6, 5}), Shape{5});
  EXPECT_EQ(Flatten().output_shape({7, 6, 5}), Shape{210});
  EXPECT_EQ(Embedding(10, 4).output_shape({6}), (Shape{6, 4}));
  EXPECT_EQ(Linear(5, 3).output_shape({2, 5}), (Shape{2, 3}));
}

// output_shape agrees with the shapes that the ops produce.
TEST(Shapes, AgreeWithForward) {
  std::vector<std::pair<std::unique_ptr<Module>, Shape>> cases;
  cases.emplace_back(std::make_unique<Conv2d>(4, 6, Pair(3, 2), Conv2dOptions{{2, 1}, {1, 2}, {1, 2}, 2}),
                     Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<ConvTranspose2d>(4, 6, 3, ConvTranspose2dArgs{{2, 3}, 1, {1, 2}, 1, 2}),
                     Shape{4, 5, 4});
  cases.emplace_back(std::make_unique<MaxPool2d>(3, 2, 1), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<AvgPool2d>(2), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<GlobalAvgPool2d>(), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<BatchNorm2d>(4), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<BatchNorm>(4), Shape{8, 4});
  cases.emplace_back(std::make_unique<LayerNorm>(4), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<Flatten>(), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<Linear>(4, 7), Shape{9, 8, 4});
  cases.emplace_back(std::make_unique<GELU>(Gelu::tanh), Shape{5});
  cases.emplace_back(std::make_unique<Softmax>(), Shape{5});
  for (const auto& [module, input] : cases) {
    std::vector<std::int64_t> batch{3};
    batch.insert(batch.end(), input.begin(), input.end());
    const Tensor y = module->forward(random(Shape(batch)));
    const Shape expected = module->output_shape(input);
    ASSERT_EQ(y.rank(), expected.rank() + 1) << module->type();
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), y.shape().begin() + 1)) << module->type();
    EXPECT_EQ(y.size(0), 3);
  }
}

TEST(Shapes, ErrorsNameTheLayer) {
  Sequential model;
  model.add<Conv2d>(1, 6, 5).add<ReLU>().add<Flatten>().add<Linear>(784, 10);
  EXPECT_EQ(error_of([&] {
              model.output_shape({12, 12, 1});
            }),
            "layer 3 (Linear): input has 384 features, expects 784");
  EXPECT_EQ(error_of([&] {
              model.output_shape({4, 12, 1});
            }),
            "layer 0 (Conv2d): a window of 5 does not fit into an input of 4 with padding 0");
  EXPECT_EQ(error_of([&] { model.output_shape({12, 12, 3}); }), "layer 0 (Conv2d): input has 3 channels, expects 1");
  EXPECT_EQ(error_of([&] { model.output_shape({12}); }),
            "layer 0 (Conv2d): input has shape [12], expected an image [H, W, C] to convolve");
  auto inner = std::make_unique<Sequential>();
  inner->add<ReLU>().add<BatchNorm1d>(11);
  model.add(std::move(inner));
  EXPECT_EQ(error_of([&] { model.output_shape({32, 8, 1}); }), "layer 3 (Linear): input has 672 features, expects 784");
  Sequential nested;
  auto child = std::make_unique<Sequential>();
  child->add<ReLU>().add<BatchNorm1d>(11);
  nested.add<ReLU>().add(std::move(child));
  EXPECT_EQ(error_of([&] { nested.output_shape({10}); }), "layer 1.1 (BatchNorm1d): input has 10 features, expects 11");
}

TEST(Shapes, ForwardErrorsNameTheLayer) {
  Sequential model;
  model.add<Linear>(4, 5).add<ReLU>().add<Linear>(6, 2);
  EXPECT_TRUE(error_of([&] { model(random({2, 4})); }).starts_with("layer 2 (Linear): linear: "));
  EXPECT_TRUE(error_of([&] { model(random({2, 3})); }).starts_with("layer 0 (Linear): linear: "));
  Sequential norm;
  norm.add<ReLU>().add<BatchNorm2d>(4);
  EXPECT_EQ(error_of([&] {
              norm(random({2, 4}));
            }),
            "layer 1 (BatchNorm2d): input has shape [2, 4], expects [N, H, W, C]");
}

TEST(Shapes, OptionsThatCanNeverBeRightAreRefused) {
  EXPECT_EQ(error_of([] { Linear(0, 3); }), "Linear: in_features is 0, expected 1 to 2147483647");
  EXPECT_EQ(error_of([] { Conv2d(4, 6, 3, {.groups = 3}); }),
            "Conv2d: groups is 3, expected a divisor of in_channels 4 and out_channels 6");
  EXPECT_EQ(error_of([] { Conv2d(4, 6, Pair(3, 0)); }), "Conv2d: kernel_size is 0, expected 1 to 2147483647");
  EXPECT_EQ(error_of([] { Dropout(1.5); }), "Dropout: p is 1.5, expected 0 to 1");
  EXPECT_EQ(error_of([] { MaxPool2d(2, 2, 2); }),
            "MaxPool2d: padding is 2 x 2, expected at most half the kernel_size 2 x 2");
  EXPECT_EQ(error_of([] { BatchNorm1d(3, -1); }), "BatchNorm1d: eps is -1, expected more than 0 to 1");
  EXPECT_EQ(error_of([] { LayerNorm(3, 0); }), "LayerNorm: eps is 0, expected more than 0 to 1");
  EXPECT_THROW(ConvTranspose2d(2, 2, 3, {.output_padding = 1}), InvalidArgument);
  EXPECT_THROW(Embedding(0, 4), InvalidArgument);
}

TEST(Summary, CountsParametersAndOperations) {
  const Model model = build_model(preset("lenet5"));
  const auto rows = summarize(*model.module, model.input);
  ASSERT_EQ(rows.size(), 12u);
  EXPECT_EQ(rows[3].path, "3");
  EXPECT_EQ(rows[3].type, "Conv2d");
  EXPECT_EQ(rows[3].input, (Shape{14, 14, 6}));
  EXPECT_EQ(rows[3].output, (Shape{10, 10, 16}));
  EXPECT_EQ(rows[3].parameters, 2416);
  EXPECT_EQ(rows[3].flops, 100.0 * 16 * (2 * 150 + 1));
  EXPECT_EQ(rows[7].flops, 120.0 * (2 * 400 + 1));
  double total = 0;
  for (const auto& row : rows) total += row.flops;
  EXPECT_EQ(total, model.module->flops(model.input));
}

// ---- file layouts

const StateEntry& entry(const std::vector<StateEntry>& state, const std::string& name) {
  return *std::find_if(state.begin(), state.end(), [&](const StateEntry& e) { return e.name == name; });
}

TEST(Layout, LayersBehindAFlattenArePermuted) {
  Sequential model;
  model.add<Conv2d>(1, 3, 3).add<ConvTranspose2d>(3, 2, 2).add<Flatten>().add<BatchNorm1d>(60).add<ReLU>();
  auto inner = std::make_unique<Sequential>();
  inner->add<Dropout>().add<Linear>(60, 4);
  model.add(std::move(inner)).add<Linear>(4, 2);
  model.output_shape({7, 6, 1});  // -> [5, 4, 3] -> [6, 5, 2]
  const auto state = model.state_dict();
  ASSERT_EQ(state.size(), 13u);
  const FileLayout flat{FileLayout::Kind::flattened, 6, 5, 2};
  EXPECT_EQ(entry(state, "0.weight").layout.kind, FileLayout::Kind::conv_filter);
  EXPECT_EQ(entry(state, "0.bias").layout, FileLayout{});
  EXPECT_EQ(entry(state, "1.weight").layout.kind, FileLayout::Kind::conv_transpose_filter);
  EXPECT_EQ(entry(state, "3.weight").layout, flat);
  EXPECT_EQ(entry(state, "3.running_var").layout, flat);
  EXPECT_EQ(entry(state, "3.num_batches_tracked").layout, FileLayout{});
  EXPECT_TRUE(entry(state, "3.running_var").is_buffer);
  EXPECT_FALSE(entry(state, "3.weight").is_buffer);
  EXPECT_EQ(entry(state, "5.1.weight").layout, flat);
  EXPECT_EQ(entry(state, "5.1.bias").layout, FileLayout{});
  EXPECT_EQ(entry(state, "6.weight").layout, FileLayout{});
}

TEST(Layout, AFlattenThatSawNothingIsAnErrorAndForwardIsEnough) {
  Sequential model;
  model.add<Conv2d>(1, 2, 3).add<Flatten>().add<ReLU>().add<Linear>(32, 4);
  EXPECT_EQ(
      error_of([&] { model.state_dict(); }),
      "layer 3 (Linear): the file layout of weight needs the input shape of layer 1 (Flatten), which has not been "
      "seen: call output_shape(shape) of the model, or forward, first");
  model(random({2, 6, 6, 1}));
  EXPECT_EQ(entry(model.state_dict(), "3.weight").layout, (FileLayout{FileLayout::Kind::flattened, 4, 4, 2}));
}

TEST(Layout, NoPermutationWhereTheOrderIsTheSame) {
  Sequential gray;  // one channel
  gray.add<Flatten>().add<Linear>(12, 4);
  gray.output_shape({4, 3, 1});
  EXPECT_EQ(entry(gray.state_dict(), "1.weight").layout, FileLayout{});
  Sequential pooled;  // one pixel
  pooled.add<GlobalAvgPool2d>().add<Flatten>().add<Linear>(5, 4);
  pooled.output_shape({4, 3, 5});
  EXPECT_EQ(entry(pooled.state_dict(), "2.weight").layout, FileLayout{});
  Sequential twice;  // a second Flatten changes nothing
  twice.add<Flatten>().add<Flatten>().add<Linear>(24, 4);
  twice.output_shape({4, 3, 2});
  EXPECT_EQ(entry(twice.state_dict(), "2.weight").layout, (FileLayout{FileLayout::Kind::flattened, 4, 3, 2}));
}

// ---- layers with state

TEST(BatchNormLayer, CountsBatchesAndFollowsTheStatistics) {
  BatchNorm1d norm(2);
  const Tensor x = Tensor::from(std::vector<float>{1, 10, 3, 20, 5, 60}, {3, 2});
  norm(x);
  // The means are 3 and 30, the unbiased variances 4 and 700.
  EXPECT_NEAR(norm.running_mean().to_vector<double>()[0], 0.3, 1e-6);
  EXPECT_NEAR(norm.running_mean().to_vector<double>()[1], 3, 1e-6);
  EXPECT_NEAR(norm.running_var().to_vector<double>()[0], 0.9 + 0.4, 1e-6);
  EXPECT_NEAR(norm.running_var().to_vector<double>()[1], 0.9 + 70, 1e-5);
  norm(x);
  EXPECT_EQ(norm.named_buffers()[2].tensor.item(), 2);
  norm.eval();
  const std::vector<float> mean = norm.running_mean().to_vector<float>();
  norm(x);
  EXPECT_EQ(norm.named_buffers()[2].tensor.item(), 2);
  EXPECT_EQ(norm.running_mean().to_vector<float>(), mean);
}

TEST(DropoutLayer, DependsOnSeedPlaceAndCall) {
  const auto make = [](std::uint64_t s) {
    const init::SeedScope scope(s);
    auto model = std::make_unique<Sequential>();
    model->add<Dropout>(0.5).add<Dropout>(0.5);
    return model;
  };
  const Tensor x = Tensor::ones({1000});
  const auto a = make(4), b = make(4), c = make(5);
  const std::vector<float> first = a->operator()(x).to_vector<float>();
  EXPECT_EQ(first, b->operator()(x).to_vector<float>());
  EXPECT_NE(first, c->operator()(x).to_vector<float>());
  EXPECT_NE(first, a->operator()(x).to_vector<float>());  // the second call draws a new mask
  c->seed(4);
  EXPECT_EQ(first, c->operator()(x).to_vector<float>());
  EXPECT_NE((*a)[0](x).to_vector<float>(), (*a)[1](x).to_vector<float>());  // each layer has its own stream
  a->eval();
  EXPECT_EQ(a->operator()(x).to_vector<float>(), x.to_vector<float>());
}

TEST(DropoutLayer, ContinuesFromItsCheckpointState) {
  const init::SeedScope scope(6);
  Sequential model;
  model.add<Dropout>(0.3);
  const Tensor x = Tensor::ones({100});
  model(x);
  model(x);
  auto state = model.checkpoint_state();
  ASSERT_EQ(state.size(), 1u);
  EXPECT_EQ(state[0].tensor.item(), 2);
  const std::vector<float> third = model(x).to_vector<float>();
  state[0].tensor.fill(2);
  EXPECT_EQ(model(x).to_vector<float>(), third);
}

TEST(EmbeddingLayer, TakesRows) {
  Embedding table(5, 3);
  const std::vector<float> weight = table.weight().to_vector<float>();
  const std::vector<float> rows = table(Tensor::from(std::vector<std::int32_t>{4, 0}, {2})).to_vector<float>();
  EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 3, weight.begin() + 12));
  EXPECT_TRUE(std::equal(rows.begin() + 3, rows.end(), weight.begin()));
}

}  // namespace
}  // namespace descent::nn
