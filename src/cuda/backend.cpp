// The CUDA devices of this machine, and their backends, each made at its first use.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/check.h"
#include "cuda/context.h"
#include "cuda/families.h"
#include "descent/error.h"

#if DESCENT_HAS_CUDNN
#include "cuda/conv_cudnn.h"
#endif

namespace descent::gpu {
namespace {

// A device with its context and families. Never destroyed: static objects may free tensors after main.
struct Assembled {
  explicit Assembled(int index)
      : context(index),
        runtime(make_runtime(context)),
        elementwise(make_elementwise(context)),
        reduce(make_reduce(context)),
        linalg(make_linalg(context, *elementwise, *reduce)),
        conv(make_conv(context)),
        pool(make_pool(context)),
        norm(make_norm(context)),
        random(make_random(context)),
        loss(make_loss(context)),
        optim(make_optim(context)),
        index(make_index(context)) {
    backend = {.device = Device::cuda(context.device()),
               .runtime = runtime.get(),
               .elementwise = elementwise.get(),
               .reduce = reduce.get(),
               .linalg = linalg.get(),
               .conv = conv.get(),
               .pool = pool.get(),
               .norm = norm.get(),
               .random = random.get(),
               .loss = loss.get(),
               .optim = optim.get(),
               .index = this->index.get()};
  }

  Context context;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Elementwise> elementwise;
  std::unique_ptr<Reduce> reduce;
  std::unique_ptr<Linalg> linalg;
  std::unique_ptr<Conv> conv;
  std::unique_ptr<Pool> pool;
  std::unique_ptr<Norm> norm;
  std::unique_ptr<Random> random;
  std::unique_ptr<Loss> loss;
  std::unique_ptr<Optim> optim;
  std::unique_ptr<Index> index;
  Backend backend;
};

struct Devices {
  int count = 0;
  std::string why_none;
};

const Devices& devices() {
  static const Devices found = [] {
    Devices d;
    const cudaError_t status = cudaGetDeviceCount(&d.count);
    if (status != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      d.count = 0;
      d.why_none = fmt::format("no CUDA device: {}", cudaGetErrorString(status));
      int driver = 0;
      if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
        d.why_none = fmt::format("no CUDA device: no NVIDIA driver is installed ({})", cudaGetErrorString(status));
      }
    } else if (d.count == 0) {
      d.why_none = "no CUDA device: the driver found none";
    }
    return d;
  }();
  return found;
}

}  // namespace

std::string unavailable_reason() { return devices().why_none; }

namespace {

Assembled& assembled(int index) {
  const Devices& known = devices();
  if (!known.why_none.empty()) throw DeviceError(fmt::format("cuda:{}: {}", index, known.why_none));
  if (index < 0 || index >= known.count) {
    throw DeviceError(fmt::format("cuda:{}: this machine has {} CUDA device{}", index, known.count,
                                  known.count == 1 ? ", cuda:0" : "s"));
  }
  static std::mutex mutex;
  static auto* const all = new std::vector<std::unique_ptr<Assembled>>(static_cast<std::size_t>(known.count));
  const std::lock_guard lock(mutex);
  std::unique_ptr<Assembled>& entry = (*all)[static_cast<std::size_t>(index)];
  if (!entry) entry = std::make_unique<Assembled>(index);
  return *entry;
}

}  // namespace

Backend& backend(int index) { return assembled(index).backend; }

std::string cudnn_unavailable_reason(int index) {
#if DESCENT_HAS_CUDNN
  return cudnn_failure(assembled(index).context);
#else
  static_cast<void>(assembled(index));
  return "this build has no cuDNN";
#endif
}

}  // namespace descent::gpu
