// Copies of views in another type, for libraries and kernels that know one type alone: bf16 as f32, f32 as bf16. They
// live as long as the object; the work on them is only queued.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "backend.h"
#include "cuda/convert.h"

namespace descent::gpu {

class Twins {
 public:
  explicit Twins(Queue& queue) : queue_(queue) {}

  // v as f32, or as bf16; v itself where it is that already, or empty.
  ConstView wide(ConstView v) {
    if (!v || v.dtype != DType::bf16) return v;
    const View twin = place(v.shape, DType::f32);
    widen_bf16(queue_, v.numel(), v.as<__nv_bfloat16>(), twin.as<float>());
    return twin;
  }
  ConstView narrow(ConstView v) {
    if (!v || v.dtype != DType::f32) return v;
    const View twin = place(v.shape, DType::bf16);
    round_to_bf16(queue_, v.numel(), v.as<float>(), twin.as<__nv_bfloat16>());
    return twin;
  }
  // An f32 place for what finish() rounds into v; it holds v's elements where they are wanted. v itself unless bf16.
  View result(View v, bool with_elements = false) {
    if (!v || v.dtype != DType::bf16) return v;
    const View twin = place(v.shape, DType::f32);
    if (with_elements) widen_bf16(queue_, v.numel(), v.as<__nv_bfloat16>(), twin.as<float>());
    results_.push_back({twin, v});
    return twin;
  }
  Grad gradient(const Grad& g) { return {result(g.view, g.write == Write::accumulate), g.write}; }
  void finish() {
    for (const Result& r : results_) {
      round_to_bf16(queue_, r.wide.numel(), r.wide.as<float>(), r.narrow.as<__nv_bfloat16>());
    }
  }

 private:
  struct Result {
    View wide, narrow;
  };

  View place(const Shape& shape, DType type) {
    const auto bytes = shape.numel() * static_cast<std::int64_t>(size_of(type));
    return {memory_.emplace_back(queue_, bytes).data(), shape, type};
  }

  Queue& queue_;
  std::deque<Scratch<std::byte>> memory_;
  std::vector<Result> results_;
};

}  // namespace descent::gpu
