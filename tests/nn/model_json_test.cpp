// Models in JSON: presets, inferred sizes, the canonical form, and an error for everything else.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "descent/io.h"
#include "descent/nn.h"

namespace descent::nn {
namespace {

TEST(ModelJson, PresetsHaveTheirParameters) {
  const std::vector<std::pair<std::string, std::int64_t>> counts{
      {"mlp", 669706}, {"lenet5", 61706}, {"cnn", 421642}, {"cnn-bn", 421834}};
  ASSERT_EQ(preset_names().size(), counts.size());
  for (const auto& [name, count] : counts) {
    const Model model = build_model(preset(name));
    EXPECT_EQ(model.module->parameter_count(), count) << name;
    EXPECT_EQ(model.name, name);
    EXPECT_EQ(model.input, (Shape{28, 28, 1}));
    EXPECT_EQ(model.output, Shape{10});
    EXPECT_EQ(model.module->forward(Tensor::zeros({2, 28, 28, 1})).shape(), (Shape{2, 10}));
  }
  EXPECT_THROW(preset("resnet"), InvalidArgument);
}

TEST(ModelJson, PresetsFitOtherImagesAndClasses) {
  for (const std::string_view name : preset_names()) {
    const Model model = build_model(preset(name, {32, 24, 3}, 7));
    EXPECT_EQ(model.input, (Shape{32, 24, 3}));
    EXPECT_EQ(model.output, Shape{7});
  }
  EXPECT_THROW(build_model(preset("lenet5", {8, 8, 1}, 10)), FormatError);
}

// Every type of layer once; sizes are omitted where they follow from the input.
constexpr const char* kEverything = R"({"name": "every layer", "input": [16, 16, 3], "layers": [
  {"type": "Conv2d", "out_channels": 8, "kernel_size": [3, 5], "stride": [1, 2], "padding": 2, "groups": 1},
  {"type": "BatchNorm2d", "eps": 0.001, "momentum": 0.2},
  {"type": "LeakyReLU", "negative_slope": 0.2},
  {"type": "ConvTranspose2d", "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1,
   "bias": false},
  {"type": "BatchNorm", "affine": false},
  {"type": "GELU", "approximate": "tanh"},
  {"type": "MaxPool2d", "kernel_size": 3, "stride": 2, "padding": 1},
  {"type": "SiLU"},
  {"type": "AvgPool2d", "kernel_size": 2, "count_include_pad": false},
  {"type": "Conv2d", "in_channels": 4, "out_channels": 6, "kernel_size": 1, "bias": false, "dilation": 2},
  {"type": "GlobalAvgPool"},
  {"type": "Flatten"},
  {"type": "LayerNorm"},
  {"type": "Linear", "in_features": 6, "out_features": 5, "bias": false},
  {"type": "BatchNorm1d"},
  {"type": "Tanh"}, {"type": "Sigmoid"}, {"type": "ReLU"},
  {"type": "Dropout", "p": 0.1},
  {"type": "LayerNorm", "elementwise_affine": false},
  {"type": "Linear", "out_features": 4},
  {"type": "Softmax"}, {"type": "LogSoftmax"}
]})";

TEST(ModelJson, CanonicalFormComesBackTheSame) {
  const Model first = build_model(kEverything, 8);
  const Model second = build_model(first.json, 8);
  EXPECT_EQ(first.json, second.json);
  EXPECT_EQ(first.module->to_string(), second.module->to_string());
  EXPECT_EQ(first.json.find('\n'), std::string::npos);
  EXPECT_EQ(first.module->size(), 23u);
  const Tensor x = Generator(1).normal({2, 16, 16, 3});
  EXPECT_EQ(first.module->forward(x).to_vector<float>(), second.module->forward(x).to_vector<float>());
  EXPECT_NE(first.json.find(
                R"({"type":"Conv2d","in_channels":3,"out_channels":8,"kernel_size":[3,5],"stride":[1,2],"padding":2})"),
            std::string::npos)
      << first.json;
}

