// Weights from anywhere: what `eval` and `predict` need to use a file that says nothing about itself (a bare state_dict
// that PyTorch saved), and what `train` starts from.
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
  std::vector<std::string> assumed;  // what the file doesn't say, and where it was taken from
};
// Throws InvalidArgument for options that don't fit together, FormatError for a file that doesn't fit the architecture.
// Only for --weights: `data`, which may be null, gives class names and normalization if the file has none.
UsableModel load_usable_model(const ModelOptions& options, const data::DatasetPair* data, Device device, DType dtype);

// Copies the tensors of a safetensors file (or of the model in a run folder) into the module; throws FormatError where
// they aren't the module's. Prefixes that all names share ("module.", "_orig_mod.") are passed over.
void load_weights(const std::string& path, nn::Module& module);

// A preset's name.
bool is_preset(const std::string& name);
// A run folder or a model file, whatever it is called: it may have a preset's name, or end in .json.
bool has_weights(const std::string& path);
// Throws InvalidArgument, with the presets' names, for what can be neither one of them nor a file.
void check_architecture(const std::string& model);

}  // namespace descent::cli
