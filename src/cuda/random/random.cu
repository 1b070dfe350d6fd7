// Random on CUDA.
#include "cuda/random/random.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

RandomCall call_of(const RandomKey& key) { return {key.seed, key.stream, key.call.as<std::int32_t>()}; }

class GpuRandom final : public Random {
 public:
  explicit GpuRandom(Context& context) : context_(context) {}

  void uniform(const RandomKey& key, double low, double high, View y) override {
    Stream& stream = context_.stream();
    for_storage(y.dtype, [&]<class T>(T) { gpu::uniform(stream, call_of(key), low, high, y.as<T>(), y.numel()); });
  }

  void normal(const RandomKey& key, double mean, double std, View y) override {
    Stream& stream = context_.stream();
    for_storage(y.dtype, [&]<class T>(T) { gpu::normal(stream, call_of(key), mean, std, y.as<T>(), y.numel()); });
  }

  void dropout(const RandomKey& key, double p, ConstView x, Grad y) override {
    Stream& stream = context_.stream();
    if (!y) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::dropout(stream, call_of(key), p, x.as<T>(), y.view.as<T>(), x.numel(), y.write);
    });
  }

  void permutation(const RandomKey& key, View y) override {
    Stream& stream = context_.stream();
    gpu::permutation(stream, call_of(key), y.as<std::int32_t>(), y.numel());
  }

  void advance(View call) override {
    Stream& stream = context_.stream();
    advance_call(stream, call.as<std::int32_t>());
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Random> make_random(Context& context) { return std::make_unique<GpuRandom>(context); }

}  // namespace descent::gpu
