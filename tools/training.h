// Builds the parts of a training from its configuration.
#pragma once

#include <memory>
#include <string>

#include "descent/data.h"
#include "descent/nn.h"
#include "descent/optim.h"
#include "descent/train.h"
#include "train_config.h"

namespace descent::cli {

// `model` is a preset, which is fitted to the dataset, a JSON file, or JSON text that begins with '{'. Throws
// InvalidArgument if it doesn't fit the dataset.
nn::Model make_model(const std::string& model, const data::Dataset& dataset, std::uint64_t seed);

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig& config, const nn::Module& module);
train::LearningRate make_learning_rate(const TrainConfig& config);
train::TrainerOptions trainer_options(const TrainConfig& config, Device device);

DType parse_dtype(const std::string& name);
// The type of the images, and so of the activations: bf16 for --precision bf16, else --dtype.
DType activation_type(const std::string& precision, const std::string& dtype);
// Sets the precision of f32 products on CUDA devices; throws InvalidArgument for one that the device doesn't have.
void use_precision(const std::string& name, Device device);

}  // namespace descent::cli