TEST(ModelJson, AModelMadeInCppIsWrittenToo) {
  Sequential model;
  model.add<Flatten>().add<Linear>(4, 3).add<GELU>().add<Dropout>(0.5);
  EXPECT_EQ(to_json(model, "small", {2, 2, 1}),
            R"({"name":"small","input":[2,2,1],"layers":[{"type":"Flatten"},{"type":"Linear","in_features":4,)"
            R"("out_features":3},{"type":"GELU"},{"type":"Dropout"}]})");
  Sequential nested;
  nested.add(std::make_unique<Sequential>());
  EXPECT_THROW(to_json(nested, "nested", {4}), InvalidArgument);
}

TEST(ModelJson, LoadsTextOrFile) {
  const std::string text = R"( {"input": [4], "layers": [{"type": "Linear", "out_features": 2}]})";
  EXPECT_EQ(load_model_json(text).name, "model");
  const std::string path = testing::TempDir() + "/descent_model.json";
  io::write_text(path, text);
  EXPECT_EQ(load_model_json(path).module->parameter_count(), 10);
  EXPECT_THROW(load_model_json("/nonexistent/model.json"), IoError);
}

struct Bad {
  const char* json;
  const char* error;
};

std::string error_of(const std::string& json) {
  try {
    build_model(json, 0, "model.json");
  } catch (const FormatError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelJson, ErrorsPointAtTheLayerAndTheField) {
  const std::string head = R"({"input": [8, 8, 2], "layers": [{"type": "ReLU"}, )", tail = "]}";
  const std::vector<Bad> layers{
      {R"({"type": "Conv2d", "out_channels": 3, "kernel": 3})",
       "layers[1] (Conv2d): unknown field \"kernel\"; did you mean \"kernel_size\"?"},
      {R"({"type": "Conv2d", "out_chanels": 3, "kernel_size": 3})",
       "layers[1] (Conv2d): unknown field \"out_chanels\"; did you mean \"out_channels\"?"},
      {R"({"type": "Conv2d", "out_channels": 3})", "layers[1] (Conv2d): \"kernel_size\" is missing"},
      {R"({"type": "Conv2d", "kernel_size": 3})", "layers[1] (Conv2d): \"out_channels\" is missing"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "in_channels": 1})",
       "layers[1] (Conv2d): \"in_channels\" is 1, but the input has 2"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 9})",
       "layers[1] (Conv2d): a window of 9 does not fit into an input of 8 with padding 0"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 0})",
       "layers[1] (Conv2d): \"kernel_size\" is 0, expected an integer from 1 to 2147483647"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": [3]})",
       "layers[1] (Conv2d): \"kernel_size\" is [3], expected an integer or [height, width]"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 3.5})",
       "layers[1] (Conv2d): \"kernel_size\" is 3.5, expected an integer from 1 to 2147483647"},
      {R"({"type": "Conv2d", "out_channels": "3", "kernel_size": 3})",
       "layers[1] (Conv2d): \"out_channels\" is \"3\", expected an integer from 1 to 2147483647"},
      {R"({"type": "Conv2d", "out_channels": 18446744073709551615, "kernel_size": 3})",
       "layers[1] (Conv2d): \"out_channels\" is 18446744073709551615, expected an integer from 1 to 2147483647"},
      {R"({"type": "Conv2d", "out_channels": -4, "kernel_size": 3})",
       "layers[1] (Conv2d): \"out_channels\" is -4, expected an integer from 1 to 2147483647"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "groups": 2})",
       "layers[1] (Conv2d): groups is 2, expected a divisor of in_channels 2 and out_channels 3"},
      {R"({"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "bias": 1})",
       "layers[1] (Conv2d): \"bias\" is 1, expected true or false"},
      {R"({"type": "Conv", "out_channels": 3})", "layers[1]: unknown type \"Conv\"; did you mean \"Conv2d\"?"},
      {R"({"type": "relu"})", "layers[1]: unknown type \"relu\"; did you mean \"ReLU\"?"},
      {R"({"type": "Transformer"})", "layers[1]: unknown type \"Transformer\""},
      {R"({"type": "Sequential"})", "layers[1]: unknown type \"Sequential\""},
      {R"({"type": "\u0007x\n"})", "layers[1]: unknown type \"\\x07x\\x0a\""},
      {R"({"type": 3})", "layers[1]: \"type\" is not text"},
      {R"({"kind": "ReLU"})", "layers[1]: \"type\" is missing"},
      {R"("ReLU")", "layers[1]: expected an object with a \"type\""},
      {R"({"type": "ReLU", "inplace": true})", "layers[1] (ReLU): unknown field \"inplace\""},
      {R"({"type": "Linear", "in_features": 5, "out_features": 3})",
       "layers[1] (Linear): \"in_features\" is 5, but the input has 2"},
      {R"({"type": "Dropout", "p": 2})", "layers[1] (Dropout): p is 2, expected 0 to 1"},
      {R"({"type": "Dropout", "p": "0.5"})", "layers[1] (Dropout): \"p\" is \"0.5\", expected a number"},
      {R"({"type": "Dropout", "p": null})", "layers[1] (Dropout): \"p\" is null, expected a number"},
      {R"({"type": "GELU", "approximate": "erf"})",
       "layers[1] (GELU): \"approximate\" is \"erf\", expected \"none\" or \"tanh\""},
      {R"({"type": "BatchNorm1d"})", "layers[1] (BatchNorm1d): input has shape [8, 8, 2], expects features [C]"},
      {R"({"type": "BatchNorm2d", "num_features": 3})",
       "layers[1] (BatchNorm2d): \"num_features\" is 3, but the input has 2"},
      {R"({"type": "BatchNorm2d", "momentum": -0.5})", "layers[1] (BatchNorm2d): momentum is -0.5, expected 0 to 1"},
      {R"({"type": "MaxPool2d", "kernel_size": 2, "padding": 2})",
       "layers[1] (MaxPool2d): padding is 2 x 2, expected at most half the kernel_size 2 x 2"},
      {R"({"type": "MaxPool2d", "kernel_size": 20})",
       "layers[1] (MaxPool2d): a window of 20 does not fit into an input of 8 with padding 0"},
      {R"({"type": "Flatten"}, {"type": "Conv2d", "out_channels": 3, "kernel_size": 3})",
       "layers[2] (Conv2d): its input has shape [128], expected an image [H, W, C]"},
  };
  for (const auto& [json, error] : layers) EXPECT_EQ(error_of(head + json + tail), std::string("model.json: ") + error);
}

