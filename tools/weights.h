// Loads weights from any source: `eval` and `predict` also accept files without metadata (a bare state_dict saved by
// PyTorch), `train` can start from them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "descent/data.h"
#include "descent/nn.h"
#include "descent/train.h"

namespace descent::cli {

// --model FILE, or --model ARCHITECTURE --weights FILE.
struct ModelOptions {
  std::string model, weights, normalization;
};
void add_model_options(CLI::App& command, ModelOptions& options);

struct UsableModel {
  train::LoadedModel loaded;
  std::string path;                  // of the file with the weights
  std::vector<std::string> assumed;  // what the file doesn't contain, and what was used instead
};
// Throws InvalidArgument for options that don't fit together, FormatError for a file that doesn't fit the architecture.
// `data`, which may be null, is only for --weights: it supplies class names and normalization if the file has none.
UsableModel load_usable_model(const ModelOptions& options, const data::DatasetPair* data, Device device, DType dtype);

// Copies the tensors of a safetensors file (or of the model in a run folder) into the module; throws FormatError if
// they don't match the module's. Prefixes that all names share ("module.", "_orig_mod.") are ignored.
void load_weights(const std::string& path, nn::Module& module);

// True for the name of a preset.
bool is_preset(const std::string& name);
// True for a run folder or a model file, whatever its name: it may be that of a preset, or end in .json.
bool has_weights(const std::string& path);
// Throws InvalidArgument, with the names of the presets, if `model` can be neither a preset nor a file.
void check_architecture(const std::string& model);

}  // namespace descent::cli
