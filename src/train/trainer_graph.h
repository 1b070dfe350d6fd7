// The whole-batch training step, captured as a graph and replayed for every such step. The first one runs eagerly, the
// second is captured. What the capture depends on (addresses, modes, which parameters are trained) is compared with
// the current state at the start of each epoch.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "descent/captured_graph.h"
#include "descent/nn.h"
#include "descent/optim.h"

namespace descent::train {

class StepGraph {
 public:
  StepGraph(bool on, Device device, nn::Module& model, optim::Optimizer& optimizer, std::function<void()> step);

  bool ready() const { return on_ && warm_; }  // the next whole batch may be replayed
  void mark_warm() { warm_ = true; }
  void replay();  // captures the step first if needed; throws DeviceError if that fails
  std::int64_t nodes() const { return recording_ ? recording_->nodes() : 0; }
  // Drops the captured graph if the model or the optimizer no longer matches it.
  void check();

 private:
  void capture();
  std::vector<std::uintptr_t> capture_signature() const;

  bool on_, warm_ = false;
  Device device_;
  nn::Module& model_;
  optim::Optimizer& optimizer_;
  std::function<void()> step_;
  std::optional<CapturedGraph> recording_;
  std::vector<std::uintptr_t> captured_on_;
};

}  // namespace descent::train