TEST(ModelJson, ErrorsOfTheWhole) {
  const std::string layers = R"("layers": [{"type": "ReLU"}])";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"[1]", "model.json: expected an object, found [1]"},
      {"{" + layers + "}", "model.json: \"input\" is missing"},
      {R"({"input": [4]})", "model.json: \"layers\" is missing"},
      {R"({"input": [4], "layers": []})", "model.json: \"layers\" has 0 entries, expected 1 to 1000"},
      {R"({"input": [4], "layers": {}})", "model.json: \"layers\" is an object, expected an array"},
      {R"({"input": [4], "layer": []})", "model.json: unknown field \"layer\"; did you mean \"layers\"?"},
      {R"({"input": 4, )" + layers + "}", "model.json: \"input\" is 4, expected an array"},
      {R"({"name": 7, "input": [4], )" + layers + "}", "model.json: \"name\" is 7, expected text"},
      {R"({"input": [65536, 65536], )" + layers + "}", "model.json: \"input\" has more than 2147483648 elements"},
      {R"({"input": [2147483647, 2147483647, 2147483647], )" + layers + "}",
       "model.json: \"input\" has more than 2147483648 elements"},
  };
  for (const auto& [json, error] : cases) EXPECT_EQ(error_of(json), error);
  for (const char* input : {"[]", "[0]", "[-1]", "[1.5]", "[\"4\"]", "[1,1,1,1,1,1,1,1]", "[4, null]"}) {
    EXPECT_TRUE(error_of(std::string(R"({"input": )") + input + ", " + layers + "}")
                    .starts_with("model.json: \"input\" is not a list of 1 to 7 sizes"))
        << input;
  }
}

