// Writes the canonical JSON of a model: all sizes, and other fields only if they differ from the default.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "descent/error.h"
#include "descent/model.h"

namespace descent::nn {
namespace {

using OrderedJson = nlohmann::ordered_json;

template <class T>
void put(OrderedJson& out, const char* field, const T& value, const T& usual) {
  if (!(value == usual)) out[field] = value;
}

void put_pair(OrderedJson& out, const char* field, Pair value, std::optional<Pair> usual) {
  if (usual && value == *usual) return;
  if (value.h == value.w) {
    out[field] = value.h;
  } else {
    out[field] = {value.h, value.w};
  }
}

template <class Layer>
void put_conv(OrderedJson& out, const Layer& layer) {
  out["in_channels"] = layer.in_channels();
  out["out_channels"] = layer.out_channels();
  put_pair(out, "kernel_size", layer.kernel_size(), std::nullopt);
  put_pair(out, "stride", layer.args().stride, Pair(1));
  put_pair(out, "padding", layer.args().padding, Pair(0));
  if constexpr (requires { layer.args().output_padding; }) {
    put_pair(out, "output_padding", layer.args().output_padding, Pair(0));
  }
  put_pair(out, "dilation", layer.args().dilation, Pair(1));
  put(out, "groups", layer.args().groups, std::int64_t{1});
  put(out, "bias", layer.args().bias, true);
}

void put_pool(OrderedJson& out, const Pool2dOptions& o) {
  const Pair kernel{o.kernel_h, o.kernel_w};
  put_pair(out, "kernel_size", kernel, std::nullopt);
  put_pair(out, "stride", {o.stride_h, o.stride_w}, kernel);
  put_pair(out, "padding", {o.padding_h, o.padding_w}, Pair(0));
  put(out, "count_include_pad", o.count_include_pad, true);
}

void put_fields(OrderedJson& out, const Module& module) {
  if (const auto* linear = dynamic_cast<const Linear*>(&module)) {
    out["in_features"] = linear->in_features();
    out["out_features"] = linear->out_features();
    put(out, "bias", linear->bias().defined(), true);
  } else if (const auto* conv = dynamic_cast<const Conv2d*>(&module)) {
    put_conv(out, *conv);
  } else if (const auto* transpose = dynamic_cast<const ConvTranspose2d*>(&module)) {
    put_conv(out, *transpose);
  } else if (const auto* norm = dynamic_cast<const BatchNorm*>(&module)) {
    out["num_features"] = norm->num_features();
    put(out, "eps", norm->eps(), 1e-5);
    put(out, "momentum", norm->momentum(), 0.1);
    put(out, "affine", norm->affine(), true);
  } else if (const auto* layer_norm = dynamic_cast<const LayerNorm*>(&module)) {
    out["normalized_shape"] = layer_norm->normalized_shape();
    put(out, "eps", layer_norm->eps(), 1e-5);
    put(out, "elementwise_affine", layer_norm->elementwise_affine(), true);
  } else if (const auto* table = dynamic_cast<const Embedding*>(&module)) {
    out["num_embeddings"] = table->num_embeddings();
    out["embedding_dim"] = table->embedding_dim();
  } else if (const auto* max_pool = dynamic_cast<const MaxPool2d*>(&module)) {
    put_pool(out, max_pool->options());
  } else if (const auto* avg_pool = dynamic_cast<const AvgPool2d*>(&module)) {
    put_pool(out, avg_pool->options());
  } else if (const auto* dropout = dynamic_cast<const Dropout*>(&module)) {
    put(out, "p", dropout->p(), 0.5);
  } else if (const auto* leaky = dynamic_cast<const LeakyReLU*>(&module)) {
    put(out, "negative_slope", leaky->negative_slope(), 0.01);
  } else if (const auto* gelu = dynamic_cast<const GELU*>(&module)) {
    if (gelu->approximate() == Gelu::tanh) out["approximate"] = "tanh";
  } else if (dynamic_cast<const ElementwiseLayer*>(&module) == nullptr &&
             dynamic_cast<const Flatten*>(&module) == nullptr &&
             dynamic_cast<const GlobalAvgPool2d*>(&module) == nullptr) {
    throw InvalidArgument(fmt::format("model: a {} can't be written as JSON", module.type()));
  }
}

}  // namespace

std::string to_json(const Sequential& module, const std::string& name, const Shape& input) {
  OrderedJson out;
  out["name"] = name;
  out["input"] = std::vector<std::int64_t>(input.begin(), input.end());
  out["layers"] = OrderedJson::array();
  for (const auto& [index, layer] : module.children()) {
    OrderedJson entry;
    entry["type"] = layer->type();
    put_fields(entry, *layer);
    out["layers"].push_back(std::move(entry));
  }
  return out.dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
}

}  // namespace descent::nn
