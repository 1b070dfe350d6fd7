// Which engines the installed cuDNN runs for the presets' convolutions, on GPUs that are only described: its
// heuristics, notes and workspace sizes need no GPU. Our choice among them must follow the rules of
// cudnn_plan.cpp. Prints a line for each. Only in builds with cuDNN.
#include <cudnn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/conv/cudnn.h"
#include "cuda/conv/cudnn_plan.h"
#include "descent/layers.h"
#include "descent/model.h"
#include "support/described_gpus.h"

namespace descent::gpu {
namespace {

constexpr std::int64_t kBatch = 128;
constexpr std::size_t kFirstVersion = 90800;  // the first that accepts a description

struct Layer {
  std::string name;
  std::array<std::int64_t, 4> x, w, y;
  std::array<std::int64_t, 2> stride, pad, dilation;
};

std::array<std::int64_t, 2> both(nn::Pair pair) { return {pair.h, pair.w}; }

// The convolutions that conv.cu leaves to cuDNN, each shape once.
std::vector<Layer> layers_for_cudnn() {
  std::vector<Layer> found;
  for (const std::string_view preset : {"lenet5", "cnn", "cnn-bn"}) {
    const nn::Model model = nn::build_model(nn::preset(preset, {28, 28, 1}, 10), 1);
    for (const nn::LayerSummary& entry : nn::summarize(*model.module, model.input)) {
      if (entry.type != "Conv2d") continue;
      const nn::Conv2d* conv = nullptr;
      for (const nn::NamedModule& named : model.module->named_modules()) {
        if (named.name == entry.path) conv = dynamic_cast<const nn::Conv2d*>(named.module);
      }
      if (conv == nullptr) {
        ADD_FAILURE() << preset << ": no module " << entry.path;
        continue;
      }
      const Shape w = conv->weight().shape();
      if (!worth_cudnn(DType::f32, w[3], w[0])) continue;
      Layer layer{fmt::format("{} {}", preset, entry.path),
                  {kBatch, entry.input[0], entry.input[1], entry.input[2]},
                  {w[0], w[1], w[2], w[3]},
                  {kBatch, entry.output[0], entry.output[1], entry.output[2]},
                  both(conv->args().stride),
                  both(conv->args().padding),
                  both(conv->args().dilation)};
      bool known = false;
      for (const Layer& other : found) known |= other.x == layer.x && other.w == layer.w && other.y == layer.y;
      if (!known) found.push_back(std::move(layer));
    }
  }
  return found;
}

struct Precise {
  const char* name;
  bool tf32, bf16;
};
constexpr std::array<Precise, 3> kPrecisions = {{{"f32", false, false}, {"tf32", true, false}, {"bf16", false, true}}};

struct Asked {
  const char* name;
  ConvKey key;
};

ConvKey key_of(const Layer& layer, ConvPass pass, const Precise& precise) {
  ConvKey key;
  key.pass = pass;
  key.x = layer.x;
  key.w = layer.w;
  key.y = layer.y;
  key.stride = layer.stride;
  key.pad = layer.pad;
  key.dilation = layer.dilation;
  key.precision = precise.tf32 ? Precision::tf32 : Precision::f32;
  key.bf16 = precise.bf16;
  return key;
}

// What cudnn.cpp asks for; a bf16 gradient of w is asked for later, and only if there is no plan for f32.
std::vector<Asked> questions(const Layer& layer, const Precise& precise) {
  std::vector<Asked> asked;
  ConvKey forward = key_of(layer, ConvPass::forward, precise);
  forward.bias = true;
  asked.push_back({"forward, bias", forward});
  if (precise.tf32 || precise.bf16) {
    forward.relu = true;
    asked.push_back({"forward, bias, relu", forward});
  }
  asked.push_back({"gradient of x", key_of(layer, ConvPass::data, precise)});
  ConvKey filter = key_of(layer, ConvPass::filter, precise);
  filter.w_f32 = precise.bf16;
  asked.push_back({precise.bf16 ? "gradient of w, in f32" : "gradient of w", filter});
  return asked;
}

std::unique_ptr<ConvPlan> plan_for(const test::DescribedGpu& gpu, const ConvKey& key) {
  return make_conv_plan({.properties = gpu.properties, .architecture = gpu.architecture}, key);
}

void report(const test::DescribedGpu& gpu, const Layer& layer, const Precise& precise, const Asked& asked,
            const ConvPlan* plan) {
  const std::string what = fmt::format("{:<9} {:<10} {:<5} {:<24}", gpu.name, layer.name, precise.name, asked.name);
  if (plan == nullptr) {
    fmt::print("{} none\n", what);
  } else {
    fmt::print("{} {:<58} [{}] workspace {}\n", what, plan->engine().name, plan->engine().notes,
               plan->workspace_bytes());
  }
}

void hold_to_the_rules(const test::DescribedGpu& gpu, const Precise& precise, const ConvPlan& plan) {
  const ConvEngine& engine = plan.engine();
  const bool strict = !precise.tf32 && !precise.bf16;
  EXPECT_EQ(engine.tensor_cores, !strict);
  EXPECT_EQ(engine.notes, strict ? "" : "tensor-core");
  // For TF32, compute capabilities below 9.0 only have tensor-core engines of another layout, which copy operands.
  const bool may_copy = precise.tf32 && gpu.architecture < 90;
  EXPECT_TRUE(may_copy || !engine.copies_operands) << engine.name << ", workspace " << plan.workspace_bytes();
}

class CudnnEngines : public ::testing::TestWithParam<test::DescribedGpu> {
 protected:
  void SetUp() override {
    if (CUDNN_VERSION < kFirstVersion || cudnnGetVersion() < kFirstVersion) {
      GTEST_SKIP() << "cuDNN " << cudnnGetVersion() << " takes no description of a device";
    }
  }
};

TEST_P(CudnnEngines, TheChoiceKeepsTheRules) {
  const test::DescribedGpu& gpu = GetParam();
  const std::vector<Layer> layers = layers_for_cudnn();
  ASSERT_FALSE(layers.empty());
  for (const Layer& layer : layers) {
    for (const Precise& precise : kPrecisions) {
      for (const Asked& asked : questions(layer, precise)) {
        SCOPED_TRACE(fmt::format("{} {} {} {}", gpu.name, layer.name, precise.name, asked.name));
        std::unique_ptr<ConvPlan> plan = plan_for(gpu, asked.key);
        report(gpu, layer, precise, asked, plan.get());
        if (plan == nullptr && asked.key.w_f32) {
          ConvKey narrow = asked.key;
          narrow.w_f32 = false;
          plan = plan_for(gpu, narrow);
          report(gpu, layer, precise, {"gradient of w, in bf16", narrow}, plan.get());
        }
        if (plan != nullptr) hold_to_the_rules(gpu, precise, *plan);
        // In strict f32 our own kernels replace cuDNN engines that would have to copy operands.
        EXPECT_TRUE(plan != nullptr || (!precise.tf32 && !precise.bf16));
      }
    }
  }
}

// In strict f32 every GPU has forward engines without copies, so cuDNN runs the forward pass.
TEST_P(CudnnEngines, StrictForwardIsCudnns) {
  for (const Layer& layer : layers_for_cudnn()) {
    ConvKey key = key_of(layer, ConvPass::forward, kPrecisions[0]);
    key.bias = true;
    EXPECT_NE(plan_for(GetParam(), key), nullptr) << layer.name;
  }
}

INSTANTIATE_TEST_SUITE_P(, CudnnEngines, ::testing::ValuesIn(test::kDescribedGpus),
                         [](const auto& gpu) { return fmt::format("sm_{}", gpu.param.architecture); });

TEST(CudnnDescriptions, OneThatMakesNoSenseGivesNoPlan) {
  ConvKey key;
  key.x = key.y = {8, 8, 8, 16};
  key.w = {16, 1, 1, 16};
  key.stride = key.dilation = {1, 1};
  EXPECT_EQ(make_conv_plan({.properties = "{}", .architecture = 90}, key), nullptr);
}

}  // namespace
}  // namespace descent::gpu
