// The CUDA devices of this machine and their backends, each created at its first use.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/op_groups.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/context.h"
#include "descent/error.h"

#if DESCENT_HAS_CUDNN
#include "cuda/conv/cudnn.h"
#endif

namespace descent::gpu {
namespace {

// A device's context and op groups. Never destroyed: static objects may free tensors after main.
struct Assembled {
  explicit Assembled(int index)
      : context(index),
        runtime(make_runtime(context)),
        elementwise(make_elementwise(context)),
        reduce(make_reduce(context)),
        gemm(make_gemm(context, *elementwise, *reduce)),
        conv(make_conv(context)),
        pool(make_pool(context)),
        norm(make_norm(context)),
        random(make_random(context)),
        softmax(make_softmax(context)),
        loss(make_loss(context)),
        optim(make_optim(context)),
        indexing(make_indexing(context)) {
    backend = {.device = Device::cuda(context.device()),
               .runtime = runtime.get(),
               .elementwise = elementwise.get(),
               .reduce = reduce.get(),
               .gemm = gemm.get(),
               .conv = conv.get(),
               .pool = pool.get(),
               .norm = norm.get(),
               .random = random.get(),
               .softmax = softmax.get(),
               .loss = loss.get(),
               .optim = optim.get(),
               .indexing = indexing.get()};
  }

  Context context;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Elementwise> elementwise;
  std::unique_ptr<Reduce> reduce;
  std::unique_ptr<Gemm> gemm;
  std::unique_ptr<Conv> conv;
  std::unique_ptr<Pool> pool;
  std::unique_ptr<Norm> norm;
  std::unique_ptr<Random> random;
  std::unique_ptr<Softmax> softmax;
  std::unique_ptr<Loss> loss;
  std::unique_ptr<Optim> optim;
  std::unique_ptr<Indexing> indexing;
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
