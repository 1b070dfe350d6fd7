// Several threads use one model at once, as in a server. With DESCENT_SANITIZE=thread these tests find writes on paths
// that should only read; otherwise they compare the results with those of one thread.
#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#include "descent/autograd.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent {
namespace {

constexpr int kThreads = 4;

// Calls f(thread) on kThreads threads that start together; reports the message of an exception as a test failure.
void together(const std::function<void(int)>& f) {
  std::barrier start(kThreads);
  std::vector<std::thread> threads;
  std::vector<std::string> errors(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      try {
        f(i);
      } catch (const std::exception& error) {
        errors[static_cast<std::size_t>(i)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "");
}

// Models in which every layer that takes images or features gets the input that it needs.
std::vector<std::string> models() {
  std::vector<std::string> texts;
  for (const std::string_view name : nn::preset_names()) texts.push_back(nn::preset(name, {12, 12, 1}, 4));
  texts.emplace_back(R"({"name": "images", "input": [12, 12, 1], "layers": [
      {"type": "Conv2d", "out_channels": 4, "kernel_size": 3}, {"type": "LeakyReLU"}, {"type": "AvgPool2d", "kernel_size": 2},
      {"type": "ConvTranspose2d", "out_channels": 3, "kernel_size": 2}, {"type": "SiLU"}, {"type": "BatchNorm2d"},
      {"type": "ReLU"}, {"type": "MaxPool2d", "kernel_size": 2}, {"type": "GlobalAvgPool2d"}, {"type": "Linear", "out_features": 4}]})");
  texts.emplace_back(R"({"name": "features", "input": [12, 12, 1], "layers": [{"type": "Flatten"},
      {"type": "Linear", "out_features": 24}, {"type": "BatchNorm1d"}, {"type": "Sigmoid"}, {"type": "LayerNorm"},
      {"type": "Linear", "out_features": 16}, {"type": "GELU", "approximate": "tanh"}, {"type": "Dropout"}, {"type": "Tanh"},
      {"type": "Linear", "out_features": 4}, {"type": "LogSoftmax"}]})");
  return texts;
}

data::Dataset images(std::int64_t count) {
  Tensor pixels = Tensor::empty({count, 12, 12, 1}, DType::u8);
  for (std::int64_t i = 0; i < pixels.numel(); ++i) {
    pixels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * i * 31 % 251);
  }
  Tensor labels = Tensor::empty({count}, DType::u8);
  for (std::int64_t i = 0; i < count; ++i) labels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i % 4);
  return data::make_dataset("pixels", pixels, labels, "made by a test");
}

// A fresh model each time: lazy initialization at the first use must be safe too.
TEST(Concurrency, ThreadsShareAFreshModel) {
  const Tensor x = data::normalize(images(3).images, test::to_unit());
  for (const std::string& text : models()) {
    const NoGradGuard no_grad;
    const nn::Model alone = nn::build_model(text, 3);
    alone.module->eval();
    const std::vector<float> expected = (*alone.module)(x).to_vector<float>();
    for (int round = 0; round < 3; ++round) {
      const nn::Model shared = nn::build_model(text, 3);
      shared.module->eval();
      std::vector<std::vector<float>> results(kThreads);
      together([&](int i) {
        const NoGradGuard off;
        results[static_cast<std::size_t>(i)] = (*shared.module)(x).to_vector<float>();
      });
      for (const auto& result : results) EXPECT_EQ(result, expected) << shared.name;
    }
  }
}

// On a CUDA device all threads share its one stream and the libraries' handles, plans and workspaces. Each round uses
// other sizes, so that plans are created while others are in use.
TEST(Concurrency, ThreadsShareAModelOnADevice) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    for (const std::string& text : models()) {
      const NoGradGuard no_grad;
      const nn::Model model = nn::build_model(text, 3);
      model.module->to(dtype == DType::f64 ? DType::f64 : DType::f32).to(Device::cuda()).eval();
      for (int round = 1; round <= 2; ++round) {
        std::vector<Tensor> inputs;
        std::vector<std::vector<float>> expected, results(kThreads);
        for (int i = 0; i < kThreads; ++i) {
          inputs.push_back(data::normalize(images(3 * round + i).images, test::to_unit(), dtype, Device::cuda()));
        }
        together([&](int i) {
          const NoGradGuard off;
          std::vector<float> last;
          for (int again = 0; again < 3; ++again) {
            last = (*model.module)(inputs[static_cast<std::size_t>(i)]).to(DType::f32).to_vector<float>();
          }
          results[static_cast<std::size_t>(i)] = last;
        });
        for (const Tensor& input : inputs) expected.push_back((*model.module)(input).to(DType::f32).to_vector<float>());
        EXPECT_EQ(results, expected) << model.name << " " << to_string(dtype) << " round " << round;
      }
    }
  }
}

