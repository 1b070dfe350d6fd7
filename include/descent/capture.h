// A step that is recorded once and then queued again and again. On CUDA it becomes a graph: all of its kernels cost the
// host one call. On the CPU each replay calls the step, so that the same program runs on both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "descent/device.h"
#include "descent/export.h"

namespace descent {

class Recording;

// Rules for a step, which on the CPU are kept by themselves:
// - Run it once as it is before it is captured: buffers of gradients and handles of libraries are made then.
// - Capturing it calls it once on CUDA, without the work being done; its C++ runs again only on the CPU. What must
// change
//   from one replay to the next lives in tensors, as learning rates, step numbers and dropout's counters do.
// - It neither reads nor writes host memory: no item(), to_vector(), Tensor::from, copy between devices, nor
//   synchronize(). On CUDA a DeviceError says which.
// - It goes on with the same memory: tensors from outside must live, and stay where they are, as long as the Capture.
//   Tensors made inside keep their addresses, so one that the step assigns to a variable outside has the last replay's
//   elements there.
//
//     Tensor loss;
//     const auto step = [&] {
//       optimizer.zero_grad();
//       loss = cross_entropy(model(x), y);
//       loss.backward();
//       optimizer.step();
//     };
//     step();
//     Capture capture(device, step);
//     for (...) {
//       x.copy_from(next_images);
//       y.copy_from(next_labels);
//       capture.replay();
//     }
class DESCENT_API Capture {
 public:
  // Throws DeviceError where the step does what can't be captured, OutOfMemory where its tensors find no room beside
  // those of the run before it; the device is then as it was.
  Capture(Device device, std::function<void()> step);
  ~Capture();
  Capture(Capture&&) noexcept;
  Capture& operator=(Capture&&) noexcept;

  void replay();  // queues the step's work once more
  // Of the CUDA graph: kernels, copies and fills, which the device does one after another. 0 on the CPU.
  std::int64_t nodes() const;

 private:
  std::unique_ptr<Recording> recording_;
};

}  // namespace descent
