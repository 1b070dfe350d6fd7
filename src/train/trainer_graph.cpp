// Captures and replays the whole-batch training step, and checks that the capture is still valid.
#include "train/trainer_graph.h"

#include <fmt/format.h>

#include <utility>

#include "core/tensor_impl.h"
#include "descent/error.h"

namespace descent::train {

StepGraph::StepGraph(bool on, Device device, nn::Module& model, optim::Optimizer& optimizer, std::function<void()> step)
    : on_(on), device_(device), model_(model), optimizer_(optimizer), step_(std::move(step)) {}

void StepGraph::replay() {
  if (!recording_) capture();
  recording_->replay();
}

void StepGraph::capture() {
  const auto record = [this] { recording_.emplace(device_, step_); };
  try {
    try {
      record();
    } catch (const OutOfMemory&) {  // a graph has a memory pool of its own: free what earlier steps cached
      empty_cache(device_);
      record();
    }
  } catch (const DeviceError& error) {
    throw DeviceError(
        fmt::format("the training step can't be captured as a graph: {}; "
                    "TrainerOptions::graph = Graph::off trains without one",
                    error.what()));
  }
  captured_on_ = capture_signature();
}

void StepGraph::check() {
  if (!recording_ || captured_on_ == capture_signature()) return;
  recording_.reset();
  warm_ = false;
}

std::vector<std::uintptr_t> StepGraph::capture_signature() const {
  std::vector<std::uintptr_t> values;
  const auto note = [&](const Tensor& tensor) {
    values.push_back(reinterpret_cast<std::uintptr_t>(tensor.impl()->data()));
  };
  for (const nn::NamedModule& entry : model_.named_modules()) values.push_back(entry.module->is_training() ? 1 : 0);
  for (const nn::NamedTensor& parameter : model_.named_parameters()) {
    note(parameter.tensor);
    values.push_back(parameter.tensor.requires_grad() ? 1 : 0);
  }
  for (const nn::NamedTensor& buffer : model_.named_buffers()) note(buffer.tensor);
  for (const nn::NamedTensor& counter : model_.checkpoint_state()) note(counter.tensor);
  note(optimizer_.parameters().grad());
  return values;
}

}  // namespace descent::train
