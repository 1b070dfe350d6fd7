// Modules in files: PyTorch's names, shapes and element order; loads that must leave the module unchanged.
#include "descent/module.h"

#include <fmt/format.h>

#include <cstddef>

#include "descent/io.h"
#include "descent/layers.h"
#include "support/files.h"

namespace descent::io {
namespace {

using nn::FileLayout;
using test::expect_same;
using test::TempDir;

Tensor counting(const Shape& shape, DType dtype = DType::f32) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return Tensor::from(values, shape).to(dtype);
}

constexpr FileLayout kConv{.kind = FileLayout::Kind::conv_filter};
constexpr FileLayout kTransposed{.kind = FileLayout::Kind::conv_transpose_filter};
constexpr FileLayout flattened(std::int64_t h, std::int64_t w, std::int64_t c) {
  return {.kind = FileLayout::Kind::flattened, .height = h, .width = w, .channels = c};
}

// Checks each element against the definition.
TEST(Layout, ConvolutionFilter) {
  const Tensor memory = counting({2, 3, 4, 5});  // [out, kh, kw, in]
  const Tensor file = to_file_layout(memory, kConv);
  ASSERT_EQ(file.shape(), (Shape{2, 5, 3, 4}));
  const float* m = memory.data<float>();
  const float* f = file.data<float>();
  for (int o = 0; o < 2; ++o)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 4; ++x)
        for (int i = 0; i < 5; ++i) EXPECT_EQ(f[((o * 5 + i) * 3 + y) * 4 + x], m[((o * 3 + y) * 4 + x) * 5 + i]);
}

TEST(Layout, FlattenedLinear) {
  const Tensor memory = counting({2, 3 * 4 * 5});  // features in the order [H, W, C]
  const Tensor file = to_file_layout(memory, flattened(3, 4, 5));
  ASSERT_EQ(file.shape(), memory.shape());
  const float* m = memory.data<float>();
  const float* f = file.data<float>();
  for (int o = 0; o < 2; ++o)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 4; ++x)
        for (int c = 0; c < 5; ++c) EXPECT_EQ(f[o * 60 + (c * 3 + y) * 4 + x], m[o * 60 + (y * 4 + x) * 5 + c]);
}

TEST(Layout, ThereAndBack) {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::u8}) {
    for (const FileLayout& layout : {FileLayout{}, kConv, kTransposed}) {
      const Tensor memory = counting({2, 3, 4, 5}, dtype);
      expect_same<double>(from_file_layout(to_file_layout(memory, layout), layout), memory);
    }
    const Tensor bias = counting({60}, dtype);
    expect_same<double>(from_file_layout(to_file_layout(bias, flattened(3, 4, 5)), flattened(3, 4, 5)), bias);
  }
  const Tensor empty = Tensor::zeros({0, 3, 3, 2});
  EXPECT_EQ(from_file_layout(to_file_layout(empty, kConv), kConv).shape(), empty.shape());
}

TEST(Layout, RefusesOtherShapes) {
  EXPECT_ERROR("InvalidArgument", "to_file_layout: a filter of shape [2, 3]", to_file_layout(counting({2, 3}), kConv));
  EXPECT_ERROR("InvalidArgument", "from_file_layout: a filter", from_file_layout(counting({2, 3}), kTransposed));
  EXPECT_ERROR("InvalidArgument", "an image [3, 4, 6]", to_file_layout(counting({2, 60}), flattened(3, 4, 6)));
  EXPECT_ERROR("InvalidArgument", "an image [0, 0, 0]", from_file_layout(counting({2, 60}), flattened(0, 0, 0)));
}

std::unique_ptr<nn::Sequential> small_model(std::uint64_t seed) {
  auto model = std::make_unique<nn::Sequential>();
  model->add<nn::Conv2d>(2, 3, 3);
  model->add<nn::BatchNorm2d>(3);
  model->add<nn::Flatten>();
  model->add<nn::Linear>(2 * 4 * 3, 5);
  model->reset_parameters(seed);
  model->output_shape({4, 6, 2});
  return model;
}

std::vector<std::vector<double>> values_of(const nn::Module& module) {
  std::vector<std::vector<double>> all;
  for (const auto& entry : module.state_dict()) all.push_back(entry.tensor.to_vector<double>());
  return all;
}

TEST(ModuleFile, NamesShapesAndTypesArePyTorchs) {
  const TempDir dir;
  const auto model = small_model(1);
  save_module(dir / "m.safetensors", *model, {{"format", "pt"}});
  const TensorFileInfo info = inspect_tensors(dir / "m.safetensors");
  std::vector<std::string> lines;
  for (const auto& tensor : info.tensors)
    lines.push_back(fmt::format("{} {} [{}]", tensor.name, tensor.dtype, fmt::join(tensor.shape, ", ")));
  const std::vector<std::string> expected = {"0.weight F32 [3, 2, 3, 3]",
                                             "0.bias F32 [3]",
                                             "1.weight F32 [3]",
                                             "1.bias F32 [3]",
                                             "1.running_mean F32 [3]",
                                             "1.running_var F32 [3]",
                                             "1.num_batches_tracked I64 []",
                                             "3.weight F32 [5, 24]",
                                             "3.bias F32 [5]"};
  EXPECT_EQ(lines, expected);
  EXPECT_EQ(info.metadata.at("format"), "pt");
}

TEST(ModuleFile, RoundTrip) {
  const TempDir dir;
  const auto model = small_model(1);
  save_module(dir / "m", *model, {{"k", "v"}});
  const auto other = small_model(2);
  EXPECT_NE(values_of(*other), values_of(*model));
  EXPECT_EQ(load_module(dir / "m", *other).at("k"), "v");
  EXPECT_EQ(values_of(*other), values_of(*model));
}