TEST(Concurrency, ThreadsEvaluateAndPredictWithOneModel) {
  const data::Dataset dataset = images(40);
  train::EvaluateOptions options;
  options.batch_size = 16;
  for (const std::string& text : models()) {
    const nn::Model alone = nn::build_model(text, 3), shared = nn::build_model(text, 3);
    const train::Evaluation expected = train::evaluate(*alone.module, dataset, test::to_unit(), options);
    const auto probabilities = train::predict(*alone.module, dataset.images, test::to_unit()).to_vector<float>();
    together([&](int i) {
      if (i % 2 == 0) {
        const train::Evaluation evaluation = train::evaluate(*shared.module, dataset, test::to_unit(), options);
        if (evaluation.confusion != expected.confusion || evaluation.metrics.loss != expected.metrics.loss) {
          throw std::runtime_error("another evaluation");
        }
      } else if (train::predict(*shared.module, dataset.images, test::to_unit()).to_vector<float>() != probabilities) {
        throw std::runtime_error("other probabilities");
      }
    });
    for (const nn::NamedModule& entry : shared.module->named_modules()) EXPECT_TRUE(entry.module->is_training());
  }
}

// What a server does in addition to inference: describe the model, list and save its state.
TEST(Concurrency, ThreadsDescribeAndSaveOneModel) {
  const data::Dataset dataset = images(8);
  for (const std::string& text : models()) {
    const nn::Model shared = nn::build_model(text, 3);
    const test::TempDir dir;
    together([&](int i) {
      const std::string path = dir / ("model" + std::to_string(i) + ".safetensors");
      if (i == 0) train::predict(*shared.module, dataset.images, test::to_unit());
      if (shared.module->to_string().empty() || shared.module->flops(shared.input) <= 0)
        throw std::runtime_error("empty");
      train::save_model(path, *shared.module, {shared.json, "pixels", dataset.class_names, test::to_unit()});
      if (nn::summarize(*shared.module, shared.input).empty()) throw std::runtime_error("no summary");
      const train::LoadedModel loaded = train::load_model(path);
      train::predict(*loaded.module, dataset.images, test::to_unit());
    });
  }
}

// Each thread trains its own model, in one process.
TEST(Concurrency, ThreadsTrainTheirOwnModels) {
  const data::Dataset dataset = test::quadrants(48);
  const auto bits = [&] {
    test::Parts s(test::kStateful);
    train::Trainer trainer(*s.model.module, *s.optimizer, test::small_options());
    trainer.fit(dataset, &dataset);
    return test::bits_of(trainer.state_dict());
  };
  const test::Bits expected = bits();
  together([&](int) {
    if (bits() != expected) throw std::runtime_error("other bits");
  });
}

TEST(Concurrency, AnEvalGuardIsOfItsThread) {
  nn::BatchNorm1d norm(3);
  const Tensor x = Tensor::ones({2, 3});
  EXPECT_TRUE(norm.is_training());
  {
    const nn::EvalGuard outer;
    {
      const nn::EvalGuard inner;
      EXPECT_FALSE(norm.is_training());
    }
    EXPECT_FALSE(norm.is_training());
    EXPECT_TRUE(nn::EvalGuard::active());
    bool elsewhere = false;
    std::thread([&] { elsewhere = norm.is_training(); }).join();
    EXPECT_TRUE(elsewhere);
    norm(x);
    EXPECT_EQ(norm.named_buffers()[2].tensor.item(), 0);  // num_batches_tracked
    norm.eval();
  }
  EXPECT_FALSE(norm.is_training());
  norm.train();
  EXPECT_TRUE(norm.is_training());
  EXPECT_FALSE(nn::EvalGuard::active());
}

TEST(Concurrency, InferenceDoesNotChangeWhatFilesNeed) {
  nn::Sequential model;
  model.add<nn::Flatten>().add<nn::Linear>(24, 4);
  model.output_shape({4, 3, 2});
  const auto layout = [&] { return model.state_dict()[0].layout; };
  const nn::FileLayout expected{nn::FileLayout::Kind::flattened, 4, 3, 2};
  EXPECT_EQ(layout(), expected);
  {
    const NoGradGuard no_grad;
    model(Tensor::ones({1, 2, 6, 2}));
    EXPECT_ERROR("InvalidArgument", "[1, 25]", model(Tensor::ones({1, 5, 5, 1})));
  }
  EXPECT_ERROR("InvalidArgument", "25 features",
               train::predict(model, Tensor::zeros({1, 5, 5, 1}, DType::u8), test::to_unit()));
  EXPECT_EQ(layout(), expected);
  model(Tensor::ones({1, 2, 6, 2}));
  EXPECT_EQ(layout(), (nn::FileLayout{nn::FileLayout::Kind::flattened, 2, 6, 2}));
}

// A class derived from Sequential that calls register_module itself still runs all of its modules.
TEST(Concurrency, ASequentialKnowsAllItsModules) {
  class Pair final : public nn::Sequential {
   public:
    Pair() {
      register_module("first", std::make_unique<nn::ReLU>());
      register_module("second", std::make_unique<nn::Tanh>());
    }
  };
  Pair pair;
  EXPECT_EQ(pair(Tensor::full({1}, -2)).item(), 0);
  EXPECT_NEAR(pair(Tensor::full({1}, 0.5)).item(), std::tanh(0.5), 1e-6);
}

}  // namespace
}  // namespace descent
