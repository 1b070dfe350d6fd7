// The same numbers as PyTorch: losses of ten training steps from the same weights, batches and dropout masks, and a
// model file written by PyTorch. Fixtures are made by tests/fixtures/make_torch_fixtures.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "descent/descent.h"

namespace descent {
namespace {

constexpr std::int64_t kSteps = 10, kBatch = 8;
constexpr std::uint64_t kImages = 4800, kLabels = 5800;
constexpr std::uint64_t kSeed = 7;

std::string fixture(const std::string& name) { return std::string(DESCENT_TESTS_DIR) + "/fixtures/" + name; }

// The hash function of make_torch_fixtures.py: a number in [-0.5, 0.5) for each element.
double hash_value(std::uint64_t salt, std::uint64_t element) {
  std::uint64_t x = (element * 2654435761u + (salt + 1) * 2246822519u) & 0xFFFFFFFFu;
  x ^= x >> 15;
  x = (x * 2654435769u) & 0xFFFFFFFFu;
  x ^= x >> 13;
  return static_cast<double>(x) / 4294967296.0 - 0.5;
}

// Sets weights in PyTorch's layout, through the same function that loads files.
void set_weights(nn::Sequential& module) {
  io::TensorFile file = io::state_dict(module);
  std::uint64_t salt = 0;
  for (auto& [name, tensor] : file.tensors) {
    if (name.find("running") != std::string::npos || name.find("tracked") != std::string::npos) continue;
    std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
    const bool norm = tensor.rank() == 1 && file.find(name.substr(0, name.rfind('.')) + ".running_mean") != nullptr &&
                      name.ends_with("weight");
    const double fan_in = tensor.rank() > 1 ? static_cast<double>(tensor.shape().product(1, tensor.rank())) : 1;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double value = hash_value(salt, i);
      values[i] = tensor.rank() == 1 ? value * 0.1 + (norm ? 1.0 : 0.0) : value * 2 * std::sqrt(3.0 / fan_in);
    }
    tensor = Tensor::from(values, tensor.shape()).to(tensor.dtype());
    ++salt;
  }
  io::load_state_dict(module, file);
}

struct Batch {
  Tensor x, y;
};

Batch batch(std::uint64_t step, DType dtype) {
  std::vector<double> pixels(static_cast<std::size_t>(kBatch * 784));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = std::floor((hash_value(kImages + step, i) + 0.5) * 256) / 255.0;
  std::vector<std::int32_t> labels(static_cast<std::size_t>(kBatch));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<std::int32_t>(std::floor((hash_value(kLabels + step, i) + 0.5) * 10));
  }
  return {Tensor::from(pixels, {kBatch, 28, 28, 1}).to(dtype), Tensor::from(labels, {kBatch})};
}

struct Case {
  const char* model;
  const char* optimizer;
  DType dtype;
};

class TorchLosses : public testing::TestWithParam<Case> {};

