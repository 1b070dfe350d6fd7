// Random on CUDA.
#include "cuda/kernels/random.cuh"

#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"

namespace descent::gpu {
namespace {

RandomCall call_of(const RandomKey& key) { return {key.seed, key.stream, key.call.as<std::int32_t>()}; }

class GpuRandom final : public Random {
 public:
  explicit GpuRandom(Context& context) : context_(context) {}

  void uniform(const RandomKey& key, double low, double high, View y) override {
    Queue& q = context_.queue();
    for_storage(y.dtype, [&]<class T>(T) { gpu::uniform(q, call_of(key), low, high, y.as<T>(), y.numel()); });
  }

  void normal(const RandomKey& key, double mean, double std, View y) override {
    Queue& q = context_.queue();
    for_storage(y.dtype, [&]<class T>(T) { gpu::normal(q, call_of(key), mean, std, y.as<T>(), y.numel()); });
  }

  void dropout(const RandomKey& key, double p, ConstView x, Grad y) override {
    Queue& q = context_.queue();
    if (!y) return;
    for_storage(x.dtype,
                [&]<class T>(T) { gpu::dropout(q, call_of(key), p, x.as<T>(), y.view.as<T>(), x.numel(), y.write); });
  }

  void permutation(const RandomKey& key, View y) override {
    Queue& q = context_.queue();
    gpu::permutation(q, call_of(key), y.as<std::int32_t>(), y.numel());
  }

  void advance(View call) override {
    Queue& q = context_.queue();
    advance_call(q, call.as<std::int32_t>());
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Random> make_random(Context& context) { return std::make_unique<GpuRandom>(context); }

}  // namespace descent::gpu
