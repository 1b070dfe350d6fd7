// One reader per layer type; the table at the end lists each type with its fields and its reader.
#include "nn/json_layers.h"

#include <fmt/format.h>

#include <span>
#include <vector>

#include "descent/error.h"
#include "nn/json_fields.h"
#include "nn/shapes.h"

namespace descent::nn {
namespace {

using Reader = PlannedLayer (*)(const JsonFields& f, const Shape& input);

template <class T, class... Args>
std::function<std::unique_ptr<Module>()> maker(Args... args) {
  return [=] { return std::make_unique<T>(args...); };
}

std::int64_t last_axis(const JsonFields& f, const Shape& input) {
  if (input.rank() < 1) f.fail("its input has no axis, expected features on the last one");
  return input[-1];
}

std::int64_t image_channels(const JsonFields& f, const Shape& input) {
  if (input.rank() != 3) f.fail(fmt::format("its input has shape {}, expected an image [H, W, C]", to_string(input)));
  return input[2];
}

PlannedLayer read_linear(const JsonFields& f, const Shape& input) {
  const std::int64_t in = f.inferred("in_features", last_axis(f, input));
  const std::int64_t out = f.integer("out_features", std::nullopt);
  const bool bias = f.boolean("bias", true);
  check_linear(in, out);
  return {checked_product(in, out) + (bias ? out : 0), linear_shape(input, in, out), maker<Linear>(in, out, bias)};
}

PlannedLayer read_conv(const JsonFields& f, const Shape& input) {
  const std::int64_t in = f.inferred("in_channels", image_channels(f, input));
  const std::int64_t out = f.integer("out_channels", std::nullopt);
  const Pair kernel = f.pair("kernel_size", std::nullopt, 1);
  const Conv2dOptions args{f.pair("stride", 1, 1), f.pair("padding", 0, 0), f.pair("dilation", 1, 1),
                           f.integer("groups", 1), f.boolean("bias", true)};
  check_conv(in, out, kernel, args);
  return {checked_product(in / args.groups, out, kernel.h, kernel.w) + (args.bias ? out : 0),
          conv_shape(input, in, out, kernel, args), maker<Conv2d>(in, out, kernel, args)};
}

PlannedLayer read_conv_transpose(const JsonFields& f, const Shape& input) {
  const std::int64_t in = f.inferred("in_channels", image_channels(f, input));
  const std::int64_t out = f.integer("out_channels", std::nullopt);
  const Pair kernel = f.pair("kernel_size", std::nullopt, 1);
  const ConvTranspose2dArgs args{f.pair("stride", 1, 1),   f.pair("padding", 0, 0), f.pair("output_padding", 0, 0),
                                 f.pair("dilation", 1, 1), f.integer("groups", 1),  f.boolean("bias", true)};
  check_conv_transpose(in, out, kernel, args);
  return {checked_product(in, out / args.groups, kernel.h, kernel.w) + (args.bias ? out : 0),
          conv_transpose_shape(input, in, out, kernel, args), maker<ConvTranspose2d>(in, out, kernel, args)};
}

template <class T, int kRank>
PlannedLayer read_batch_norm(const JsonFields& f, const Shape& input) {
  const std::int64_t features = f.inferred("num_features", last_axis(f, input));
  const double eps = f.number("eps", 1e-5), momentum = f.number("momentum", 0.1);
  const bool affine = f.boolean("affine", true);
  check_norm(features, eps, momentum);
  return {(affine ? 4 : 2) * features, norm_shape(input, features, kRank), maker<T>(features, eps, momentum, affine)};
}

PlannedLayer read_layer_norm(const JsonFields& f, const Shape& input) {
  const std::int64_t features = f.inferred("normalized_shape", last_axis(f, input));
  const double eps = f.number("eps", 1e-5);
  const bool affine = f.boolean("elementwise_affine", true);
  check_norm(features, eps, 0);
  return {(affine ? 2 : 0) * features, norm_shape(input, features, 0), maker<LayerNorm>(features, eps, affine)};
}

PlannedLayer read_embedding(const JsonFields& f, const Shape& input) {
  const std::int64_t rows = f.integer("num_embeddings", std::nullopt);
  const std::int64_t dim = f.integer("embedding_dim", std::nullopt);
  return {checked_product(rows, dim), embedding_shape(input, dim), maker<Embedding>(rows, dim)};
}

PlannedLayer read_max_pool(const JsonFields& f, const Shape& input) {
  const Pair kernel = f.pair("kernel_size", std::nullopt, 1);
  const Pair stride = f.pair("stride", kernel, 1), padding = f.pair("padding", 0, 0);
  return {0, pool_shape(input, check_pool(kernel, stride, padding, true)), maker<MaxPool2d>(kernel, stride, padding)};
}

PlannedLayer read_avg_pool(const JsonFields& f, const Shape& input) {
  const Pair kernel = f.pair("kernel_size", std::nullopt, 1);
  const Pair stride = f.pair("stride", kernel, 1), padding = f.pair("padding", 0, 0);
  const bool include = f.boolean("count_include_pad", true);
  return {0, pool_shape(input, check_pool(kernel, stride, padding, include)),
          maker<AvgPool2d>(kernel, stride, padding, include)};
}

PlannedLayer read_dropout(const JsonFields& f, const Shape& input) {
  const double p = f.number("p", 0.5);
  check_dropout(p);
  return {0, input, maker<Dropout>(p)};
}

PlannedLayer read_gelu(const JsonFields& f, const Shape& input) {
  const std::string approximate = f.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh") {
    f.fail(fmt::format("\"approximate\" is \"{}\", expected \"none\" or \"tanh\"", escape(approximate, 40)));
  }
  return {0, input, maker<GELU>(approximate == "tanh" ? Gelu::tanh : Gelu::erf)};
}

PlannedLayer read_leaky_relu(const JsonFields& f, const Shape& input) {
  return {0, input, maker<LeakyReLU>(f.number("negative_slope", 0.01))};
}

template <class T>
PlannedLayer read_plain(const JsonFields&, const Shape& input) {
  return {0, input, maker<T>()};
}

struct Row {
  std::string_view type;
  std::vector<std::string_view> fields;  // "type" and the layer's own
  Reader read;
};

const std::vector<Row>& table() {
  static const std::vector<Row> rows{
      {"Linear", {"type", "in_features", "out_features", "bias"}, read_linear},
      {"Conv2d",
       {"type", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"},
       read_conv},
      {"ConvTranspose2d",
       {"type", "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "dilation",
        "groups", "bias"},
       read_conv_transpose},
      {"BatchNorm", {"type", "num_features", "eps", "momentum", "affine"}, read_batch_norm<BatchNorm, 0>},
      {"BatchNorm1d", {"type", "num_features", "eps", "momentum", "affine"}, read_batch_norm<BatchNorm1d, 1>},
      {"BatchNorm2d", {"type", "num_features", "eps", "momentum", "affine"}, read_batch_norm<BatchNorm2d, 3>},
      {"LayerNorm", {"type", "normalized_shape", "eps", "elementwise_affine"}, read_layer_norm},
      {"Embedding", {"type", "num_embeddings", "embedding_dim"}, read_embedding},
      {"MaxPool2d", {"type", "kernel_size", "stride", "padding"}, read_max_pool},
      {"AvgPool2d", {"type", "kernel_size", "stride", "padding", "count_include_pad"}, read_avg_pool},
      {"GlobalAvgPool2d",
       {"type"},
       [](const JsonFields&, const Shape& input) -> PlannedLayer {
         return {0, global_pool_shape(input), maker<GlobalAvgPool2d>()};
       }},
      {"Flatten",
       {"type"},
       [](const JsonFields&, const Shape& input) -> PlannedLayer {
         return {0, flatten_shape(input), maker<Flatten>()};
       }},
      {"Dropout", {"type", "p"}, read_dropout},
      {"ReLU", {"type"}, read_plain<ReLU>},
      {"LeakyReLU", {"type", "negative_slope"}, read_leaky_relu},
      {"Sigmoid", {"type"}, read_plain<Sigmoid>},
      {"Tanh", {"type"}, read_plain<Tanh>},
      {"GELU", {"type", "approximate"}, read_gelu},
      {"SiLU", {"type"}, read_plain<SiLU>},
      {"Softmax", {"type"}, read_plain<Softmax>},
      {"LogSoftmax", {"type"}, read_plain<LogSoftmax>},
  };
  return rows;
}

const Row& row_of(const nlohmann::json& layer, const std::string& place) {
  std::vector<std::string_view> types;
  for (const Row& row : table()) types.push_back(row.type);
  if (!layer.is_object()) throw FormatError(fmt::format("{}: expected an object with a \"type\"", place));
  const auto type = layer.find("type");
  if (type == layer.end()) throw FormatError(fmt::format("{}: \"type\" is missing", place));
  if (!type->is_string()) throw FormatError(fmt::format("{}: \"type\" is not text", place));
  std::string_view name = type->get_ref<const std::string&>();
  if (name == "GlobalAvgPool") name = "GlobalAvgPool2d";  // its name in version 0.1
  for (const Row& row : table()) {
    if (row.type == name) return row;
  }
  throw FormatError(fmt::format("{}: unknown type {}", place, quoted_with_hint(name, types)));
}

}  // namespace

PlannedLayer plan_layer(const nlohmann::json& layer, const std::string& place, const Shape& input) {
  const Row& row = row_of(layer, place);
  const std::string here = fmt::format("{} ({})", place, row.type);
  const JsonFields fields(layer, here, row.fields);
  try {
    return row.read(fields, input);
  } catch (const InvalidArgument& error) {
    throw FormatError(fmt::format("{}: {}", here, error.what()));
  }
}

}  // namespace descent::nn
