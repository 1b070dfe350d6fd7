// Small trainings for the tests of the trainer: images, models and what to run them with.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "descent/data.h"
#include "descent/io.h"
#include "descent/nn.h"
#include "descent/optim.h"
#include "descent/train.h"

namespace descent::test {

// 8 x 8 images of 4 classes: a bright quadrant on noise. Easy, but not at once.
inline data::Dataset quadrants(std::int64_t count, std::uint64_t seed = 1) {
  Tensor images = Tensor::empty({count, 8, 8, 1}, DType::u8);
  Tensor labels = Tensor::empty({count}, DType::u8);
  std::uint64_t state = seed;
  const auto random = [&] { return (state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 33U; };
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t label = i % 4;
    labels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(label);
    for (std::int64_t y = 0; y < 8; ++y) {
      for (std::int64_t x = 0; x < 8; ++x) {
        const bool bright = (y >= 4) == (label >= 2) && (x >= 4) == (label % 2 == 1);
        images.data<std::uint8_t>()[(i * 8 + y) * 8 + x] =
            static_cast<std::uint8_t>(random() % 160 + (bright ? 60 : 0));
      }
    }
  }
  return data::make_dataset("quadrants", images, labels, "made by a test");
}

inline constexpr const char* kMlp =
    R"({"name": "small", "input": [8, 8, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": 24},
        {"type": "ReLU"}, {"type": "Linear", "out_features": 4}]})";
// Everything that has a state of its own: running statistics, a counter of batches, a generator.
inline constexpr const char* kStateful =
    R"({"name": "stateful", "input": [8, 8, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": 24},
        {"type": "BatchNorm1d"}, {"type": "ReLU"}, {"type": "Dropout", "p": 0.3}, {"type": "Linear", "out_features": 4}]})";

// A model and its optimizer.
struct Parts {
  nn::Model model;
  std::unique_ptr<optim::Optimizer> optimizer;
  explicit Parts(const char* json = kMlp, const char* rule = "adam", DType dtype = DType::f32, double lr = 0.01) {
    model = nn::build_model(json, 3);
    model.module->to(dtype);
    optim::OptimizerOptions options;
    options.lr = lr;
    optimizer = optim::make_optimizer(rule, *model.module, options);
  }
};

inline data::Normalization to_unit() {
  data::Normalization normalization;
  normalization.kind = data::Normalization::Kind::minmax;
  normalization.scale = {1.0 / 255};
  return normalization;
}

inline train::TrainerOptions small_options(std::int64_t epochs = 2) {
  train::TrainerOptions options;
  options.epochs = epochs;
  options.batch_size = 16;
  options.seed = 5;
  options.normalization = to_unit();
  return options;
}

// The file layout, bit for bit: parameters and buffers.
using Bits = std::vector<std::pair<std::string, std::vector<std::byte>>>;
inline Bits bits_of(const io::TensorFile& file) {
  Bits bits;
  for (const auto& [name, tensor] : file.tensors) {
    std::vector<std::byte> bytes(tensor.bytes());
    switch (tensor.dtype()) {
      case DType::f64:
        std::memcpy(bytes.data(), tensor.data<double>(), bytes.size());
        break;
      case DType::i32:
        std::memcpy(bytes.data(), tensor.data<std::int32_t>(), bytes.size());
        break;
      default:
        std::memcpy(bytes.data(), tensor.data<float>(), bytes.size());
    }
    bits.emplace_back(name, std::move(bytes));
  }
  return bits;
}

}  // namespace descent::test
