// A step that is captured once and replayed many times. On CUDA it becomes a graph, and one host call launches all of
// its kernels. On the CPU each replay calls the step, so the same program runs on both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "descent/device.h"
#include "descent/export.h"

namespace descent {

class CapturedWork;

// Rules for a step (on the CPU they hold trivially):
// - Run it once eagerly before the capture: that run allocates gradient buffers and creates library handles.
// - On CUDA, capturing calls the step once without executing its work, and replays do not run its C++ code. What must
//   change between replays has to be stored in tensors, as learning rates, step numbers and dropout counters are.
// - It must not read or write host memory: no item(), to_vector(), Tensor::from, copies between devices, or
//   synchronize(). On CUDA these throw a DeviceError that names the operation.
// - Replays use the same memory: tensors from outside must outlive the CapturedGraph and keep their addresses. Tensors
// made
//   inside keep theirs too, so one that the step assigns to an outside variable holds the last replay's elements.
//
//     Tensor loss;
//     const auto step = [&] {
//       optimizer.zero_grad();
//       loss = cross_entropy(model(x), y);
//       loss.backward();
//       optimizer.step();
//     };
//     step();
//     CapturedGraph capture(device, step);
//     for (...) {
//       x.copy_from(next_images);
//       y.copy_from(next_labels);
//       capture.replay();
//     }
class DESCENT_API CapturedGraph {
 public:
  // Throws DeviceError if the step does something that can't be captured, OutOfMemory if its tensors do not fit into
  // memory next to those of the eager run; the device is then unchanged. InvalidArgument without a step.
  CapturedGraph(Device device, std::function<void()> step);
  ~CapturedGraph();
  CapturedGraph(CapturedGraph&&) noexcept;
  CapturedGraph& operator=(CapturedGraph&&) noexcept;

  void replay();  // queues the captured work again
  // Nodes of the CUDA graph: kernels, copies and fills, which the device executes in sequence. 0 on the CPU.
  std::int64_t nodes() const;

 private:
  std::unique_ptr<CapturedWork> recording_;
};

}  // namespace descent
