// A step of a whole batch as one recording that is replayed for every such step. The first one runs as it is; the
// second is captured. What a recording stands on (addresses, modes, which parameters are trained) is compared with what
// is there at the beginning of an epoch.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "descent/capture.h"
#include "descent/nn.h"
#include "descent/optim.h"

namespace descent::train {

class StepGraph {
 public:
  StepGraph(bool on, Device device, nn::Module& model, optim::Optimizer& optimizer, std::function<void()> step);

  bool ready() const { return on_ && warm_; }  // the next whole batch may be replayed
  void ran_as_it_is() { warm_ = true; }
  void replay();  // captures first where there is no recording; DeviceError where that can't be done
  std::int64_t nodes() const { return recording_ ? recording_->nodes() : 0; }
  // Drops the recording where the model is no longer what it was captured with.
  void check();

 private:
  void capture();
  std::vector<std::uintptr_t> footing() const;

  bool on_, warm_ = false;
  Device device_;
  nn::Module& model_;
  optim::Optimizer& optimizer_;
  std::function<void()> step_;
  std::optional<Capture> recording_;
  std::vector<std::uintptr_t> captured_on_;
};

}  // namespace descent::train