TEST(ModuleFile, TheLinearBehindAFlattenIsPermuted) {
  const auto model = small_model(1);
  const TensorFile file = state_dict(*model);
  const nn::StateEntry entry = model->state_dict().at(7);
  ASSERT_EQ(entry.name, "3.weight");
  expect_same<float>(*file.find("3.weight"), to_file_layout(entry.tensor, flattened(2, 4, 3)));
}

TEST(ModuleFile, StateIsACopy) {
  const auto model = small_model(1);
  const TensorFile file = state_dict(*model);
  const auto before = file.find("0.bias")->to_vector<float>();
  model->find("0").parameters().at(1).detach().fill(42);
  EXPECT_EQ(file.find("0.bias")->to_vector<float>(), before);
}

TEST(ModuleFile, LoadsOtherFloatingTypes) {
  const auto model = small_model(1);
  for (const DType type : {DType::f64, DType::bf16}) {
    TensorFile file = state_dict(*model);
    std::vector<std::vector<double>> expected;
    for (auto& [name, tensor] : file.tensors) {
      if (is_floating(tensor.dtype())) tensor = tensor.to(type);
    }
    const auto rounded = small_model(1);
    for (const auto& entry : rounded->state_dict()) {
      const bool floating = is_floating(entry.tensor.dtype());
      expected.push_back((floating ? entry.tensor.to(type) : entry.tensor).to_vector<double>());
    }
    const auto other = small_model(2);
    load_state_dict(*other, decode_tensors(encode_tensors(file), "memory"));
    EXPECT_EQ(values_of(*other), expected);
  }
}

// As saved by PyTorch's model.half().
TEST(ModuleFile, LoadsHalves) {
  nn::Linear linear(2, 1);
  const std::string header = R"({"bias":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                             R"("weight":{"dtype":"F16","shape":[1,2],"data_offsets":[2,6]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  bytes += header + std::string("\x00\x3c\x00\xc1\x66\x2e", 6);  // 1, -2.5, 0.1 as a half
  load_state_dict(linear, decode_tensors(test::bytes_of(bytes), "halves"));
  EXPECT_EQ(linear.parameters().at(1).item(), 1);
  EXPECT_EQ(linear.weight().to_vector<float>(), (std::vector<float>{-2.5F, 0.0999755859375F}));
}

// A failed load names the problem and leaves the module unchanged.
void expect_refused(const std::function<void(TensorFile&)>& change, const char* kind, const char* fragment) {
  const auto source = small_model(1);
  TensorFile file = state_dict(*source);
  change(file);
  const auto model = small_model(2);
  const auto before = values_of(*model);
  EXPECT_ERROR(kind, fragment, load_state_dict(*model, file));
  EXPECT_EQ(values_of(*model), before);
}

Tensor& tensor_named(TensorFile& file, const std::string& name) {
  for (auto& [key, tensor] : file.tensors) {
    if (key == name) return tensor;
  }
  throw std::runtime_error("no tensor " + name);
}

TEST(ModuleFile, RefusesMissingAndUnexpectedNames) {
  expect_refused([](TensorFile& f) { f.tensors.erase(f.tensors.begin()); }, "InvalidArgument", "missing 0.weight");
  expect_refused([](TensorFile& f) { f.tensors.emplace_back("extra", Tensor::ones({1})); }, "InvalidArgument",
                 "unexpected extra");
  expect_refused([](TensorFile& f) { f.tensors[0].first = "conv.weight"; }, "InvalidArgument",
                 "missing 0.weight; unexpected conv.weight");
  expect_refused([](TensorFile& f) { f.tensors.clear(); }, "InvalidArgument",
                 "missing 0.weight, 0.bias, 1.weight, 1.bias and 5 more");
}

TEST(ModuleFile, RefusesOtherShapesAndTypes) {
  expect_refused(
      [](TensorFile& f) {
        tensor_named(f, "3.weight") = Tensor::ones({5, 25});
      },
      "InvalidArgument", "3.weight has shape [5, 25], the model expects [5, 24]");
  expect_refused(
      [](TensorFile& f) {
        tensor_named(f, "0.weight") = Tensor::ones({3, 3, 3, 2});
      },
      "InvalidArgument", "0.weight has shape [3, 3, 3, 2], the model expects [3, 2, 3, 3]");
  expect_refused([](TensorFile& f) { tensor_named(f, "3.bias") = Tensor::ones({5}, DType::i32); }, "InvalidArgument",
                 "3.bias is i32, the model expects f32");
}

TEST(ModuleFile, NotStrictSkipsWhatDoesNotMatch) {
  const auto source = small_model(1);
  TensorFile file = state_dict(*source);
  file.tensors.erase(file.tensors.begin());
  file.tensors.emplace_back("extra", Tensor::ones({1}));
  const auto model = small_model(2);
  const auto before = values_of(*model);
  load_state_dict(*model, file, false);
  EXPECT_EQ(values_of(*model)[0], before[0]);
  EXPECT_EQ(values_of(*model)[7], values_of(*source)[7]);
}

TEST(ModuleFile, AFileThatDoesNotFitIsNamed) {
  const TempDir dir;
  TensorFile file = state_dict(*small_model(1));
  file.tensors.pop_back();
  save_tensors(dir / "m", file);
  const auto model = small_model(1);
  EXPECT_ERROR("FormatError", "/m: load_module: the file's tensors are not the model's: missing 3.bias",
               load_module(dir / "m", *model));
}

}  // namespace
}  // namespace descent::io