TEST(ModelJson, WhatIsNoJsonIsRefusedToo) {
  EXPECT_NE(error_of(R"({"input": [4], "input": [5], "layers": [{"type": "ReLU"}]})").find("input"), std::string::npos);
  EXPECT_NE(error_of(R"({"input": [4], "layers": [{"type": "ReLU", "type": "Tanh"}]})"), "no error");
  for (const char* text : {"", "{", "{\"input\": [4]", "nonsense", "{\"input\": NaN}", "\xff\xfe", "{}}"}) {
    EXPECT_NE(error_of(text), "no error") << text;
  }
  EXPECT_NE(error_of(std::string(100, '[') + std::string(100, ']')), "no error");
  EXPECT_NE(error_of("{\"name\": \"" + std::string(5000000, 'x') + "\"}"), "no error");
  EXPECT_NE(error_of(R"({"name": ")" + std::string(300, 'x') + R"(", "input": [4], "layers": [{"type": "ReLU"}]})"),
            "no error");
}

// The manual's examples are valid models, and its table of presets is correct.
TEST(ModelJson, TheManualIsRight) {
  const std::string manual = io::read_text(std::string(DESCENT_TESTS_DIR) + "/../docs/models.md");
  const std::string fence = "```json\n";
  int examples = 0;
  for (std::size_t at = manual.find(fence); at != std::string::npos; at = manual.find(fence, at + 1)) {
    const std::size_t begin = at + fence.size();
    build_model(manual.substr(begin, manual.find("```", begin) - begin), 0, "docs/models.md");
    ++examples;
  }
  EXPECT_GE(examples, 1);
  const Model all = build_model(kEverything);
  for (const auto& [path, module] : all.module->named_modules()) {
    if (path.empty()) continue;
    EXPECT_NE(manual.find("`" + module->type() + "`"), std::string::npos) << module->type();
  }
  for (const std::string_view name : preset_names()) {
    std::string count = std::to_string(build_model(preset(name)).module->parameter_count());
    count.insert(count.size() - 3, ",");
    const std::size_t row = manual.find("| `" + std::string(name) + "` |");
    ASSERT_NE(row, std::string::npos) << name;
    const std::size_t length = manual.find('\n', row) - row;
    EXPECT_NE(manual.substr(row, length).find("| " + count + " |"), std::string::npos) << name << " " << count;
  }
}

// Sizes are checked before anything is allocated: these would take terabytes.
TEST(ModelJson, RefusesWhatIsTooLargeBeforeAllocating) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(error_of(R"({"input": [4], "layers": [{"type": "Linear", "out_features": 100000000},
                                                  {"type": "Linear", "out_features": 100000000}]})"),
            "model.json: layers[1] (Linear): the model would have more than 2147483648 parameters");
  EXPECT_EQ(error_of(R"({"input": [8, 8, 64], "layers": [
      {"type": "Conv2d", "out_channels": 2147483647, "kernel_size": 2147483647, "padding": 2147483647}]})")
                .substr(0, 31),
            "model.json: layers[0] (Conv2d):");
  EXPECT_EQ(error_of(R"({"input": [64, 64, 1], "layers": [
      {"type": "Conv2d", "out_channels": 1, "kernel_size": 1, "padding": 1000000}]})"),
            "model.json: layers[0] (Conv2d): its output [2000064, 2000064, 1] has more than 2147483648 elements");
  EXPECT_NE(error_of(R"({"input": [64, 64, 1], "layers": [{"type": "ConvTranspose2d", "out_channels": 1,
      "kernel_size": 1, "stride": 2147483647}]})"),
            "no error");
  EXPECT_NE(error_of(R"({"input": [64], "layers": [{"type": "Embedding", "num_embeddings": 2147483647,
      "embedding_dim": 2147483647}]})"),
            "no error");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

}  // namespace
}  // namespace descent::nn
