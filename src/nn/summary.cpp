// Summaries of a model: the tree that to_string prints, and the table of its layers.
#include <fmt/format.h>

#include "descent/layers.h"

namespace descent::nn {
namespace {

void append_tree(const Module& module, const std::string& indent, std::string& out) {
  out += module.type() + "(" + module.extra_repr();
  if (!module.children().empty()) {
    out += "\n";
    for (const auto& [name, child] : module.children()) {
      out += fmt::format("{}  ({}): ", indent, name);
      append_tree(*child, indent + "  ", out);
      out += "\n";
    }
    out += indent;
  }
  out += ")";
}

Shape append_summary(const Module& module, const std::string& path, const Shape& input,
                     std::vector<LayerSummary>& out) {
  if (dynamic_cast<const Sequential*>(&module) != nullptr) {
    Shape shape = input;
    for (const auto& [name, child] : module.children()) {
      shape = append_summary(*child, path.empty() ? name : fmt::format("{}.{}", path, name), shape, out);
    }
    return shape;
  }
  const Shape output = module.output_shape(input);
  out.push_back(
      {path, module.type(), module.extra_repr(), input, output, module.parameter_count(), module.flops(input)});
  return output;
}

}  // namespace

std::string Module::to_string() const {
  std::string text;
  append_tree(*this, "", text);
  return text;
}

std::vector<LayerSummary> summarize(const Module& module, const Shape& input) {
  module.output_shape(input);  // throws with the layer's path if the input does not fit
  std::vector<LayerSummary> out;
  append_summary(module, "", input, out);
  return out;
}

}  // namespace descent::nn
