// From a configuration to the parts of a training.
#pragma once

#include <memory>
#include <string>

#include "descent/data.h"
#include "descent/nn.h"
#include "descent/optim.h"
#include "descent/train.h"
#include "train_config.h"

namespace descent::cli {

// A preset fitted to the dataset, a JSON file, or (text that begins with '{') JSON; throws InvalidArgument where it
// doesn't fit.
nn::Model make_model(const std::string& model, const data::Dataset& dataset, std::uint64_t seed);

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig& config, const nn::Module& module);
train::LearningRate make_learning_rate(const TrainConfig& config);
train::TrainerOptions trainer_options(const TrainConfig& config, Device device);

DType parse_dtype(const std::string& name);
// Of the images, and so of what a model computes from them: bf16 for --precision bf16, else --dtype.
DType activation_type(const std::string& precision, const std::string& dtype);
// Sets how CUDA devices round products of f32; throws InvalidArgument for a rounding that the device doesn't do.
void use_precision(const std::string& name, Device device);

}  // namespace descent::cli
