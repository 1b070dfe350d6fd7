// The backend interface: everything that a device must implement, an op group in each header of this folder. A device
// that lacks a primitive does not compile.
//
// Rules for every primitive. The caller allocates the outputs. Views are contiguous, row-major, on this device, and
// of one floating type (f32 or f64) unless said otherwise; ops/ has checked their shapes, and any size may be 0.
// Gradients are written by `Write::overwrite` or added by `Write::accumulate`; an empty Grad is not required. Work is
// queued on the device's stream: only `copy_to_host` and `synchronize` wait for it (`copy_from_host` may wait for a
// staging buffer). Inside a step nothing is allocated from the system and no host value is read. Reductions are
// ordered: the same input gives the same bits for any number of threads.
//
// Mixed precision. Activations and their gradients (x, y, dy, dx; for gemm see GemmDesc) may be bf16 if all of them
// are; weights, biases, statistics and their gradients are then f32. Arithmetic and accumulation are in f32, and a
// result is rounded once, when it is stored. In matrix products and convolutions, weights and biases may be rounded to
// bf16 first, and so may the sum, if a library needs a separate pass for bias, activation or accumulation. Softmax,
// Loss and Optim support only f32 and f64.
#pragma once

#include <string>
#include <vector>

#include "backend/conv.h"
#include "backend/elementwise.h"
#include "backend/gemm.h"
#include "backend/indexing.h"
#include "backend/loss.h"
#include "backend/norm.h"
#include "backend/optim.h"
#include "backend/pool.h"
#include "backend/random.h"
#include "backend/reduce.h"
#include "backend/runtime.h"
#include "backend/softmax.h"
#include "backend/view.h"
#include "descent/device.h"

namespace descent {

struct Backend {
  Device device;
  Runtime* runtime = nullptr;
  Elementwise* elementwise = nullptr;
  Reduce* reduce = nullptr;
  Gemm* gemm = nullptr;
  Conv* conv = nullptr;
  Pool* pool = nullptr;
  Norm* norm = nullptr;
  Random* random = nullptr;
  Softmax* softmax = nullptr;
  Loss* loss = nullptr;
  Optim* optim = nullptr;
  Indexing* indexing = nullptr;
};

Backend& backend(Device device);  // src/core/backend.cpp; throws DeviceError for a device that is not available

namespace cpu {
Backend& backend();
}
namespace gpu {  // if the build has CUDA
Backend& backend(int index);
std::string unavailable_reason();  // empty if a CUDA device is available
std::vector<CudaDeviceInfo> describe_devices();
CudaBuild describe_build();
std::string cudnn_unavailable_reason(int index);
}  // namespace gpu

}  // namespace descent
