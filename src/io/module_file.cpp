// Saves and loads modules with PyTorch's names and layouts. Loading checks everything before it writes anything, so
// that a module is never left half loaded.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "descent/error.h"
#include "descent/io.h"
#include "descent/module.h"

namespace descent::io {
namespace {

// Integer buffers are counters, which PyTorch stores as I64.
SaveOptions pytorch_types(const TensorFile& file) {
  SaveOptions options;
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.dtype() == DType::i32) options.as_i64.insert(name);
  }
  return options;
}

// "a, b, c and 4 more", short enough for one line.
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 4;
  const std::size_t shown = std::min(names.size(), kShown);
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : ", ") + escape(names[i], 50);
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

void check_keys(const std::vector<nn::StateEntry>& entries, const TensorFile& file) {
  std::set<std::string_view> expected;
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  for (const auto& entry : entries) {
    expected.insert(entry.name);
    if (file.find(entry.name) == nullptr) missing.push_back(entry.name);
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (!expected.contains(name)) unexpected.push_back(name);
  }
  if (missing.empty() && unexpected.empty()) return;
  std::string what;
  if (!missing.empty()) what += fmt::format("missing {}", listed(missing));
  if (!unexpected.empty()) what += fmt::format("{}unexpected {}", what.empty() ? "" : "; ", listed(unexpected));
  throw InvalidArgument("load_module: the file's tensors are not the model's: " + what);
}

void check_fits(const nn::StateEntry& entry, const Tensor& found) {
  const Shape expected = to_file_layout(entry.tensor, entry.layout).shape();
  if (found.shape() != expected) {
    throw InvalidArgument(fmt::format("load_module: {} has shape {}, the model expects {}", escape(entry.name),
                                      to_string(found.shape()), to_string(expected)));
  }
  if (is_floating(found.dtype()) != is_floating(entry.tensor.dtype())) {
    throw InvalidArgument(fmt::format("load_module: {} is {}, the model expects {}", escape(entry.name),
                                      to_string(found.dtype()), to_string(entry.tensor.dtype())));
  }
}

}  // namespace

TensorFile state_dict(nn::Module& module) {
  TensorFile file;
  for (const nn::StateEntry& entry : module.state_dict()) {
    const Tensor memory = entry.tensor.detach();
    const Tensor written = to_file_layout(memory, entry.layout);
    const bool shared = written.impl() == memory.impl();
    file.tensors.emplace_back(entry.name, shared ? written.clone() : written);
  }
  return file;
}

void load_state_dict(nn::Module& module, const TensorFile& file, bool strict) {
  const std::vector<nn::StateEntry> entries = module.state_dict();
  if (strict) check_keys(entries, file);
  for (const nn::StateEntry& entry : entries) {
    if (const Tensor* found = file.find(entry.name)) check_fits(entry, *found);
  }
  for (const nn::StateEntry& entry : entries) {
    const Tensor* found = file.find(entry.name);
    if (found == nullptr) continue;
    Tensor target = entry.tensor.detach();
    target.copy_from(from_file_layout(*found, entry.layout));
  }
}

void save_module(const std::string& path, nn::Module& module, const std::map<std::string, std::string>& metadata) {
  TensorFile file = state_dict(module);
  file.metadata = metadata;
  save_tensors(path, file, pytorch_types(file));
}

std::map<std::string, std::string> load_module(const std::string& path, nn::Module& module, bool strict) {
  TensorFile file = load_tensors(path);
  try {
    load_state_dict(module, file, strict);
  } catch (const InvalidArgument& error) {
    throw FormatError(fmt::format("{}: {}", escape_path(path, 150), error.what()));
  }
  return std::move(file.metadata);
}

}  // namespace descent::io