TEST_P(TorchLosses, AreEqualOverTenSteps) {
  const Case c = GetParam();
  nn::Model model = nn::build_model(nn::preset(c.model), kSeed);
  model.module->to(c.dtype);
  set_weights(*model.module);
  std::unique_ptr<optim::Optimizer> optimizer;
  if (std::string(c.optimizer) == "adam") {
    optimizer = optim::make_optimizer("adam", *model.module, {.lr = 1e-3});
  } else {
    optimizer = optim::make_optimizer("sgd", *model.module,
                                      {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true});
  }
  std::ifstream in(fixture("torch_losses.json"));
  const std::string type(to_string(c.dtype));
  const auto expected =
      nlohmann::json::parse(in).at(std::string(c.model) + " " + c.optimizer + " " + type).get<std::vector<double>>();
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kSteps));
  const double tolerance = c.dtype == DType::f64 ? 1e-11 : 1e-5;
  for (std::size_t step = 0; step < expected.size(); ++step) {
    const Batch b = batch(step, c.dtype);
    const Tensor loss = cross_entropy(model.module->forward(b.x), b.y);
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    EXPECT_NEAR(loss.item(), expected[step], tolerance * expected[step]) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TorchLosses,
                         testing::Values(Case{"mlp", "adam", DType::f32}, Case{"mlp", "adam", DType::f64},
                                         Case{"mlp", "sgd", DType::f32}, Case{"mlp", "sgd", DType::f64},
                                         Case{"lenet5", "adam", DType::f32}, Case{"lenet5", "adam", DType::f64},
                                         Case{"lenet5", "sgd", DType::f32}, Case{"lenet5", "sgd", DType::f64},
                                         Case{"cnn-bn", "adam", DType::f32}, Case{"cnn-bn", "adam", DType::f64},
                                         Case{"cnn-bn", "sgd", DType::f32}, Case{"cnn-bn", "sgd", DType::f64}),
                         [](const testing::TestParamInfo<Case>& info) {
                           std::string name = std::string(info.param.model) + "_" + info.param.optimizer + "_" +
                                              std::string(to_string(info.param.dtype));
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// small_model of make_torch_fixtures.py: every layer whose layout differs between memory and PyTorch's files.
std::unique_ptr<nn::Sequential> small_model() {
  auto model = std::make_unique<nn::Sequential>();
  model->add<nn::Conv2d>(2, 6, 3, nn::Conv2dOptions{.stride = 2, .padding = 1});
  model->add<nn::BatchNorm2d>(6);
  model->add<nn::ReLU>();
  model->add<nn::ConvTranspose2d>(6, 4, 3, nn::ConvTranspose2dArgs{.stride = 2, .output_padding = 1});
  model->add<nn::GELU>();
  model->add<nn::Conv2d>(4, 8, nn::Pair(3, 2), nn::Conv2dOptions{.groups = 2});
  model->add<nn::MaxPool2d>(2);
  model->add<nn::Flatten>();
  model->add<nn::Linear>(8 * 5 * 5, 7);
  model->add<nn::LayerNorm>(7);
  model->add<nn::Linear>(7, 5);
  model->output_shape({9, 9, 2});  // tells Flatten its input shape
  return model;
}

TEST(TorchModel, LoadsWithoutPermutingAndGivesTheSameLogits) {
  const auto model = small_model();
  io::load_module(fixture("small_model.safetensors"), *model);
  model->eval();
  const io::TensorFile io = io::load_tensors(fixture("small_model_io.safetensors"));
  const std::vector<float> nchw = io.find("x_nchw")->to_vector<float>();
  std::vector<float> nhwc(nchw.size());
  for (std::size_t n = 0; n < 3; ++n) {
    for (std::size_t c = 0; c < 2; ++c) {
      for (std::size_t p = 0; p < 81; ++p) nhwc[(n * 81 + p) * 2 + c] = nchw[(n * 2 + c) * 81 + p];
    }
  }
  const std::vector<float> logits = model->forward(Tensor::from(nhwc, {3, 9, 9, 2})).to_vector<float>();
  const std::vector<float> expected = io.find("logits")->to_vector<float>();
  ASSERT_EQ(logits.size(), expected.size());
  for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], expected[i], 2e-6) << i;
}

// Our file has the same names, shapes, types and bytes as PyTorch's, so PyTorch's load_state_dict takes it unchanged.
TEST(TorchModel, IsSavedAsPyTorchWroteIt) {
  const auto model = small_model();
  io::load_module(fixture("small_model.safetensors"), *model);
  const std::string path = testing::TempDir() + "/descent_small_model.safetensors";
  io::save_module(path, *model);
  const io::TensorFileInfo ours = io::inspect_tensors(path);
  const io::TensorFileInfo theirs = io::inspect_tensors(fixture("small_model.safetensors"));
  ASSERT_EQ(ours.tensors.size(), theirs.tensors.size());
  const io::TensorFile our_file = io::load_tensors(path);
  const io::TensorFile their_file = io::load_tensors(fixture("small_model.safetensors"));
  for (const io::TensorInfo& expected : theirs.tensors) {
    const auto found =
        std::find_if(ours.tensors.begin(), ours.tensors.end(), [&](const auto& t) { return t.name == expected.name; });
    ASSERT_NE(found, ours.tensors.end()) << expected.name;
    EXPECT_EQ(found->dtype, expected.dtype) << expected.name;
    EXPECT_EQ(found->shape, expected.shape) << expected.name;
    EXPECT_EQ(our_file.find(expected.name)->to_vector<double>(), their_file.find(expected.name)->to_vector<double>())
        << expected.name;
  }
}

}  // namespace
}  // namespace descent
